package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/haproxy-template-ic/incumbent/envtest"
)

const namespace = "soak"

// cluster is two API servers over one etcd, with the two ledgers.
type cluster struct {
	plane      *envtest.ControlPlane
	dir        string // for kubeconfigs
	history    *history
	stopFollow func()
}

// openCluster starts everything. Close cleans up also when it fails.
func openCluster(ctx context.Context) (c *cluster, err error) {
	c = &cluster{stopFollow: func() {}}
	c.plane, err = envtest.Start(envtest.Options{
		APIServers: 2,
		// etcd must not forget what the referee has not read.
		APIServerFlags: []string{"--etcd-compaction-interval=0"},
	})
	if err != nil {
		return c, err
	}
	if c.dir, err = os.MkdirTemp("", "incumbent-soak-"); err != nil {
		return c, err
	}
	client := c.plane.Admin().Clientset()
	if err := guard(ctx, client); err != nil {
		return c, fmt.Errorf("guarding a ledger: %w", err)
	}
	c.history = newHistory(c.plane.Etcd().URL(), namespace)
	following, stop := context.WithCancel(context.Background())
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		c.history.follow(following)
	}()
	c.stopFollow = func() { stop(); <-followed }
	return c, nil
}

func (c *cluster) close() error {
	c.stopFollow()
	err := c.plane.Stop()
	if c.dir != "" {
		err = errors.Join(err, os.RemoveAll(c.dir))
	}
	return err
}

// connect makes the network of a replica, and the kubeconfig that leads into it.
func (c *cluster) connect(name string) (*proxy, string, error) {
	var upstream []string
	var host string
	for i := range c.plane.APIServers() {
		address, err := url.Parse(c.plane.APIServer(i).URL())
		if err != nil {
			return nil, "", err
		}
		host, upstream = address.Hostname(), append(upstream, address.Host)
	}
	// It listens at the host that the API servers' certificate is for.
	p, err := newProxy(host, upstream)
	if err != nil {
		return nil, "", err
	}
	text, err := c.plane.Client(name).Kubeconfig()
	if err != nil {
		return p, "", err
	}
	config, err := clientcmd.Load(text)
	if err != nil {
		return p, "", err
	}
	for _, cluster := range config.Clusters {
		cluster.Server = "https://" + p.address()
	}
	file := filepath.Join(c.dir, name)
	return p, file, clientcmd.WriteToFile(*config, file)
}

// guard makes both ledgers, and lets the API servers refuse entries of an earlier
// term in one of them. It returns when they do.
func guard(ctx context.Context, client kubernetes.Interface) error {
	meta := metav1.ObjectMeta{Name: namespace}
	if _, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: meta}, metav1.CreateOptions{}); err != nil {
		return err
	}
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
				Message:    "a later term has written already",
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
	for _, ledger := range []string{openLedger, guardedLedger} {
		if err := createLedger(ctx, client, ledger); err != nil {
			return err
		}
	}
	return awaitGuard(ctx, client)
}

func createLedger(ctx context.Context, client kubernetes.Interface, name string) error {
	ledger := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{termKey: "1"}}
	_, err := client.CoreV1().ConfigMaps(namespace).Create(ctx, ledger, metav1.CreateOptions{})
	return err
}

// awaitGuard tries to write an earlier term after a later one until that is
// refused.
func awaitGuard(ctx context.Context, client kubernetes.Interface) error {
	write := func(term string) error {
		patch := fmt.Sprintf(`{"data":{%q:%q}}`, termKey, term)
		_, err := client.CoreV1().ConfigMaps(namespace).Patch(ctx, guardedLedger, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		return err
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline) && wait(ctx, 50*time.Millisecond); {
		if err := write("1"); err != nil {
			return err
		}
		if write("0") != nil {
			return write("1")
		}
	}
	return errors.Join(ctx.Err(), errors.New("the policy does not take effect"))
}
