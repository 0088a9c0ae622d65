package fencing

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/utils/ptr"
)

// validFence returns a valid Fence. It sets only the required fields.
func validFence() Fence {
	return Fence{
		LeaseNamespace: "ns", LeaseName: "app", ServiceAccount: "operator",
		Resources: []schema.GroupResource{{Group: "apps", Resource: "deployments"}},
	}
}

func TestPolicy_ReportsEveryProblemOfAFence(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Fence)
		want   []string
	}{
		{"nothing is wrong", func(*Fence) {}, nil},
		{"a resource of a stranger's group", func(f *Fence) { f.Resources = resources("widgets.example.com") }, nil},
		{"an irregular plural", func(f *Fence) { f.Resources = resources("endpoints", "networkpolicies.networking.k8s.io") }, nil},
		{"an empty Fence", func(f *Fence) { *f = Fence{} }, []string{"LeaseNamespace is empty", "LeaseName is empty", "ServiceAccount is empty", "Resources is empty"}},
		{"names that are none", func(f *Fence) { f.LeaseName, f.ServiceAccount, f.LeaseNamespace = "A", "b/c", "x.y" }, []string{`LeaseName ("A")`, `ServiceAccount ("b/c")`, `LeaseNamespace ("x.y")`}},
		{"namespaces that are none", func(f *Fence) { f.ServiceAccountNamespace, f.Namespaces = "x.y", []string{"ok", "-"} }, []string{`ServiceAccountNamespace ("x.y")`, `Namespaces has "-"`}},
		{"an unknown mode", func(f *Fence) { f.Mode = 8 }, []string{"Mode (8)"}},
		{"a name that is none", func(f *Fence) { f.Name = "my fence" }, []string{`Name ("my fence")`}},
		{"a name that is too long", func(f *Fence) { f.LeaseName = strings.Repeat("a", 250) }, []string{"invalid policy name"}},
		{"a resource without a name", func(f *Fence) { f.Resources = []schema.GroupResource{{Group: "apps"}} }, []string{"has no resource name"}},
		{"a resource in the singular", func(f *Fence) { f.Resources = resources("deployment.apps") }, []string{`"deployment.apps"`, `is "deployments" meant?`}},
		{"a resource in the singular, of which client-go knows nothing", func(f *Fence) { f.Resources = resources("customresourcedefinition.apiextensions.k8s.io") },
			[]string{`is "customresourcedefinitions" meant?`}},
		{"resources of which client-go knows nothing", func(f *Fence) {
			f.Resources = resources("customresourcedefinitions.apiextensions.k8s.io", "apiservices.apiregistration.k8s.io")
		}, nil},
		{"a group that is not served any more", func(f *Fence) { f.Resources = resources("deployments.extensions") }, []string{`the group "extensions" has no such resource`}},
		{"a resource without its group", func(f *Fence) { f.Resources = resources("deployments") }, []string{"name the group too"}},
		{"a kind", func(f *Fence) { f.Resources = resources("ConfigMap") }, []string{`"ConfigMap"`, "must be lower-case"}},
		{"bindings", func(f *Fence) { f.Resources = resources("bindings") }, []string{`"bindings"`, "list pods"}},
		{"a subresource", func(f *Fence) { f.Resources = resources("deployments/status.apps") }, []string{"list the resource"}},
		{"everything", func(f *Fence) { f.Resources = resources("*") }, []string{"list each resource"}},
		{"every group", func(f *Fence) { f.Resources = resources("deployments.*") }, []string{"list each resource"}},
		{"Leases and Events", func(f *Fence) {
			f.Resources = resources("leases.coordination.k8s.io", "events", "events.events.k8s.io")
		},
			[]string{`"leases.coordination.k8s.io"`, `"events"`, `"events.events.k8s.io"`, "never guarded"}},
		{"policies and their bindings", func(f *Fence) {
			f.Resources = resources("validatingadmissionpolicies.admissionregistration.k8s.io", "mutatingadmissionpolicybindings.admissionregistration.k8s.io")
		},
			[]string{`"validatingadmissionpolicies.admissionregistration.k8s.io"`, `"mutatingadmissionpolicybindings.admissionregistration.k8s.io"`, "evaluates no policy for policies"}},
		{"webhooks", func(f *Fence) {
			f.Resources = resources("validatingwebhookconfigurations.admissionregistration.k8s.io")
		}, nil},
		{"Namespaces in some namespaces", func(f *Fence) {
			f.Resources, f.Namespaces = resources("namespaces", "namespaces.example.com"), []string{"a"}
		},
			[]string{`Resources has "namespaces", and Namespaces is ["a"]`, `"namespaces.example.com"`, "without Namespaces"}},
		{"both modes, open without the Lease", func(f *Fence) { f.Mode, f.OpenWithoutLease = ByPod|ByTerm, true },
			[]string{"OpenWithoutLease with Mode ByPod | ByTerm", "earlier term", "two Fences"}},
		{"by term, open without the Lease", func(f *Fence) { f.Mode, f.OpenWithoutLease = ByTerm, true }, nil},
		{"what pods are started with, everywhere", func(f *Fence) { f.Resources = resources("pods", "serviceaccounts") },
			[]string{`Resources has "pods" without Namespaces or OpenWithoutLease`, `Resources has "serviceaccounts" without`, "no candidate"}},
		{"pods, everywhere, by both modes", func(f *Fence) { f.Resources, f.Mode = resources("pods"), ByPod|ByTerm }, []string{`Resources has "pods" without`}},
		{"pods in some namespaces", func(f *Fence) { f.Resources, f.Namespaces = resources("pods"), []string{"a"} }, nil},
		{"pods, open without the Lease", func(f *Fence) { f.Resources, f.OpenWithoutLease = resources("pods"), true }, nil},
		{"pods, for a report", func(f *Fence) { f.Resources, f.ReportOnly = resources("pods"), true }, nil},
		{"pods by term", func(f *Fence) { f.Resources, f.Mode = resources("pods"), ByTerm }, nil},
		{"Namespaces in all namespaces", func(f *Fence) { f.Resources = resources("namespaces") }, nil},
	} {
		f := validFence()
		tc.change(&f)
		_, _, err := Policy(f)
		if (err == nil) != (tc.want == nil) {
			t.Errorf("%s: %v, want an error: %v", tc.name, err, tc.want != nil)
			continue
		}
		for _, want := range tc.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want it to say %q", tc.name, err, want)
			}
		}
	}
}

