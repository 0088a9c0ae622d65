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

// Fences are the admission policies that guard a Lease's leader.
type Fences struct {
	// At is when they were looked for.
	At time.Time `json:"at"`

	// Found are those that were found, one for each binding.
	Found []Fence `json:"found,omitempty"`

	// Unkept is whether nothing but Fences that are found here keeps the API servers
	// following Leases, see [fencing.AnchorPolicy]: then these must not be taken away and put
	// back.
	Unkept bool `json:"unkept,omitempty"`

	// Problem says why they could not be looked for.
	Problem string `json:"problem,omitempty"`
}

// A Fence is an admission policy that asks for the Lease, as one of its bindings
// puts it into force.
type Fence struct {
	// Policy and Binding are their names.
	Policy  string `json:"policy"`
	Binding string `json:"binding"`

	// Incumbent is whether package fencing made it, as its name says. What another
	// policy checks is not known.
	Incumbent bool `json:"incumbent"`

	// Account is the service account whose writes it governs, as namespace/name, and
	// "" if that is not known. Nobody else is fenced off. AccountAbsent is whether it
	// was asked for, and there is none: then nobody is fenced off.
	Account       string `json:"account,omitempty"`
	AccountAbsent bool   `json:"accountAbsent,omitempty"`

	// Enforced is whether it refuses writes; if not it only reports them.
	Enforced bool `json:"enforced"`

	// IgnoresErrors is whether it lets through what it cannot evaluate,
	// OpenWithoutLease whether it lets through everything while there is no Lease.
	IgnoresErrors    bool `json:"ignoresErrors,omitempty"`
	OpenWithoutLease bool `json:"openWithoutLease,omitempty"`

	// ByPod is whether it compares the writer with the Lease's holder, ByTerm
	// whether it compares the terms that are stamped on objects.
	ByPod  bool `json:"byPod"`
	ByTerm bool `json:"byTerm"`

	// Resources are what it guards, Limits say what of that it leaves open.
	Resources []string `json:"resources,omitempty"`
	Limits    []string `json:"limits,omitempty"`
}

// policyPrefix is how the names of package fencing's policies begin.
const policyPrefix = "incumbent-fencing."

// FencesOf finds the policies that guard the leader of that Lease: those whose
// parameter it is, and those that look for its stamp. Of the Lease the namespace,
// the name and the labels count.
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
	asks := asksFor(policy, binding, lease)
	stamped := looksFor(policy, fencing.AnnotationKey(lease.Namespace+"/"+lease.Name))
	if !asks && !stamped {
		return Fence{}, false
	}
	failure, ref := policy.Spec.FailurePolicy, binding.Spec.ParamRef
	ours := strings.HasPrefix(policy.Name, policyPrefix)
	return Fence{
		Policy: policy.Name, Binding: binding.Name, Incumbent: ours, Account: accountOf(policy),
		Enforced:         slices.Contains(binding.Spec.ValidationActions, admissionv1.Deny),
		IgnoresErrors:    failure != nil && *failure == admissionv1.Ignore,
		OpenWithoutLease: asks && ref.ParameterNotFoundAction != nil && *ref.ParameterNotFoundAction == admissionv1.AllowAction,
		ByPod:            ours && asks, ByTerm: ours && stamped,
		Resources: guarded(policy), Limits: limits(policy, binding, lease, asks),
	}, true
}

// unkept reports whether there are Fences that look at the Lease, and nothing else
// does that the API servers know of.
func unkept(found []Fence, policies []admissionv1.ValidatingAdmissionPolicy, bindings []admissionv1.ValidatingAdmissionPolicyBinding) bool {
	depends := slices.ContainsFunc(found, func(f Fence) bool { return f.ByPod })
	return depends && !slices.ContainsFunc(policies, func(p admissionv1.ValidatingAdmissionPolicy) bool {
		others := isLease(p.Spec.ParamKind) &&
			!slices.ContainsFunc(found, func(f Fence) bool { return f.Policy == p.Name })
		return others && slices.ContainsFunc(bindings, func(b admissionv1.ValidatingAdmissionPolicyBinding) bool { return b.Spec.PolicyName == p.Name })
	})
}

