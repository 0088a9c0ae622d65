package explain

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
)

// Fences are the admission policies that guard the writes of a Lease's leader.
type Fences struct {
	// Time is when the policies were requested from the API server.
	Time time.Time `json:"time"`

	// Policies contains one entry for each binding of each policy that was found.
	Policies []Fence `json:"policies,omitempty"`

	// AnchorMissing is true if the anchor policy does not exist. Without an anchor
	// policy, deleting all policies in the field Policies and creating them again makes
	// the API servers evaluate them against outdated Leases. See
	// [fencing.AnchorPolicy].
	AnchorMissing bool `json:"anchorMissing,omitempty"`

	// Error is the reason why the policies could not be read. It is "" if the policies
	// were read.
	Error string `json:"error,omitempty"`
}

// A Fence is an admission policy that guards the writes of a Lease's leader, together
// with one binding of the policy.
type Fence struct {
	// Policy and Binding are the names of the policy and of the binding.
	Policy  string `json:"policy"`
	Binding string `json:"binding"`

	// Incumbent is true if the policy's name shows that package fencing created the
	// policy. If Incumbent is false, it is not known what the policy checks.
	Incumbent bool `json:"incumbent"`

	// ServiceAccount is the account whose writes the policy checks, as namespace/name.
	// It is "" if the account is not known. While the Lease exists, the policy refuses
	// no writes of other accounts. ServiceAccountMissing is true if the API server
	// responds that the account does not exist. The policy then stops no stale leader,
	// because every leader uses another account.
	ServiceAccount        string `json:"serviceAccount,omitempty"`
	ServiceAccountMissing bool   `json:"serviceAccountMissing,omitempty"`

	// Enforced is true if the policy refuses stale writes. Enforced is false if the
	// policy only reports stale writes.
	Enforced bool `json:"enforced"`

	// IgnoresErrors is true if the policy accepts writes that it cannot evaluate.
	// OpenWithoutLease is true if the policy accepts all writes while the Lease does not
	// exist.
	IgnoresErrors    bool `json:"ignoresErrors,omitempty"`
	OpenWithoutLease bool `json:"openWithoutLease,omitempty"`

	// ByPod is true if the policy compares the Pod of the writer with the Lease's holder.
	// ByTerm is true if the policy compares the fencing tokens that are stamped on
	// objects.
	ByPod  bool `json:"byPod"`
	ByTerm bool `json:"byTerm"`

	// Resources are the resources that the policy guards. Limits describes which
	// objects of these resources the policy guards. Limits is empty if the policy
	// guards all of them.
	Resources []string `json:"resources,omitempty"`
	Limits    []string `json:"limits,omitempty"`
}

// policyPrefix is the beginning of the names of package fencing's policies.
const policyPrefix = "incumbent-fencing."

// FencesOf returns the policies that guard the writes of a Lease's leader. A policy is
// returned in two cases: the Lease is the parameter of the policy, or the policy
// compares the fencing tokens that the leader writes into an annotation of each object.
// FencesOf uses only the namespace, the name and the labels of the Lease.
func FencesOf(lease metav1.ObjectMeta, policies []admissionv1.ValidatingAdmissionPolicy, bindings []admissionv1.ValidatingAdmissionPolicyBinding) []Fence {
	var found []Fence
	for i := range policies {
		for j := range bindings {
			if bindings[j].Spec.PolicyName != policies[i].Name {
				continue
			}
			if fence, ok := fenceOf(lease, &policies[i], &bindings[j]); ok {
				found = append(found, fence)
			}
		}
	}
	return found
}