func resources(names ...string) (all []schema.GroupResource) {
	for _, name := range names {
		all = append(all, schema.ParseGroupResource(name))
	}
	return all
}

func TestPolicy_WithoutTheLease(t *testing.T) {
	for _, tc := range []struct {
		mode     Mode
		open     bool
		report   bool
		notFound *admissionv1.ParameterNotFoundActionType
		failure  admissionv1.FailurePolicyType
	}{
		{0, false, false, ptr.To(admissionv1.DenyAction), admissionv1.Fail},
		{0, true, false, ptr.To(admissionv1.AllowAction), admissionv1.Fail},
		{0, false, true, ptr.To(admissionv1.AllowAction), admissionv1.Ignore},
		{ByPod | ByTerm, false, false, ptr.To(admissionv1.DenyAction), admissionv1.Fail},
		{ByTerm, false, false, nil, admissionv1.Fail},
	} {
		f := validFence()
		f.Mode, f.OpenWithoutLease, f.ReportOnly = tc.mode, tc.open, tc.report
		policy, binding, err := Policy(f)
		if err != nil {
			t.Fatal(err)
		}
		if got := *policy.Spec.FailurePolicy; got != tc.failure {
			t.Errorf("%+v: the failure policy is %v", tc, got)
		}
		switch ref := binding.Spec.ParamRef; {
		case tc.notFound == nil:
			if ref != nil || policy.Spec.ParamKind != nil {
				t.Errorf("%+v: the policy looks at the Lease", tc)
			}
		case ref == nil || *ref.ParameterNotFoundAction != *tc.notFound || ref.Name != "app" || ref.Namespace != "ns":
			t.Errorf("%+v: the parameter is %+v", tc, ref)
		}
	}
}

