package fencing

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	keeperName  = "incumbent-lease-keeper"
	keeperGroup = "fencing.incumbent.haproxy-template-ic.github.io" // has no resources
)

// Keeper makes a policy that guards nothing, and its binding. Apply both once in a
// cluster, before the first Fence ByPod, and leave them there.
//
// An API server follows the Leases as long as some binding belongs to a policy whose
// parameter is a Lease. When the last one goes it stops, for good: a Fence that is
// put back later is asked with the holders of that day until the API server is
// restarted, refuses the leader and lets through who led then
// (https://github.com/kubernetes/kubernetes/issues/130887, not mended in 1.37). The
// keeper is a binding that stays.
func Keeper() (*admissionv1.ValidatingAdmissionPolicy, *admissionv1.ValidatingAdmissionPolicyBinding) {
	policy := &admissionv1.ValidatingAdmissionPolicy{
		TypeMeta:   typeMeta(admissionv1.SchemeGroupVersion, "ValidatingAdmissionPolicy"),
		ObjectMeta: metav1.ObjectMeta{Name: keeperName},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: new(admissionv1.Ignore),
			ParamKind:     leaseParameter(),
			MatchConstraints: &admissionv1.MatchResources{
				MatchPolicy: new(admissionv1.Exact),
				ResourceRules: []admissionv1.NamedRuleWithOperations{
					rule(keeperGroup, []admissionv1.OperationType{admissionv1.Create}, "none"),
				},
			},
			Validations: []admissionv1.Validation{{Expression: "true"}},
		},
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{
		TypeMeta:   typeMeta(admissionv1.SchemeGroupVersion, "ValidatingAdmissionPolicyBinding"),
		ObjectMeta: metav1.ObjectMeta{Name: keeperName},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName:        keeperName,
			ValidationActions: []admissionv1.ValidationAction{admissionv1.Audit},
			ParamRef: &admissionv1.ParamRef{
				Namespace: metav1.NamespaceDefault, Name: keeperName, ParameterNotFoundAction: new(admissionv1.AllowAction),
			},
		},
	}
	return policy, binding
}

func leaseParameter() *admissionv1.ParamKind {
	return &admissionv1.ParamKind{APIVersion: coordinationv1.SchemeGroupVersion.String(), Kind: "Lease"}
}