func fenceOf(lease metav1.ObjectMeta, policy *admissionv1.ValidatingAdmissionPolicy, binding *admissionv1.ValidatingAdmissionPolicyBinding) (Fence, bool) {
	byLease := readsLease(policy, binding, lease)
	byStamp := readsStamp(policy, fencing.AnnotationKey(lease.Namespace+"/"+lease.Name))
	if !byLease && !byStamp {
		return Fence{}, false
	}
	failure, ref := policy.Spec.FailurePolicy, binding.Spec.ParamRef
	incumbent := strings.HasPrefix(policy.Name, policyPrefix)
	return Fence{
		Policy: policy.Name, Binding: binding.Name, Incumbent: incumbent, ServiceAccount: accountOf(policy),
		Enforced:         slices.Contains(binding.Spec.ValidationActions, admissionv1.Deny),
		IgnoresErrors:    failure != nil && *failure == admissionv1.Ignore,
		OpenWithoutLease: byLease && ref.ParameterNotFoundAction != nil && *ref.ParameterNotFoundAction == admissionv1.AllowAction,
		ByPod:            incumbent && byLease, ByTerm: incumbent && byStamp,
		Resources: resourcesOf(policy), Limits: limits(policy, binding, lease, byLease),
	}, true
}

// anchorMissing reports whether the API servers would stop watching Leases if all
// policies in the parameter found were deleted. This is the case if at least one of
// these policies reads the Lease, and the cluster has no other policy that reads
// Leases. A policy without a binding does not count.
func anchorMissing(found []Fence, policies []admissionv1.ValidatingAdmissionPolicy, bindings []admissionv1.ValidatingAdmissionPolicyBinding) bool {
	reading := slices.ContainsFunc(found, func(f Fence) bool { return f.ByPod })
	return reading && !slices.ContainsFunc(policies, func(p admissionv1.ValidatingAdmissionPolicy) bool {
		other := isLease(p.Spec.ParamKind) &&
			!slices.ContainsFunc(found, func(f Fence) bool { return f.Policy == p.Name })
		return other && slices.ContainsFunc(bindings, func(b admissionv1.ValidatingAdmissionPolicyBinding) bool { return b.Spec.PolicyName == p.Name })
	})
}

// readsLease reports whether the Lease is the parameter of the policy with this
// binding. If the binding does not set the namespace of the parameter, the API server
// uses the Lease in the namespace of the written object.
func readsLease(policy *admissionv1.ValidatingAdmissionPolicy, binding *admissionv1.ValidatingAdmissionPolicyBinding, lease metav1.ObjectMeta) bool {
	ref := binding.Spec.ParamRef
	if !isLease(policy.Spec.ParamKind) || ref == nil || ref.Namespace != "" && ref.Namespace != lease.Namespace {
		return false
	}
	if ref.Selector == nil {
		return ref.Name == lease.Name
	}
	selector, err := metav1.LabelSelectorAsSelector(ref.Selector)
	return err == nil && selector.Matches(labels.Set(lease.Labels))
}

func isLease(kind *admissionv1.ParamKind) bool {
	return kind != nil && kind.Kind == "Lease" && strings.HasPrefix(kind.APIVersion, "coordination.k8s.io/")
}

// readsStamp reports whether the policy checks the annotation with the given key.
func readsStamp(policy *admissionv1.ValidatingAdmissionPolicy, key string) bool {
	return slices.ContainsFunc(policy.Spec.Validations, func(v admissionv1.Validation) bool {
		return strings.Contains(v.Expression, "'"+key+"'")
	})
}

// Each policy of package fencing checks the writes of one service account. Therefore
// each validation of the policy ends with an expression that exempts all other
// accounts. In earlier versions of package fencing, this expression was at the
// beginning of each validation, or the policy had a match condition instead.
var (
	accountExemptions = []*regexp.Regexp{
		regexp.MustCompile(` \|\| request\.userInfo\.username != ` + accountPattern + `$`),
		regexp.MustCompile(`^request\.userInfo\.username != ` + accountPattern + ` \|\| `),
	}
	accountCondition = regexp.MustCompile(`^request\.userInfo\.username == ` + accountPattern + `$`)
)