func TestPolicy_IsAboutTheServiceAccountInItsOwnNamespace(t *testing.T) {
	for namespace, user := range map[string]string{"": "system:serviceaccount:ns:operator", "elsewhere": "system:serviceaccount:elsewhere:operator"} {
		f := validFence()
		f.ServiceAccountNamespace = namespace
		policy, _, err := Policy(f)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := policy.Spec.Validations[0].Expression, " || request.userInfo.username != '"+user+"'"; !strings.HasSuffix(got, want) {
			t.Errorf("ServiceAccountNamespace %q: the rule is %s, want it to end with %s", namespace, got, want)
		}
	}
}

func TestAnnotationKey_IsOneForEachLease(t *testing.T) {
	long := "ns/" + strings.Repeat("a", 100)
	seen := map[string]string{}
	for _, lease := range []string{"ns/app", "n/s.app", "ns/app2", long, long + "b", "ns/" + strings.Repeat("a", 60)} {
		key := AnnotationKey(lease)
		if other, found := seen[key]; found && other != lease {
			t.Errorf("%s and %s have the same key %s", lease, other, key)
		}
		seen[key] = lease
		if _, name, _ := strings.Cut(key, "/"); len(name) > maxAnnotationName {
			t.Errorf("the name in %s has %d characters", key, len(name))
		}
	}
	if got, want := AnnotationKey("ns/app"), "fencing.incumbent.haproxy-template-ic.github.io/ns.app"; got != want {
		t.Errorf("the key is %s, want %s: objects have been stamped with it", got, want)
	}
}

func TestIsStale(t *testing.T) {
	const refusal = "ValidatingAdmissionPolicy 'incumbent-fencing.ns.app' with binding 'incumbent-fencing.ns.app' denied request: fenced off"
	resource := schema.GroupResource{Resource: "configmaps"}
	for _, tc := range []struct {
		name string
		err  error
		want bool
	}{
		{"no error", nil, false},
		{"a refusal", apierrors.NewForbidden(resource, "a", errors.New(refusal)), true},
		{"an object that is not valid", apierrors.NewInvalid(schema.GroupKind{}, "a", nil), false},
		{"a wrapped refusal", errors.Join(errors.New("x"), apierrors.NewForbidden(resource, "a", errors.New(refusal))), true},
		{"a refusal after another error", errors.Join(apierrors.NewConflict(resource, "a", errors.New("x")), apierrors.NewForbidden(resource, "a", errors.New(refusal))), true},
		{"a refusal among others", fmt.Errorf("syncing: %w", utilerrors.NewAggregate([]error{errors.New("x"), apierrors.NewForbidden(resource, "a", errors.New(refusal))})), true},
		{"others together", utilerrors.NewAggregate([]error{errors.New("x"), apierrors.NewConflict(resource, "a", errors.New("x"))}), false},
		{"RBAC's", apierrors.NewForbidden(resource, "a", errors.New("User cannot create")), false},
		{"another policy's", apierrors.NewForbidden(resource, "a", errors.New("denied by ValidatingAdmissionPolicy 'p': incumbent-fencing")), false},
		{"a conflict", apierrors.NewConflict(resource, "a", errors.New("x")), false},
		{"somebody who quotes a refusal", errors.New(refusal), false},
		{"the Lease is not there", &apierrors.StatusError{ErrStatus: metav1.Status{Message: `configmaps "a" is forbidden: ValidatingAdmissionPolicy 'incumbent-fencing.ns.app' with binding 'b' denied request: failed to configure binding: no params found`}}, true},
	} {
		if got := IsStale(tc.err); got != tc.want {
			t.Errorf("%s: IsStale is %v", tc.name, got)
		}
	}
}
