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
	// Time is when the API server was asked.
	Time time.Time `json:"time"`

	// Policies are the policies that were found, one for each binding.
	Policies []Fence `json:"policies,omitempty"`

	// AnchorMissing means that only the policies that are found here keep Leases in
	// the API servers' caches, see [fencing.AnchorPolicy]. Without the anchor policy they
	// must not be deleted and created again.
	AnchorMissing bool `json:"anchorMissing,omitempty"`

	// Error explains why the policies are not known.
	Error string `json:"error,omitempty"`
}

// A Fence is an admission policy that concerns the Lease, as one of its bindings puts
// it into force.
type Fence struct {
	// Policy and Binding are their names.
	Policy  string `json:"policy"`
	Binding string `json:"binding"`

	// Incumbent means that the policy has a name that package fencing gives. What
	// other policies check is not known.
	Incumbent bool `json:"incumbent"`

	// ServiceAccount is the account whose writes the policy governs, as
	// namespace/name, or "" if that is not known. The writes of other accounts are
	// not refused. ServiceAccountMissing means that the account does not exist: then
	// no writes are refused.
	ServiceAccount        string `json:"serviceAccount,omitempty"`
	ServiceAccountMissing bool   `json:"serviceAccountMissing,omitempty"`

	// Enforced means that the policy refuses writes; otherwise it only reports them.
	Enforced bool `json:"enforced"`

	// IgnoresErrors means that it admits writes that it cannot evaluate,
	// OpenWithoutLease that it admits all writes while there is no Lease.
	IgnoresErrors    bool `json:"ignoresErrors,omitempty"`
	OpenWithoutLease bool `json:"openWithoutLease,omitempty"`

	// ByPod means that it compares the writing Pod with the Lease's holder, ByTerm
	// that it compares the terms that are stamped on objects.
	ByPod  bool `json:"byPod"`
	ByTerm bool `json:"byTerm"`

	// Resources are the resources that it guards, Limits are the exceptions.
	Resources []string `json:"resources,omitempty"`
	Limits    []string `json:"limits,omitempty"`
}

// policyPrefix is the beginning of the names of package fencing's policies.
const policyPrefix = "incumbent-fencing."

// FencesOf returns the policies that guard the writes of the leader of that Lease:
// those that have the Lease as their parameter, and those that check its stamp. Only
// the namespace, the name and the labels of the Lease are used.
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

// anchorMissing reports whether a policy that was found reads the Lease, and no other
// bound policy keeps Leases in the API servers' caches.
func anchorMissing(found []Fence, policies []admissionv1.ValidatingAdmissionPolicy, bindings []admissionv1.ValidatingAdmissionPolicyBinding) bool {
	reading := slices.ContainsFunc(found, func(f Fence) bool { return f.ByPod })
	return reading && !slices.ContainsFunc(policies, func(p admissionv1.ValidatingAdmissionPolicy) bool {
		other := isLease(p.Spec.ParamKind) &&
			!slices.ContainsFunc(found, func(f Fence) bool { return f.Policy == p.Name })
		return other && slices.ContainsFunc(bindings, func(b admissionv1.ValidatingAdmissionPolicyBinding) bool { return b.Spec.PolicyName == p.Name })
	})
}

// readsLease reports whether the Lease is the policy's parameter. A reference without
// a namespace means the namespace of the object that is written.
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

// readsStamp reports whether the policy checks the annotation with that key.
func readsStamp(policy *admissionv1.ValidatingAdmissionPolicy, key string) bool {
	return slices.ContainsFunc(policy.Spec.Validations, func(v admissionv1.Validation) bool {
		return strings.Contains(v.Expression, "'"+key+"'")
	})
}

// The policies of package fencing govern one service account. Each rule ends with the
// exemption of other accounts. In older policies a rule begins with it, or the policy
// has a condition.
var (
	accountExemptions = []*regexp.Regexp{
		regexp.MustCompile(` \|\| request\.userInfo\.username != ` + accountPattern + `$`),
		regexp.MustCompile(`^request\.userInfo\.username != ` + accountPattern + ` \|\| `),
	}
	accountCondition = regexp.MustCompile(`^request\.userInfo\.username == ` + accountPattern + `$`)
)

const accountPattern = `'system:serviceaccount:([^:']+):([^:']+)'`

// accountOf returns the service account that the policy governs, "" if that is not
// one account.
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

// accountIn returns the account in an expression of one of those forms, "" if the
// expression has none of them.
func accountIn(expression string, forms ...*regexp.Regexp) string {
	for _, form := range forms {
		if parts := form.FindStringSubmatch(expression); parts != nil {
			return parts[1] + "/" + parts[2]
		}
	}
	return ""
}

// resourcesOf returns the resources that the policy is asked about, as plural.group.
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

// lines describe the policies to a reader who is interested in one service account, or
// in none ("").
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

// String describes the policy in one line.
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
