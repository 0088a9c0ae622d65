package fencing

import (
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
)

// Policy returns the admission policy of a Fence, and the binding that enforces the
// policy. If the Fence is invalid, Policy returns one error that names every problem.
//
// If the Fence has the mode ByPod, apply the AnchorPolicy once in the cluster, before
// you apply this policy.
//
// Policy cannot detect all mistakes. With ByPod, the API server refuses all guarded
// writes of the service account if the replicas campaign for another Lease. Without
// OpenWithoutLease, it also refuses them if the Lease was deleted. In the following
// cases, stale writes pass:
//
//   - a resource is misspelt, and its group is not a group of Kubernetes,
//   - a resource is served by an aggregated API server,
//   - the writer uses another service account.
func Policy(f Fence) (*admissionv1.ValidatingAdmissionPolicy, *admissionv1.ValidatingAdmissionPolicyBinding, error) {
	f = f.withDefaults()
	if err := f.validate(); err != nil {
		return nil, nil, err
	}
	policy := &admissionv1.ValidatingAdmissionPolicy{
		TypeMeta:   typeMeta(admissionv1.SchemeGroupVersion, "ValidatingAdmissionPolicy"),
		ObjectMeta: metav1.ObjectMeta{Name: f.policyName()},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy:    ptr.To(admissionv1.Fail),
			MatchConstraints: f.matches(),
			Validations:      f.validations(),
		},
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{
		TypeMeta:   typeMeta(admissionv1.SchemeGroupVersion, "ValidatingAdmissionPolicyBinding"),
		ObjectMeta: metav1.ObjectMeta{Name: f.policyName()},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName:        f.policyName(),
			ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
		},
	}
	if f.ReportOnly {
		policy.Spec.FailurePolicy = ptr.To(admissionv1.Ignore)
		binding.Spec.ValidationActions = []admissionv1.ValidationAction{admissionv1.Warn, admissionv1.Audit}
	}
	if f.has(ByPod) {
		policy.Spec.ParamKind = leaseParameter()
		binding.Spec.ParamRef = &admissionv1.ParamRef{
			Namespace: f.LeaseNamespace, Name: f.LeaseName, ParameterNotFoundAction: ptr.To(f.withoutLease()),
		}
	}
	return policy, binding, nil
}

// Lease returns the Lease of a Fence, without a holder. Apply the Lease before the
// policy. If you apply the policy first, no user can write the guarded resources until
// the Lease exists. If you apply the Lease again later, its holder does not change. The
// holder's term ends if you replace the Lease, or if you delete the Lease with the
// policy.
//
// The first candidate waits for one RetryPeriod before it claims this Lease. The reason
// is that this Lease lacks the annotation with which an Elector records that it has
// released a Lease.
func Lease(f Fence) *coordinationv1.Lease {
	return &coordinationv1.Lease{
		TypeMeta:   typeMeta(coordinationv1.SchemeGroupVersion, "Lease"),
		ObjectMeta: metav1.ObjectMeta{Namespace: f.LeaseNamespace, Name: f.LeaseName},
	}
}

func typeMeta(version schema.GroupVersion, kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: version.String(), Kind: kind}
}

func (f Fence) withoutLease() admissionv1.ParameterNotFoundActionType {
	if f.OpenWithoutLease || f.ReportOnly {
		return admissionv1.AllowAction
	}
	return admissionv1.DenyAction
}

// matches returns the constraints that select the requests for which the API server
// evaluates the policy. The constraints do not depend on the user.
func (f Fence) matches() *admissionv1.MatchResources {
	m := &admissionv1.MatchResources{MatchPolicy: ptr.To(admissionv1.Equivalent)}
	for _, resource := range f.Resources {
		m.ResourceRules = append(m.ResourceRules, f.rules(resource)...)
	}
	if len(f.Namespaces) > 0 {
		m.NamespaceSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{
			Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpIn, Values: slices.Clone(f.Namespaces),
		}}}
	}
	return m
}

