package explain_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"

	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
	"github.com/haproxy-template-ic/incumbent/leaderelection/kubectl-lease/internal/explain"
	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
)

var fencedLease = metav1.ObjectMeta{Namespace: "ns", Name: "app", Labels: map[string]string{"fenced": "yes"}}

// fence returns a policy of package fencing for a Lease in the namespace "ns", and the
// binding of the policy.
func fence(t *testing.T, f fencing.Fence) (*admissionv1.ValidatingAdmissionPolicy, *admissionv1.ValidatingAdmissionPolicyBinding) {
	t.Helper()
	f.LeaseNamespace, f.ServiceAccount = "ns", "account"
	f.Resources = []schema.GroupResource{{Resource: "configmaps"}, {Group: "apps", Resource: "deployments"}}
	policy, binding, err := fencing.Policy(f)
	if err != nil {
		t.Fatal(err)
	}
	return policy, binding
}

func TestFencesOf_FindsThePoliciesOfTheLease(t *testing.T) {
	var policies []admissionv1.ValidatingAdmissionPolicy
	var bindings []admissionv1.ValidatingAdmissionPolicyBinding
	for _, f := range []fencing.Fence{
		{Name: "pod", LeaseName: "app", Mode: fencing.ByPod, OpenWithoutLease: true},
		{Name: "term", LeaseName: "app", Mode: fencing.ByTerm, ReportOnly: true},
		{Name: "some", LeaseName: "app", Mode: fencing.ByPod | fencing.ByTerm, Namespaces: []string{"ns", "ns2"}},
		{Name: "other", LeaseName: "app2", Mode: fencing.ByPod | fencing.ByTerm},
	} {
		policy, binding := fence(t, f)
		policies, bindings = append(policies, *policy), append(bindings, *binding)
	}
	resources := []string{"configmaps", "deployments.apps"}
	want := []explain.Fence{
		{Policy: "incumbent-fencing.pod", Enforced: true, ByPod: true, OpenWithoutLease: true},
		{Policy: "incumbent-fencing.term", IgnoresErrors: true, ByTerm: true},
		{Policy: "incumbent-fencing.some", Enforced: true, ByPod: true, ByTerm: true, Limits: []string{"in namespace ns, ns2"}},
	}
	for i := range want {
		want[i].Binding, want[i].Incumbent, want[i].ServiceAccount, want[i].Resources = want[i].Policy, true, "ns/account", resources
	}
	if diff := cmp.Diff(want, explain.FencesOf(fencedLease, policies, bindings)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := explain.FencesOf(fencedLease, policies, nil); len(got) != 0 {
		t.Errorf("without bindings: %v", got)
	}
}

// Without the anchor policy, the API servers stop watching Leases when the last policy
// whose parameter is a Lease is deleted.
func TestFindFences_ReportsAMissingAnchor(t *testing.T) {
	clientset := fake.NewClientset()
	admission := clientset.AdmissionregistrationV1()
	put := func(policy *admissionv1.ValidatingAdmissionPolicy, binding *admissionv1.ValidatingAdmissionPolicyBinding) {
		t.Helper()
		if _, err := admission.ValidatingAdmissionPolicies().Create(t.Context(), policy, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := admission.ValidatingAdmissionPolicyBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	want := func(when string, missing bool) {
		t.Helper()
		if f := explain.FindFences(t.Context(), clientset, "ns", "app"); f.AnchorMissing != missing || f.Error != "" {
			t.Errorf("%s: AnchorMissing is %v, want %v: %+v", when, f.AnchorMissing, missing, f)
		}
	}
	want("there is no policy", false)
	put(fence(t, fencing.Fence{Name: "term", LeaseName: "app", Mode: fencing.ByTerm}))
	want("it does not read the Lease", false)
	put(fence(t, fencing.Fence{Name: "pod", LeaseName: "app"}))
	want("it is the only one", true)
	cars, car := fencing.AnchorPolicy()
	cars.Name, car.Name, car.Spec.PolicyName = "cars", "cars", "cars"
	cars.Spec.ParamKind = &admissionv1.ParamKind{APIVersion: "cars.example.com/v1", Kind: "Lease"}
	put(cars, car)
	want("another kind of that name", true)
	anchor, anchorBinding := fencing.AnchorPolicy()
	put(anchor, anchorBinding)
	want("the anchor policy exists", false)
	if err := admission.ValidatingAdmissionPolicyBindings().Delete(t.Context(), anchorBinding.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	want("the anchor policy has no binding", true)
	put(fence(t, fencing.Fence{Name: "other", LeaseName: "other"}))
	want("another Lease has a policy", false)
}

// The description of a policy must include which objects the policy guards, and what is
// not known about the policy.
func TestFence_TextNamesItsLimits(t *testing.T) {
	const guard = "incumbent-fencing.x refuses the writes of stale leaders that run as ns/account to configmaps, deployments.apps"
	type policy = admissionv1.ValidatingAdmissionPolicy
	type binding = admissionv1.ValidatingAdmissionPolicyBinding
	selector := func(key, value string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
	}
	for name, tc := range map[string]struct {
		change func(*policy, *binding)
		want   string // "" if FencesOf must not return the policy
	}{
		"unchanged": {func(*policy, *binding) {}, guard},
		"the Lease of the object's namespace": {func(_ *policy, b *binding) { b.Spec.ParamRef.Namespace = "" },
			guard + "; this Lease counts for objects in namespace ns only"},
		"a Lease in another namespace": {func(_ *policy, b *binding) { b.Spec.ParamRef.Namespace = "ns2" }, ""},
		"Leases with a label": {func(_ *policy, b *binding) {
			b.Spec.ParamRef.Name, b.Spec.ParamRef.Selector = "", selector("fenced", "yes")
		},
			guard + "; while the Lease has the labels fenced=yes"},
		"Leases with another label": {func(_ *policy, b *binding) {
			b.Spec.ParamRef.Name, b.Spec.ParamRef.Selector = "", selector("fenced", "no")
		}, ""},
		"all Leases": {func(_ *policy, b *binding) {
			b.Spec.ParamRef.Name, b.Spec.ParamRef.Selector = "", &metav1.LabelSelector{}
		}, guard},
		"a policy of another program": {func(p *policy, b *binding) { p.Name, b.Spec.PolicyName = "mine", "mine" },
			"mine reads this Lease, but is not of package fencing: what it refuses is not known; it is asked about configmaps, deployments.apps"},
		"no resources": {func(p *policy, _ *binding) { p.Spec.MatchConstraints.ResourceRules = nil },
			"incumbent-fencing.x refuses the writes of stale leaders that run as ns/account to nothing: it names no resources"},
		"it reports": {func(_ *policy, b *binding) {
			b.Spec.ValidationActions = []admissionv1.ValidationAction{admissionv1.Warn}
		},
			strings.Replace(guard, "refuses", "only reports", 1)},
		"it ignores errors": {func(p *policy, _ *binding) { p.Spec.FailurePolicy = ptr.To(admissionv1.Ignore) },
			guard + "; admits writes that it cannot evaluate (failurePolicy Ignore)"},
		"open without the Lease": {func(_ *policy, b *binding) { b.Spec.ParamRef.ParameterNotFoundAction = ptr.To(admissionv1.AllowAction) },
			guard + "; admits all writes while there is no Lease (parameterNotFoundAction Allow)"},
		"the account in a condition": {func(p *policy, _ *binding) {
			p.Spec.MatchConditions = []admissionv1.MatchCondition{{Name: "service-account", Expression: "request.userInfo.username == 'system:serviceaccount:old:one'"}}
			p.Spec.Validations = []admissionv1.Validation{{Expression: "false"}}
		}, strings.Replace(guard, "ns/account", "old/one", 1)},
		"the account at the end of each rule": {func(p *policy, _ *binding) {
			p.Spec.MatchConditions = nil
			p.Spec.Validations = []admissionv1.Validation{
				{Expression: "false || request.userInfo.username != 'system:serviceaccount:new:one'"}, {Expression: "true || request.userInfo.username != 'system:serviceaccount:new:one'"},
			}
		}, strings.Replace(guard, "ns/account", "new/one", 1)},
		"another account in each rule": {func(p *policy, _ *binding) {
			p.Spec.MatchConditions = nil
			p.Spec.Validations = []admissionv1.Validation{
				{Expression: "false || request.userInfo.username != 'system:serviceaccount:new:one'"}, {Expression: "false || request.userInfo.username != 'system:serviceaccount:new:two'"},
			}
		}, strings.Replace(guard, " that run as ns/account", ", of an account that is not known,", 1)},
		"the account at the beginning of each rule": {func(p *policy, _ *binding) {
			p.Spec.MatchConditions = nil
			p.Spec.Validations = []admissionv1.Validation{
				{Expression: "request.userInfo.username != 'system:serviceaccount:new:one' || false"}, {Expression: "request.userInfo.username != 'system:serviceaccount:new:one' || true"},
			}
		}, strings.Replace(guard, "ns/account", "new/one", 1)},
		"the account in one rule of two": {func(p *policy, _ *binding) {
			p.Spec.MatchConditions = nil
			p.Spec.Validations = []admissionv1.Validation{
				{Expression: "request.userInfo.username != 'system:serviceaccount:new:one' || false"}, {Expression: "true"},
			}
		}, strings.Replace(guard, " that run as ns/account", ", of an account that is not known,", 1)},
		"limits of the policy": {func(p *policy, _ *binding) {
			m := p.Spec.MatchConstraints
			m.NamespaceSelector, m.ObjectSelector, m.ExcludeResourceRules = selector("a", "b"), selector("c", "d"), m.ResourceRules[:1]
			p.Spec.MatchConditions = append(p.Spec.MatchConditions, admissionv1.MatchCondition{Name: "mine", Expression: "true"})
		}, guard + `; in namespaces with the labels a=b; objects with the labels c=d; with exceptions; only under its condition "mine"`},
		"limits of the binding": {func(p *policy, b *binding) {
			b.Spec.MatchResources = &admissionv1.MatchResources{NamespaceSelector: selector("a", "b"), ResourceRules: p.Spec.MatchConstraints.ResourceRules[:1]}
		}, guard + "; in namespaces with the labels a=b; of these only the resources that its binding selects"},
	} {
		p, b := fence(t, fencing.Fence{Name: "x", LeaseName: "app"})
		tc.change(p, b)
		got := ""
		for _, f := range explain.FencesOf(fencedLease, []policy{*p}, []binding{*b}) {
			got += f.String()
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}

// If no policy is found, the text must be "none found". The text "none" could be wrong,
// because the search does not find every kind of policy.
func TestFences_TextWithoutPoliciesIsNoneFound(t *testing.T) {
	a := explainAt(1, observation{lease("a", 0, 0), 1})
	a.Fences = &explain.Fences{}
	if text := a.String(); !strings.Contains(text, "Fencing    none found: ") {
		t.Errorf("the text is:\n%s", text)
	}
}

// A policy checks only the writes of one service account. The text must mention that
// the policy does not guard the writes of another account.
func TestFences_OfAnotherAccountGuardNothing(t *testing.T) {
	a := explainAt(1, observation{lease("a", 0, 0), 1})
	a.Fences = &explain.Fences{Policies: []explain.Fence{{Policy: "p", Incumbent: true, Enforced: true, ServiceAccount: "ns/account", Resources: []string{"pods"}}}}
	for account, another := range map[string]bool{"": false, "ns/account": false, "ns/other": true} {
		if a.Rights = nil; account != "" {
			a.Rights = &explain.Rights{ServiceAccount: account}
		}
		text := a.String()
		for _, want := range []string{"; it does not govern ns/other", "none found for ns/other: a stale leader that runs as it"} {
			if strings.Contains(text, want) != another {
				t.Errorf("for %q, %q is expected: %v\n%s", account, want, another, text)
			}
		}
	}
}

func TestFindFences_ReportsAMissingServiceAccount(t *testing.T) {
	policy, binding := fence(t, fencing.Fence{Name: "pod", LeaseName: "app"})
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "account"}}
	for _, tc := range []struct {
		clientset *fake.Clientset
		missing   bool
	}{{fake.NewClientset(policy, binding), true}, {fake.NewClientset(policy, binding, account), false}} {
		f := explain.FindFences(t.Context(), tc.clientset, "ns", "app")
		if len(f.Policies) != 1 || f.Policies[0].ServiceAccountMissing != tc.missing || strings.Contains(f.Policies[0].String(), "there is no such service account") != tc.missing {
			t.Errorf("missing is expected: %v, and the policies are %+v", tc.missing, f.Policies)
		}
	}
}

func TestCheckRights_NamesTheSharedWatch(t *testing.T) {
	r := explain.CheckRights(t.Context(), fake.NewClientset(), "ns", "account", rights.Uses{LeaseNamespace: "ns", LeaseName: "app", SharedWatch: true})
	if len(r.Uses) != 1 || r.Uses[0] != "campaign with a shared watch" {
		t.Errorf("the uses are %q", r.Uses)
	}
}

// The right to create the Lease is needed only while the Lease does not exist. If the
// Lease exists, the result of CheckRights must mention this.
func TestCheckRights_NamesTheConsequence(t *testing.T) {
	uses := rights.Uses{LeaseNamespace: "ns", LeaseName: "app"}
	for _, tc := range []struct {
		clientset *fake.Clientset
		want      string
	}{
		{fake.NewClientset(), "it cannot lead until somebody else has created the Lease"},
		{fake.NewClientset(lease("a", 0, 0)), "it matters only if the Lease is deleted; then the program cannot lead until somebody else has created it"},
	} {
		tc.clientset.PrependReactor("create", "subjectaccessreviews", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, &authorizationv1.SubjectAccessReview{}, nil
		})
		r := explain.CheckRights(t.Context(), tc.clientset, "ns", "account", uses)
		if len(r.Missing) != 4 || r.Missing[0] != `create leases.coordination.k8s.io in namespace "ns": `+tc.want || r.Error != "" {
			t.Errorf("want %q, it is %q", tc.want, r.Missing)
		}
	}
}
