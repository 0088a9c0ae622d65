package explain

import (
	"fmt"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// limits returns phrases such as "in namespace a". Each phrase describes a condition
// that an object must meet to be guarded. readsLease is true if the Lease
// is the parameter of the policy.
func limits(policy *admissionv1.ValidatingAdmissionPolicy, binding *admissionv1.ValidatingAdmissionPolicyBinding, lease metav1.ObjectMeta, readsLease bool) []string {
	var found []string
	if ref := binding.Spec.ParamRef; readsLease && ref.Namespace == "" {
		found = append(found, fmt.Sprintf("this Lease counts for objects in namespace %s only", lease.Namespace))
	}
	if ref := binding.Spec.ParamRef; readsLease && !empty(ref.Selector) {
		found = append(found, "while the Lease has the labels "+metav1.FormatLabelSelector(ref.Selector))
	}
	found = append(found, matchLimits(policy.Spec.MatchConstraints)...)
	if match := binding.Spec.MatchResources; match != nil {
		found = append(found, matchLimits(match)...)
		if len(match.ResourceRules) > 0 {
			found = append(found, "of these only the resources that its binding selects")
		}
	}
	for _, condition := range policy.Spec.MatchConditions {
		if !accountCondition.MatchString(condition.Expression) {
			found = append(found, fmt.Sprintf("only under its condition %q", condition.Name))
		}
	}
	return found
}

func matchLimits(match *admissionv1.MatchResources) []string {
	if match == nil {
		return nil
	}
	var found []string
	if s := match.NamespaceSelector; !empty(s) {
		if names := namespacesIn(s); names != nil {
			found = append(found, "in namespace "+strings.Join(names, ", "))
		} else {
			found = append(found, "in namespaces with the labels "+metav1.FormatLabelSelector(s))
		}
	}
	if !empty(match.ObjectSelector) {
		found = append(found, "objects with the labels "+metav1.FormatLabelSelector(match.ObjectSelector))
	}
	if len(match.ExcludeResourceRules) > 0 {
		found = append(found, "with exceptions")
	}
	return found
}

func empty(s *metav1.LabelSelector) bool {
	return s == nil || len(s.MatchLabels) == 0 && len(s.MatchExpressions) == 0
}

// namespacesIn returns the namespaces that a selector lists by name, as the policies of
// package fencing do. It returns nil for any other selector.
func namespacesIn(s *metav1.LabelSelector) []string {
	if len(s.MatchLabels) > 0 || len(s.MatchExpressions) != 1 {
		return nil
	}
	if e := s.MatchExpressions[0]; e.Key == corev1.LabelMetadataName && e.Operator == metav1.LabelSelectorOpIn {
		return e.Values
	}
	return nil
}
