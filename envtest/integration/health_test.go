package integration_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/health"
)

// A follower does not write the Lease. Therefore a follower needs a
// SelfSubjectAccessReview to detect that the right to write is missing.
func TestHealth_FollowerWithoutTheRightToWriteIsNotReady(t *testing.T) {
	for name, tt := range map[string]struct {
		without string
		want    string
	}{
		"all rights":     {"", ""},
		"without update": {"update", "missing right: update leases.coordination.k8s.io"},
		"without watch":  {"watch", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSharedCluster(t, longLease)
			rules := role(t)
			if tt.without != "" {
				rules = withoutVerb(rules, "leases", tt.without)
			}
			user := s.cp.User(t, "limited", s.namespace, rules...)
			s.withElector(s.newCandidate("pod-1")).run().awaitTerm()
			follower := s.newCandidate("pod-2", envtest.AsUser(user))
			h := health.New(health.WithReview(follower.Clientset()))
			s.withElector(follower, h.Option()).run()
			for state := range follower.elector.Changes(t.Context()) {
				if state.Leader == "pod-1" {
					break
				}
			}
			eventually(t, func(context.Context) error { // retry, because Ready ignores a SelfSubjectAccessReview that takes too long
				err := h.Ready(nil)
				if tt.want == "" || err != nil && strings.Contains(err.Error(), tt.want) {
					return nil
				}
				return fmt.Errorf("Ready = %w, want %q", err, tt.want)
			})
			if err := h.Ready(nil); tt.want == "" && err != nil {
				t.Errorf("Ready = %v", err)
			}
		})
	}
}

// An admission policy that allows only claims refuses the nomination of a follower. The
// follower can still claim, and is ready. The text of the refusal comes from the real API
// server.
func TestHealth_FollowerWhoseNominationAPolicyRefusesIsReady(t *testing.T) {
	for _, reason := range []metav1.StatusReason{metav1.StatusReasonForbidden, metav1.StatusReasonInvalid} {
		t.Run(string(reason), func(t *testing.T) {
			s := newSharedCluster(t, longLease)
			s.refuseNominations(reason)
			s.withElector(s.newCandidate("pod-1")).run().awaitTerm()
			user := s.cp.User(t, "limited", s.namespace, role(t)...)
			follower, h, refused := s.newCandidate("pod-2", envtest.AsUser(user)), health.New(), make(chan error, 1)
			s.withElector(follower, h.Option(), leaderelection.WithTrace(leaderelection.Trace{Request: func(r leaderelection.Request) {
				if r.For == leaderelection.RequestNominate {
					select {
					case refused <- r.Err:
					default:
					}
				}
			}})).run()
			select {
			case err := <-refused:
				if apierrors.ReasonForError(err) != reason {
					t.Errorf("the nomination failed with %v", err)
				}
			case <-timeout():
				t.Fatal("no nomination was sent")
			}
			if err := h.Ready(nil); err != nil {
				t.Errorf("Ready = %v", err)
			}
		})
	}
}

// refuseNominations makes the API server refuse each nomination in the namespace. It
// returns when the API server enforces the policy.
func (s *testCluster) refuseNominations(reason metav1.StatusReason) {
	s.Helper()
	ctx, cancel := within()
	defer cancel()
	admin := s.cp.Admin().Clientset()
	policies, bindings := admin.AdmissionregistrationV1().ValidatingAdmissionPolicies(), admin.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings()
	meta := metav1.ObjectMeta{Name: "nominations." + s.namespace}
	rule := admissionv1.RuleWithOperations{
		Operations: []admissionv1.OperationType{admissionv1.Update},
		Rule:       admissionv1.Rule{APIGroups: []string{"coordination.k8s.io"}, APIVersions: []string{"*"}, Resources: []string{"leases"}},
	}
	_, err := policies.Create(ctx, &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: meta, Spec: admissionv1.ValidatingAdmissionPolicySpec{
		MatchConstraints: &admissionv1.MatchResources{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: s.namespace}},
			ResourceRules:     []admissionv1.NamedRuleWithOperations{{RuleWithOperations: rule}},
		},
		Validations: []admissionv1.Validation{{
			Expression: `!object.metadata.?annotations.orValue({}).exists(key, key.endsWith("/successor"))`,
			Message:    "this Lease has no successor", Reason: &reason,
		}},
	}}, metav1.CreateOptions{})
	must(s.T, err)
	s.Cleanup(func() { must(s.T, policies.Delete(context.Background(), meta.Name, metav1.DeleteOptions{})) })
	_, err = bindings.Create(ctx, &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: meta, Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: meta.Name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
	}}, metav1.CreateOptions{})
	must(s.T, err)
	s.Cleanup(func() { must(s.T, bindings.Delete(context.Background(), meta.Name, metav1.DeleteOptions{})) })

	leases := admin.CoordinationV1().Leases(s.namespace)
	_, err = leases.Create(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "nominated"}}, metav1.CreateOptions{})
	must(s.T, err)
	eventually(s.T, func(ctx context.Context) error {
		patch := []byte(`{"metadata":{"annotations":{"example.com/successor":"pod-2"}}}`)
		_, err := leases.Patch(ctx, "nominated", types.MergePatchType, patch, metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil {
			return errors.New("the policy is not enforced")
		}
		return nil
	})
}