const accountPattern = `'system:serviceaccount:([^:']+):([^:']+)'`

// accountOf returns the service account whose writes the policy checks, as
// namespace/name. It returns "" if the policy contains no account, or more than one.
func accountOf(policy *admissionv1.ValidatingAdmissionPolicy) string {
	for _, condition := range policy.Spec.MatchConditions {
		if account := accountIn(condition.Expression, accountCondition); account != "" {
			return account
		}
	}
	account := ""
	for _, validation := range policy.Spec.Validations {
		governed := accountIn(validation.Expression, accountExemptions...)
		if governed == "" || account != "" && account != governed {
			return ""
		}
		account = governed
	}
	return account
}

// accountIn returns the service account in an expression, as namespace/name. It returns
// "" if the expression matches no regular expression in the parameter forms.
func accountIn(expression string, forms ...*regexp.Regexp) string {
	for _, form := range forms {
		if parts := form.FindStringSubmatch(expression); parts != nil {
			return parts[1] + "/" + parts[2]
		}
	}
	return ""
}

// resourcesOf returns the resources that the policy matches, as plural.group. It omits
// each entry that stands for all subresources of a resource, such as "pods/*".
func resourcesOf(policy *admissionv1.ValidatingAdmissionPolicy) []string {
	var names []string
	if policy.Spec.MatchConstraints == nil {
		return nil
	}
	for _, rule := range policy.Spec.MatchConstraints.ResourceRules {
		for _, resource := range rule.Resources {
			if strings.HasSuffix(resource, "/*") && resource != "*/*" {
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

// lines returns lines of text that describe the policies. If account is not "", the
// lines also show which policies do not check the writes of the service account with
// this name.
func (f Fences) lines(account string) []string {
	if f.Error != "" {
		return []string{f.Error}
	}
	if len(f.Policies) == 0 {
		return []string{"none found: a stale leader, which does not know yet that it has lost the Lease, can still write"}
	}
	var lines []string
	guarded := false
	for _, fence := range f.Policies {
		text := fence.String()
		if account != "" && fence.ServiceAccount != "" && fence.ServiceAccount != account {
			text += "; it does not govern " + account
		} else {
			guarded = true
		}
		lines = append(lines, text)
	}
	if !guarded {
		lines = append(lines, fmt.Sprintf("none found for %s: a stale leader that runs as it can still write", account))
	}
	if f.AnchorMissing {
		lines = append(lines, "the anchor policy is missing: before you delete these policies, apply what `kubectl lease fence --anchor` prints, "+
			"or the API servers evaluate policies that you create later with old Leases")
	}
	return lines
}

// String returns a description of the policy in one line.
func (f Fence) String() string {
	verb, what := "refuses", strings.Join(f.Resources, ", ")
	if !f.Enforced {
		verb = "only reports"
	}
	if what == "" {
		what = "nothing: it names no resources"
	}
	var text string
	switch account := f.ServiceAccount; {
	case !f.Incumbent:
		text = fmt.Sprintf("%s reads this Lease, but is not of package fencing: what it %s is not known; it is asked about %s", f.Policy, strings.TrimPrefix(verb, "only "), what)
	case account == "":
		text = fmt.Sprintf("%s %s the writes of stale leaders, of an account that is not known, to %s", f.Policy, verb, what)
	default:
		text = fmt.Sprintf("%s %s the writes of stale leaders that run as %s to %s", f.Policy, verb, account, what)
	}
	if f.ServiceAccountMissing {
		text += "; there is no such service account: check the name"
	}
	for _, limit := range f.Limits {
		text += "; " + limit
	}
	if f.Enforced && f.IgnoresErrors {
		text += "; admits writes that it cannot evaluate (failurePolicy Ignore)"
	}
	if f.Enforced && f.OpenWithoutLease {
		text += "; admits all writes while there is no Lease (parameterNotFoundAction Allow)"
	}
	return text
}
