package main

import (
	"context"
	"fmt"
	"net/url"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

const (
	namespace       = "soak"
	unguardedLedger = "unguarded" // the name of the ledger without a policy
	guardedLedger   = "guarded"   // the name of the ledger whose policy refuses entries of earlier terms
)

// A cluster is a control plane with two API servers and one etcd. It contains an
// unguarded and a guarded ledger, into which the leader writes.
type cluster struct {
	*lab.Cluster
	history *lab.History
}

// openCluster starts the control plane and creates the ledgers. Call Close on the
// returned cluster even if openCluster also returns an error.
func openCluster(ctx context.Context) (c *cluster, err error) {
	c = &cluster{}
	c.Cluster, err = lab.OpenCluster(ctx, "", namespace, envtest.Options{
		APIServers: 2,
		// Without this flag, an API server would remove old versions of objects from
		// etcd. The soak must read all versions of the ledgers.
		APIServerFlags: []string{"--etcd-compaction-interval=0"},
	})
	if err != nil {
		return c, err
	}
	if err := createLedgers(ctx, c.Clientset); err != nil {
		return c, fmt.Errorf("creating the ledgers: %w", err)
	}
	c.history = lab.NewHistory(c.Plane.Etcd().URL(), namespace)
	following, stop := context.WithCancel(context.Background())
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		c.history.Follow(following)
	}()
	c.Cleanup(func() error { stop(); <-followed; return nil })
	return c, nil
}

// connect starts a proxy, which simulates the network of one replica. It also returns
// the path of a kubeconfig that contains the address of the proxy.
func (c *cluster) connect(name string) (*proxy, string, error) {
	var upstream []string
	var host string
	for i := range c.Plane.APIServers() {
		address, err := url.Parse(c.Plane.APIServer(i).URL())
		if err != nil {
			return nil, "", err
		}
		host, upstream = address.Hostname(), append(upstream, address.Host)
	}
	// The proxy must listen on this host, because the certificates of the API servers are
	// valid only for this host.
	p, err := newProxy(host, upstream)
	if err != nil {
		return nil, "", err
	}
	file, err := c.WriteKubeconfig(c.Plane.Client(name), name, p.address())
	return p, file, err
}

// createLedgers creates both ledgers, and a policy for the guarded ledger. The policy
// refuses an entry whose term is earlier than the stored term. createLedgers returns
// when the API servers enforce the policy.
func createLedgers(ctx context.Context, client kubernetes.Interface) error {
	for _, name := range []string{unguardedLedger, guardedLedger} {
		if err := ledger(client, name).Create(ctx, map[string]string{lab.TermKey: "0"}); err != nil {
			return err
		}
	}
	rule := lab.Rule(schema.GroupResource{Resource: "configmaps"}, admissionv1.Update)
	rule.ResourceNames = []string{guardedLedger}
	// Compare texts, because an integer in CEL cannot hold every term. The longer term is
	// the later one.
	const term, stored = "object.data.term", "oldObject.data.term"
	notEarlier := "size(" + term + ") > size(" + stored + ") || size(" + term + ") == size(" + stored + ") && " + term + " >= " + stored
	return lab.EnforcePolicy(ctx, client, namespace,
		admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{rule}},
		admissionv1.Validation{Expression: notEarlier, Message: "a later term has already written"},
		func(ctx context.Context) (bool, error) {
			// The policy is in force if the API server refuses to replace term 1 by the
			// earlier term 0.
			guarded := ledger(client, guardedLedger)
			if err := guarded.SetTerm(ctx, 1); err != nil {
				return false, err
			}
			return guarded.SetTerm(ctx, 0) != nil, nil
		})
}

func ledger(client kubernetes.Interface, name string) lab.Ledger {
	return lab.Ledger{Client: client.CoreV1().ConfigMaps(namespace), Name: name}
}
