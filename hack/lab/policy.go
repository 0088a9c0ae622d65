package lab

import (
	"context"
	"fmt"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
)

// Rule returns a rule for an admission policy. The rule matches the operations on the
// resource in API version v1.
func Rule(resource schema.GroupResource, operations ...admissionv1.OperationType) admissionv1.NamedRuleWithOperations {
	return admissionv1.NamedRuleWithOperations{RuleWithOperations: admissionv1.RuleWithOperations{
		Operations: operations,
		Rule:       admissionv1.Rule{APIGroups: []string{resource.Group}, APIVersions: []string{"v1"}, Resources: []string{resource.Resource}},
	}}
}

// EnforcePolicy creates a ValidatingAdmissionPolicy and its binding, and waits until
// the API server enforces the policy. It calls inForce until the function
// returns true. EnforcePolicy returns an error after one minute.
func EnforcePolicy(ctx context.Context, client kubernetes.Interface, name string, match admissionv1.MatchResources,
	validation admissionv1.Validation, inForce func(context.Context) (bool, error)) error {
	policies, meta := client.AdmissionregistrationV1(), metav1.ObjectMeta{Name: name}
	policy := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: meta, Spec: admissionv1.ValidatingAdmissionPolicySpec{
		MatchConstraints: &match, Validations: []admissionv1.Validation{validation},
	}}
	if _, err := policies.ValidatingAdmissionPolicies().Create(ctx, policy, metav1.CreateOptions{}); err != nil {
		return err
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: meta, Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
	}}
	if _, err := policies.ValidatingAdmissionPolicyBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		return err
	}
	for began := time.Now(); time.Since(began) < time.Minute; {
		if done, err := inForce(ctx); done || err != nil {
			return err
		}
		if err := Sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("the policy %s is not in force after a minute", name)
}