// rules returns the rules that select the writes of one resource. In a rule, a patch is
// an update, a server-side apply is a creation or an update, and a deletecollection is
// one deletion for each object.
func (f Fence) rules(resource schema.GroupResource) []admissionv1.NamedRuleWithOperations {
	if !f.has(ByPod) {
		// Deletions are not selected, because a deletion cannot carry a stamp. Updates
		// of subresources are selected, because such an update may change the stamp.
		rules := []admissionv1.NamedRuleWithOperations{
			rule(resource.Group, []admissionv1.OperationType{admissionv1.Create, admissionv1.Update}, resource.Resource),
			rule(resource.Group, []admissionv1.OperationType{admissionv1.Update}, resource.Resource+"/*"),
		}
		if resource == pods {
			rules = append(rules, rule("", []admissionv1.OperationType{admissionv1.Create}, "pods/binding", "bindings"))
		}
		return rules
	}
	rules := []admissionv1.NamedRuleWithOperations{rule(resource.Group,
		[]admissionv1.OperationType{admissionv1.Create, admissionv1.Update, admissionv1.Delete},
		resource.Resource, resource.Resource+"/*")}
	if resource == pods {
		// Exec, attach and portforward can change what a pod does. Connections through the
		// proxy are not selected, because they may be reads.
		rules = append(rules, rule("", []admissionv1.OperationType{admissionv1.Connect}, "pods/exec", "pods/attach", "pods/portforward"),
			// "bindings" is an older API for the same purpose as pods/binding.
			rule("", []admissionv1.OperationType{admissionv1.Create}, "bindings"))
	}
	return rules
}

func rule(group string, operations []admissionv1.OperationType, resources ...string) admissionv1.NamedRuleWithOperations {
	return admissionv1.NamedRuleWithOperations{RuleWithOperations: admissionv1.RuleWithOperations{
		Operations: operations,
		Rule:       admissionv1.Rule{APIGroups: []string{group}, APIVersions: []string{"*"}, Resources: resources},
	}}
}

const (
	anchorName  = "incumbent-lease-anchor"
	anchorGroup = "fencing.incumbent.haproxy-template-ic.github.io" // has no resources
)

// AnchorPolicy returns a policy that guards no resources, and its binding. Apply the
// policy and the binding once in a cluster, before the first Fence with the mode ByPod.
// Never delete them.
//
// An API server watches Leases only while at least one binding belongs to a policy
// whose parameter is a Lease. When the last such binding is deleted, the API server
// stops watching, and does not start again. A Fence that is applied later is then
// evaluated with the holders at the time of that deletion, until the API server is
// restarted. Such a Fence refuses the writes of the current leader, and accepts the
// writes of a former leader (https://github.com/kubernetes/kubernetes/issues/130887,
// not fixed in 1.37). This cannot happen while the binding of the anchor policy exists.
func AnchorPolicy() (*admissionv1.ValidatingAdmissionPolicy, *admissionv1.ValidatingAdmissionPolicyBinding) {
	policy := &admissionv1.ValidatingAdmissionPolicy{
		TypeMeta:   typeMeta(admissionv1.SchemeGroupVersion, "ValidatingAdmissionPolicy"),
		ObjectMeta: metav1.ObjectMeta{Name: anchorName},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: ptr.To(admissionv1.Ignore),
			ParamKind:     leaseParameter(),
			MatchConstraints: &admissionv1.MatchResources{
				MatchPolicy: ptr.To(admissionv1.Exact),
				ResourceRules: []admissionv1.NamedRuleWithOperations{
					rule(anchorGroup, []admissionv1.OperationType{admissionv1.Create}, "none"),
				},
			},
			Validations: []admissionv1.Validation{{Expression: "true"}},
		},
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{
		TypeMeta:   typeMeta(admissionv1.SchemeGroupVersion, "ValidatingAdmissionPolicyBinding"),
		ObjectMeta: metav1.ObjectMeta{Name: anchorName},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName:        anchorName,
			ValidationActions: []admissionv1.ValidationAction{admissionv1.Audit},
			ParamRef: &admissionv1.ParamRef{
				Namespace: metav1.NamespaceDefault, Name: anchorName, ParameterNotFoundAction: ptr.To(admissionv1.AllowAction),
			},
		},
	}
	return policy, binding
}

func leaseParameter() *admissionv1.ParamKind {
	return &admissionv1.ParamKind{APIVersion: coordinationv1.SchemeGroupVersion.String(), Kind: "Lease"}
}
