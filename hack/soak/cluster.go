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
	unguardedLedger = "unguarded"
	guardedLedger   = "guarded"
)

// A cluster is two API servers over one etcd, with the two ledgers.
type cluster struct {
	*lab.Cluster
	history *lab.History
}

// openCluster starts everything. Call Close also when it fails.
func openCluster(ctx context.Context) (c *cluster, err error) {
	c = &cluster{}
	c.Cluster, err = lab.OpenCluster(ctx, "", namespace, envtest.Options{
		APIServers: 2,
		// Without this flag etcd would discard versions that were not read yet.
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

// connect creates the network of a replica and a kubeconfig that uses it.
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
	// The proxy listens on the host that the API servers' certificate names.
	p, err := newProxy(host, upstream)
	if err != nil {
		return nil, "", err
	}
	file, err := c.WriteKubeconfig(c.Plane.Client(name), name, p.address())
	return p, file, err
}

// createLedgers creates both ledgers and a policy that refuses entries of an earlier
// term in one of them. It returns when the policy is in force.
func createLedgers(ctx context.Context, client kubernetes.Interface) error {
	for _, name := range []string{unguardedLedger, guardedLedger} {
		if err := ledger(client, name).Create(ctx, map[string]string{lab.TermKey: "0"}); err != nil {
			return err
		}
	}
	rule := lab.Rule(schema.GroupResource{Resource: "configmaps"}, admissionv1.Update)
	rule.ResourceNames = []string{guardedLedger}
	return lab.EnforcePolicy(ctx, client, namespace,
		admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{rule}},
		admissionv1.Validation{Expression: "int(object.data.term) >= int(oldObject.data.term)", Message: "a later term has already written"},
		func(ctx context.Context) (bool, error) {
			// The policy is in force when it refuses an earlier term than the stored one.
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
