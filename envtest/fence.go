package envtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
)

// Fence puts a Fence into force on each API server that runs, or fails the test.
// See InstallFence.
func (cp *ControlPlane) Fence(tb testing.TB, fence fencing.Fence) {
	tb.Helper()
	var configs []*rest.Config
	for i, server := range cp.servers {
		if server.Running() {
			client := cp.Client("fence", OnAPIServer(i))
			tb.Cleanup(client.Close)
			configs = append(configs, client.Config())
		}
	}
	InstallFence(tb, fence, configs...)
}

// InstallFence creates the policy of a Fence and, if there is none, the Lease, and
// returns when each of these API servers, which share a database, enforces it. The
// users of the configs must be administrators. The policy is removed at the end of
// the test. The namespaces of the Fence must exist.
//
//	account := envtest.ServiceAccount{Namespace: "default", Name: "my-operator"}
//	envtest.InstallFence(t, fence, cfg)
//	a, b := account.Pod(cfg, "pod-a"), account.Pod(cfg, "pod-b")
func InstallFence(tb testing.TB, fence fencing.Fence, configs ...*rest.Config) {
	tb.Helper()
	if fence.ReportOnly || len(configs) == 0 {
		tb.Fatal("a Fence that only reports cannot be awaited, nor one without API servers")
	}
	policy, binding, err := fencing.Policy(fence)
	if err != nil {
		tb.Fatal(err)
	}
	probe := newProbe(fence, policy.Name)
	policy.Spec.MatchConstraints.ResourceRules = append(policy.Spec.MatchConstraints.ResourceRules, probe.rule())
	clientset, err := kubernetes.NewForConfig(configs[0])
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(tb.Context(), awaitLimit)
	defer cancel()
	tb.Cleanup(func() { removeFence(tb, clientset, policy.Name) })
	if err := createFence(ctx, clientset, fence, policy, binding); err != nil {
		tb.Fatalf("creating the fence %s: %v", policy.Name, err)
	}
	for _, config := range configs {
		if err := poll(ctx, func(ctx context.Context) error { return probe.refused(ctx, config) }); err != nil {
			tb.Fatalf("waiting until %s enforces the fence %s: %v", config.Host, policy.Name, err)
		}
	}
}

func createFence(ctx context.Context, clientset kubernetes.Interface, fence fencing.Fence,
	policy *admissionv1.ValidatingAdmissionPolicy, binding *admissionv1.ValidatingAdmissionPolicyBinding,
) error {
	lease := fencing.Lease(fence)
	_, err := clientset.CoordinationV1().Leases(lease.Namespace).Create(ctx, lease, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	admission := clientset.AdmissionregistrationV1()
	if _, err := admission.ValidatingAdmissionPolicies().Create(ctx, policy, metav1.CreateOptions{}); err != nil {
		return err
	}
	_, err = admission.ValidatingAdmissionPolicyBindings().Create(ctx, binding, metav1.CreateOptions{})
	return err
}

func removeFence(tb testing.TB, clientset kubernetes.Interface, name string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), awaitLimit) // the test's own has ended
	defer cancel()
	admission := clientset.AdmissionregistrationV1()
	for _, err := range []error{
		admission.ValidatingAdmissionPolicyBindings().Delete(ctx, name, metav1.DeleteOptions{}),
		admission.ValidatingAdmissionPolicies().Delete(ctx, name, metav1.DeleteOptions{}),
	} {
		if err != nil && !apierrors.IsNotFound(err) {
			tb.Errorf("removing the fence %s: %v", name, err)
		}
	}
}

// A probe is a write that the Fence refuses whoever holds the Lease: that of a
// token that is bound to no pod and carries no term. It has a rule of its own in
// the policy, is a dry run, and is of a resource that hardly anybody guards:
// another Fence might refuse it first.
type probe struct {
	account ServiceAccount
	policy  string
	object  *corev1.LimitRange
}

func newProbe(fence fencing.Fence, policy string) probe {
	p := probe{
		account: ServiceAccount{Namespace: fence.ServiceAccountNamespace, Name: fence.ServiceAccount},
		policy:  policy,
		object:  &corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Name: policy, Namespace: metav1.NamespaceDefault}},
	}
	if p.account.Namespace == "" {
		p.account.Namespace = fence.LeaseNamespace
	}
	if len(fence.Namespaces) > 0 {
		p.object.Namespace = fence.Namespaces[0]
	}
	return p
}

func (p probe) rule() admissionv1.NamedRuleWithOperations {
	return admissionv1.NamedRuleWithOperations{
		ResourceNames: []string{p.object.Name},
		RuleWithOperations: admissionv1.RuleWithOperations{
			Operations: []admissionv1.OperationType{admissionv1.Create},
			Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"limitranges"}},
		},
	}
}

// refused returns nil if that API server refuses the probe as it should.
func (p probe) refused(ctx context.Context, config *rest.Config) error {
	config = p.account.Pod(config, "")
	config.Impersonate.Groups = []string{"system:masters"} // RBAC must not refuse it first
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	_, err = clientset.CoreV1().LimitRanges(p.object.Namespace).Create(ctx, p.object,
		metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	switch {
	case err == nil:
		return errors.New("the probe was let through")
	case !fencing.IsStale(err) || !strings.Contains(err.Error(), "'"+p.policy+"'") || strings.Contains(err.Error(), "failed to configure"):
		return fmt.Errorf("the probe was refused for another reason: %w", err)
	}
	return nil
}
