package envtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
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

// InstallFence is EnforceFence for tests: a failure fails the test, at whose end the
// policy is removed.
//
//	account := envtest.ServiceAccount{Namespace: "default", Name: "my-operator"}
//	account.Allow(t, cfg, rules...) // of the operator's Role
//	envtest.InstallFence(t, fence, cfg)
//	a, b := account.Pod(cfg, "pod-a"), account.Pod(cfg, "pod-b")
func InstallFence(tb testing.TB, fence fencing.Fence, configs ...*rest.Config) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), requestTimeout)
	defer cancel()
	remove, err := EnforceFence(ctx, fence, configs...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), requestTimeout) // the test's own has ended
		defer cancel()
		if err := remove(ctx); err != nil {
			tb.Error(err)
		}
	})
}

// EnforceFence creates the policy of a Fence and, where there is none, the Lease and
// the Keeper, and returns when each of these API servers, which share a database,
// enforces it. The users of the configs must be administrators, and the namespaces of
// the Fence must exist. What it returns removes the policy, at once or some moments
// later. If it fails it removes what it created, but for the Lease and the Keeper,
// and nothing else: a policy of that name that was there before stays in force.
func EnforceFence(ctx context.Context, fence fencing.Fence, configs ...*rest.Config) (remove func(context.Context) error, err error) {
	if fence.ReportOnly || len(configs) == 0 {
		return nil, errors.New("envtest: a Fence that only reports cannot be awaited, nor one without API servers")
	}
	policy, binding, err := fencing.Policy(fence)
	if err != nil {
		return nil, err
	}
	probe := newProbe(fence, policy.Name)
	policy.Spec.MatchConstraints.ResourceRules = append(policy.Spec.MatchConstraints.ResourceRules, probe.rule())
	clientset, err := kubernetes.NewForConfig(configs[0])
	if err != nil {
		return nil, err
	}
	if err := prepareFence(ctx, clientset, fence); err != nil {
		return nil, err
	}
	if remove, err = createFence(ctx, clientset, policy, binding); err != nil {
		return nil, fmt.Errorf("envtest: creating the fence %s: %w", policy.Name, err)
	}
	for _, config := range configs {
		if err := poll(ctx, func(ctx context.Context) error { return probe.refused(ctx, config) }); err != nil {
			err = fmt.Errorf("envtest: waiting until %s enforces the fence %s: %w", config.Host, policy.Name, err)
			return nil, errors.Join(err, undo(ctx, remove))
		}
	}
	return remove, nil
}

// prepareFence sees to it that there are the Lease and the Keeper.
func prepareFence(ctx context.Context, clientset kubernetes.Interface, fence fencing.Fence) error {
	policy, binding := fencing.Keeper()
	admission, lease := clientset.AdmissionregistrationV1(), fencing.Lease(fence)
	_, policyErr := admission.ValidatingAdmissionPolicies().Create(ctx, policy, metav1.CreateOptions{})
	_, bindingErr := admission.ValidatingAdmissionPolicyBindings().Create(ctx, binding, metav1.CreateOptions{})
	_, leaseErr := clientset.CoordinationV1().Leases(lease.Namespace).Create(ctx, lease, metav1.CreateOptions{})
	for _, err := range []error{policyErr, bindingErr, leaseErr} {
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("envtest: preparing for a fence: %w", err)
		}
	}
	return nil
}

// createFence returns what removes the policy and its binding. If one of the two
// cannot be created the other is removed at once.
func createFence(ctx context.Context, clientset kubernetes.Interface,
	policy *admissionv1.ValidatingAdmissionPolicy, binding *admissionv1.ValidatingAdmissionPolicyBinding,
) (remove func(context.Context) error, err error) {
	admission, name := clientset.AdmissionregistrationV1(), policy.Name
	removePolicy := func(ctx context.Context) error {
		return removed(name, admission.ValidatingAdmissionPolicies().Delete(ctx, name, metav1.DeleteOptions{}))
	}
	_, err = admission.ValidatingAdmissionPolicies().Create(ctx, policy, metav1.CreateOptions{})
	switch {
	case apierrors.IsAlreadyExists(err):
		return nil, err
	case err != nil: // it may have been created all the same
		return nil, errors.Join(err, undo(ctx, removePolicy))
	}
	removeBoth := func(ctx context.Context) error {
		err := removed(name, admission.ValidatingAdmissionPolicyBindings().Delete(ctx, name, metav1.DeleteOptions{}))
		return errors.Join(err, removePolicy(ctx))
	}
	_, err = admission.ValidatingAdmissionPolicyBindings().Create(ctx, binding, metav1.CreateOptions{})
	switch {
	case apierrors.IsAlreadyExists(err):
		return nil, errors.Join(err, undo(ctx, removePolicy))
	case err != nil: // it may have been created all the same
		return nil, errors.Join(err, undo(ctx, removeBoth))
	}
	return removeBoth, nil
}

// undo removes something although ctx may have ended, for some seconds.
func undo(ctx context.Context, remove func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return remove(ctx)
}

func removed(name string, err error) error {
	if err == nil || apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("envtest: removing the fence %s: %w", name, err)
}

// A probe is a write that the Fence refuses whoever holds the Lease: that of a
// token that is bound to no pod and carries no term. It has a rule of its own in
// the policy, is a dry run, and is of a resource that hardly anybody guards:
// another Fence might refuse it first.
type probe struct {
	account ServiceAccount
	policy  string
	object  *corev1.LimitRange
	lease   *coordinationv1.Lease // that the policy asks for; nil: none
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
	if fence.Mode == 0 || fence.Mode&fencing.ByPod != 0 {
		p.lease = fencing.Lease(fence)
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
	return p.upToDate(ctx, clientset, err)
}

// upToDate returns nil if that refusal names the Lease's holder of now.
func (p probe) upToDate(ctx context.Context, clientset kubernetes.Interface, refusal error) error {
	if p.lease == nil {
		return nil
	}
	lease, err := clientset.CoordinationV1().Leases(p.lease.Namespace).Get(ctx, p.lease.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	want := "nobody holds it"
	if holder := lease.Spec.HolderIdentity; holder != nil && *holder != "" {
		want = `its holder is "` + *holder + `"`
	}
	if !strings.Contains(refusal.Error(), want) {
		return fmt.Errorf("%s, and the probe was answered: %w; if that lasts, the API server has stopped following Leases "+
			"and must be restarted, see fencing.Keeper", want, refusal)
	}
	return nil
}
