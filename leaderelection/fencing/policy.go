package fencing

import (
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Policy makes the admission policy of a Fence, and the binding that puts it into
// force. It returns one error that names everything that is wrong with the Fence.
//
// Apply the Keeper first, once in a cluster, if the Fence is ByPod.
//
// What it cannot know is refused by the API server, not let through: the writes of
// a service account that campaigns for another Lease, or whose Lease was deleted.
// What nobody can refuse: writes of a resource whose name is misspelt in a group
// that is not Kubernetes' own, those that go to an API server of another make by way
// of an APIService, and those of another service account.
func Policy(f Fence) (*admissionv1.ValidatingAdmissionPolicy, *admissionv1.ValidatingAdmissionPolicyBinding, error) {
	f = f.withDefaults()
	if err := f.validate(); err != nil {
		return nil, nil, err
	}
	policy := &admissionv1.ValidatingAdmissionPolicy{
		TypeMeta:   typeMeta(admissionv1.SchemeGroupVersion, "ValidatingAdmissionPolicy"),
		ObjectMeta: metav1.ObjectMeta{Name: f.policyName()},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy:    new(admissionv1.Fail),
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
		policy.Spec.FailurePolicy = new(admissionv1.Ignore)
		binding.Spec.ValidationActions = []admissionv1.ValidationAction{admissionv1.Warn, admissionv1.Audit}
	}
	if f.has(ByPod) {
		policy.Spec.ParamKind = leaseParameter()
		binding.Spec.ParamRef = &admissionv1.ParamRef{
			Namespace: f.LeaseNamespace, Name: f.LeaseName, ParameterNotFoundAction: new(f.withoutLease()),
		}
	}
	return policy, binding, nil
}

// Lease makes the Lease of a Fence as it is before anybody has claimed it. Apply
// it before the policy, or else the guarded resources are closed until somebody
// leads; applied again later it takes nothing from its holder. To replace it, or to
// delete it with the policy, ends its holder's term. The
// first candidate leaves it alone for one RetryPeriod, as any that is free without
// an Elector's mark.
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

// matches says which requests the API server asks the policy about, whoever sends
// them.
func (f Fence) matches() *admissionv1.MatchResources {
	m := &admissionv1.MatchResources{MatchPolicy: new(admissionv1.Equivalent)}
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

// rules are those for one resource. Patches and server-side apply are updates,
// deletecollection is a deletion of each object.
func (f Fence) rules(resource schema.GroupResource) []admissionv1.NamedRuleWithOperations {
	if !f.has(ByPod) {
		// Deletions cannot be stamped. Updates of a subresource may change a stamp.
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
		// These change what a pod does. Connections to a proxy may be mere reads.
		rules = append(rules, rule("", []admissionv1.OperationType{admissionv1.Connect}, "pods/exec", "pods/attach", "pods/portforward"),
			// The same as pods/binding, by an older name.
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
