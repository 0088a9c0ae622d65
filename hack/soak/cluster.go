package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

const (
	namespace     = "soak"
	openLedger    = "open"
	guardedLedger = "guarded"
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
	meta := metav1.ObjectMeta{Name: namespace}
	deny := admissionv1.Fail
	policy := &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: meta,
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: &deny,
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
				ResourceNames: []string{guardedLedger},
				RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Update},
					Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
				},
			}}},
			Validations: []admissionv1.Validation{{
				Expression: "int(object.data.term) >= int(oldObject.data.term)",
				Message:    "a later term has already written",
			}},
		},
	}
	if _, err := client.AdmissionregistrationV1().ValidatingAdmissionPolicies().Create(ctx, policy, metav1.CreateOptions{}); err != nil {
		return err
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: meta, Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: namespace, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
	}}
	if _, err := client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		return err
	}
	for _, name := range []string{openLedger, guardedLedger} {
		if err := ledger(client, name).Create(ctx, map[string]string{lab.TermKey: "1"}); err != nil {
			return err
		}
	}
	return awaitPolicy(ctx, client)
}

func ledger(client kubernetes.Interface, name string) lab.Ledger {
	return lab.Ledger{Client: client.CoreV1().ConfigMaps(namespace), Name: name}
}

// awaitPolicy writes an earlier term after a later one until the API server refuses
// it.
func awaitPolicy(ctx context.Context, client kubernetes.Interface) error {
	write := func(term string) error {
		patch := fmt.Sprintf(`{"data":{%q:%q}}`, lab.TermKey, term)
		_, err := client.CoreV1().ConfigMaps(namespace).Patch(ctx, guardedLedger, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		return err
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline) && lab.Sleep(ctx, 50*time.Millisecond) == nil; {
		if err := write("1"); err != nil {
			return err
		}
		if write("0") != nil {
			return write("1")
		}
	}
	return errors.Join(ctx.Err(), errors.New("the policy is not in force after a minute"))
}