// asksFor reports whether the Lease is the policy's parameter. A reference without
// a namespace means that of the object that is written.
func asksFor(policy *admissionv1.ValidatingAdmissionPolicy, binding *admissionv1.ValidatingAdmissionPolicyBinding, lease metav1.ObjectMeta) bool {
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

func looksFor(policy *admissionv1.ValidatingAdmissionPolicy, key string) bool {
	return slices.ContainsFunc(policy.Spec.Validations, func(v admissionv1.Validation) bool {
		return strings.Contains(v.Expression, "'"+key+"'")
	})
}

// How policies of package fencing leave everybody else alone: each rule ends with the
// account; or, as older ones have it, begins with it, or the policy has a condition.
var exempts = []*regexp.Regexp{
	regexp.MustCompile(` \|\| request\.userInfo\.username != ` + accountPattern + `$`),
	regexp.MustCompile(`^request\.userInfo\.username != ` + accountPattern + ` \|\| `),
}

var concerns = regexp.MustCompile(`^request\.userInfo\.username == ` + accountPattern + `$`)

const accountPattern = `'system:serviceaccount:([^:']+):([^:']+)'`

// accountOf is whom the policy governs, "" if that is not one service account.
func accountOf(policy *admissionv1.ValidatingAdmissionPolicy) string {
	for _, condition := range policy.Spec.MatchConditions {
		if account := accountIn(condition.Expression, concerns); account != "" {
			return account
		}
	}
	account := ""
	for _, validation := range policy.Spec.Validations {
		exempting := accountIn(validation.Expression, exempts...)
		if exempting == "" || account != "" && account != exempting {
			return ""
		}
		account = exempting
	}
	return account
}

// accountIn is the account that an expression of one of those forms is about, "" if
// it has none of them.
func accountIn(expression string, forms ...*regexp.Regexp) string {
	for _, form := range forms {
		if parts := form.FindStringSubmatch(expression); parts != nil {
			return parts[1] + "/" + parts[2]
		}
	}
	return ""
}

func guarded(policy *admissionv1.ValidatingAdmissionPolicy) []string {
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

// lines are for those who are interested in an account, or in none ("").
func (f Fences) lines(account string) []string {
	if f.Problem != "" {
		return []string{f.Problem}
	}
	if len(f.Found) == 0 {
		return []string{"none found: a leader that does not know yet that it is none may write"}
	}
	var lines []string
	guarded := false
	for _, fence := range f.Found {
		text := fence.String()
		if account != "" && fence.Account != "" && fence.Account != account {
			text += "; that is not about " + account
		} else {
			guarded = true
		}
		lines = append(lines, text)
	}
	if !guarded {
		lines = append(lines, fmt.Sprintf("none found for %s: a leader that runs as it and does not know yet that it is none may write", account))
	}
	if f.Unkept {
		lines = append(lines, "nothing else keeps the API servers following Leases: apply what `hack/fence -keeper` prints before you ever remove these")
	}
	return lines
}

// String says what the Fence does in a line.
func (f Fence) String() string {
	verb, what := "refuses", strings.Join(f.Resources, ", ")
	if !f.Enforced {
		verb = "only reports"
	}
	if what == "" {
		what = "nothing: it names no resources"
	}
	var text string
	switch account := f.Account; {
	case !f.Incumbent:
		text = fmt.Sprintf("%s asks for this Lease, but is not of package fencing: what it %s is not known; it is asked about %s", f.Policy, strings.TrimPrefix(verb, "only "), what)
	case account == "":
		text = fmt.Sprintf("%s %s the writes of stale leaders, of an account that is not known, to %s", f.Policy, verb, what)
	default:
		text = fmt.Sprintf("%s %s the writes of stale leaders that run as %s to %s", f.Policy, verb, account, what)
	}
	if f.AccountAbsent {
		text += "; there is no such service account: is its name right?"
	}
	for _, limit := range f.Limits {
		text += "; " + limit
	}
	if f.Enforced && f.IgnoresErrors {
		text += "; lets through what it cannot evaluate (failurePolicy Ignore)"
	}
	if f.Enforced && f.OpenWithoutLease {
		text += "; lets everything through while there is no Lease (parameterNotFoundAction Allow)"
	}
	return text
}
