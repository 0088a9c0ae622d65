package explain

import (
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
)

// Fences are the admission policies that guard a Lease's leader.
type Fences struct {
	// Found are those that were found.
	Found []Fence `json:"found,omitempty"`

	// Problem says why they could not be looked for.
	Problem string `json:"problem,omitempty"`
}

// A Fence is an admission policy that asks for the Lease.
type Fence struct {
	// Policy is its name.
	Policy string `json:"policy"`

	// Enforced is whether it refuses writes; if not it only reports them.
	Enforced bool `json:"enforced"`

	// ByPod is whether it compares the writer with the Lease's holder, ByTerm
	// whether it compares the terms that are stamped on objects.
	ByPod  bool `json:"byPod"`
	ByTerm bool `json:"byTerm"`

	// Resources are what it guards.
	Resources []string `json:"resources,omitempty"`
}

// FencesOf finds the policies that guard the leader of that Lease: those whose
// parameter it is, and those of package fencing that look for its stamp.
func FencesOf(namespace, name string, policies []admissionv1.ValidatingAdmissionPolicy, bindings []admissionv1.ValidatingAdmissionPolicyBinding) []Fence {
	var found []Fence
	for _, policy := range policies {
		fence := Fence{Policy: policy.Name, ByTerm: stamped(policy, fencing.AnnotationKey(namespace+"/"+name))}
		bound := false
		for _, binding := range bindings {
			if binding.Spec.PolicyName != policy.Name {
				continue
			}
			asks := asksFor(policy, binding, namespace, name)
			if !asks && !fence.ByTerm {
				continue
			}
			bound = true
			fence.ByPod = fence.ByPod || asks
			fence.Enforced = fence.Enforced || slices.Contains(binding.Spec.ValidationActions, admissionv1.Deny)
		}
		if bound {
			fence.Resources = guarded(policy)
			found = append(found, fence)
		}
	}
	return found
}

// asksFor reports whether the Lease is the policy's parameter.
func asksFor(policy admissionv1.ValidatingAdmissionPolicy, binding admissionv1.ValidatingAdmissionPolicyBinding, namespace, name string) bool {
	kind, ref := policy.Spec.ParamKind, binding.Spec.ParamRef
	return kind != nil && kind.Kind == "Lease" && strings.HasPrefix(kind.APIVersion, "coordination.k8s.io/") &&
		ref != nil && ref.Namespace == namespace && ref.Name == name
}

func stamped(policy admissionv1.ValidatingAdmissionPolicy, key string) bool {
	return slices.ContainsFunc(policy.Spec.Validations, func(v admissionv1.Validation) bool {
		return strings.Contains(v.Expression, "'"+key+"'")
	})
}

func guarded(policy admissionv1.ValidatingAdmissionPolicy) []string {
	var names []string
	if policy.Spec.MatchConstraints == nil {
		return nil
	}
	for _, rule := range policy.Spec.MatchConstraints.ResourceRules {
		for _, resource := range rule.Resources {
			if strings.HasSuffix(resource, "/*") {
				continue
			}
			for _, group := range rule.APIGroups {
				names = append(names, strings.TrimSuffix(resource+"."+group, "."))
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (f Fences) lines() []string {
	if f.Problem != "" {
		return []string{f.Problem}
	}
	if len(f.Found) == 0 {
		return []string{"none: a leader that does not know yet that it is none can write"}
	}
	var lines []string
	for _, fence := range f.Found {
		what := "refuses the writes of stale leaders"
		if !fence.Enforced {
			what = "only reports the writes of stale leaders"
		}
		lines = append(lines, fmt.Sprintf("%s %s to %s", fence.Policy, what, strings.Join(fence.Resources, ", ")))
	}
	return lines
}
