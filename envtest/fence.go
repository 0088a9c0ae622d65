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

// Fence makes all running API servers enforce the given Fence until the end of
// the test. See [InstallFence].
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

// InstallFence calls [EnforceFence], and fails the test if EnforceFence returns
// an error. At the end of the test, InstallFence removes the admission policy
// of the Fence.
//
//	account := envtest.ServiceAccount{Namespace: "default", Name: "my-operator"}
//	account.Allow(t, cfg, rules...) // the rules of the operator's Role
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
		ctx, cancel := context.WithTimeout(context.Background(), requestTimeout) // the context of the test is already done
		defer cancel()
		if err := remove(ctx); err != nil {
			tb.Error(err)
		}
	})
}

// EnforceFence creates the admission policy of a Fence. EnforceFence also
// creates the Lease and the anchor policy ([fencing.AnchorPolicy]) if they do
// not exist. EnforceFence returns when the API server of each config enforces
// the admission policy.
//
// These API servers must use the same etcd. The user of each config must be an
// administrator. The namespaces of the Fence must exist.
//
// remove removes the admission policy. API servers may still
// enforce the admission policy for a short time after the removal.
//
// If EnforceFence fails, it removes the admission policy that it created. The
// Lease and the anchor policy remain. EnforceFence never removes an admission
// policy that existed before the call.
func EnforceFence(ctx context.Context, fence fencing.Fence, configs ...*rest.Config) (remove func(context.Context) error, err error) {
	if fence.ReportOnly || len(configs) == 0 {
		return nil, errors.New("envtest: EnforceFence needs a Fence that refuses writes (ReportOnly is false) and at least one config")
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

// prepareFence creates the Lease and the anchor policy of a Fence if they do
// not exist.
func prepareFence(ctx context.Context, clientset kubernetes.Interface, fence fencing.Fence) error {
	policy, binding := fencing.AnchorPolicy()
	admission, lease := clientset.AdmissionregistrationV1(), fencing.Lease(fence)
	_, policyErr := admission.ValidatingAdmissionPolicies().Create(ctx, policy, metav1.CreateOptions{})
	_, bindingErr := admission.ValidatingAdmissionPolicyBindings().Create(ctx, binding, metav1.CreateOptions{})
	_, leaseErr := clientset.CoordinationV1().Leases(lease.Namespace).Create(ctx, lease, metav1.CreateOptions{})
	for _, err := range []error{policyErr, bindingErr, leaseErr} {
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("envtest: preparing a fence: %w", err)
		}
	}
	return nil
}

// createFence creates the admission policy and its binding, and returns a
// function that removes both. If createFence cannot create the binding, it
// removes the admission policy.
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
	case err != nil: // the API server may have created the object although it returned an error
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
	case err != nil: // the API server may have created the object although it returned an error
		return nil, errors.Join(err, undo(ctx, removeBoth))
	}
	return removeBoth, nil
}

// undo calls remove with a new timeout of ten seconds, because ctx may already
// be done.
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

// probe is a write with which EnforceFence checks whether an API server
// enforces the Fence. The Fence always refuses the probe, because the probe
// does not come from a pod and carries no term.
//
// The probe is a dry run. The admission policy has an additional rule that
// matches only the probe.
//
// The probe writes a LimitRange, because other Fences rarely guard LimitRanges.
// A Fence that guards LimitRanges could refuse the probe first.
type probe struct {
	account ServiceAccount
	policy  string
	object  *corev1.LimitRange
	lease   *coordinationv1.Lease // the Lease that the admission policy reads; nil if the policy reads no Lease
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

// refused returns nil if the API server refuses the probe because of the
// admission policy.
func (p probe) refused(ctx context.Context, config *rest.Config) error {
	config = p.account.Pod(config, "")
	// The probe has all rights, because otherwise RBAC would refuse the probe
	// before the API server evaluates the admission policy.
	config.Impersonate.Groups = []string{"system:masters"}
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	_, err = clientset.CoreV1().LimitRanges(p.object.Namespace).Create(ctx, p.object,
		metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	switch {
	case err == nil:
		return errors.New("the API server accepted the probe")
	case !fencing.IsStale(err) || !strings.Contains(err.Error(), "'"+p.policy+"'") || strings.Contains(err.Error(), "failed to configure"):
		return fmt.Errorf("the API server refused the probe for another reason: %w", err)
	}
	return p.upToDate(ctx, clientset, err)
}

// upToDate returns nil if the error in the parameter refusal names the current
// holder of the Lease.
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
		return fmt.Errorf("the Lease was changed (%s), but the API server refused the probe with: %w; if this persists, "+
			"the API server no longer watches Leases and must be restarted, see fencing.AnchorPolicy", want, refusal)
	}
	return nil
}
