package main

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
)

func TestRun_PrintsWhatThePackageMakes(t *testing.T) {
	var out strings.Builder
	err := run(strings.Fields("-lease ns/app -service-account other/operator -resources configmaps,widgets.example.com -mode pod -namespaces a,b -open-without-lease -name n"), &out, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	fence := fencing.Fence{
		LeaseNamespace: "ns", LeaseName: "app", ServiceAccountNamespace: "other", ServiceAccount: "operator",
		Resources: []schema.GroupResource{{Resource: "configmaps"}, {Group: "example.com", Resource: "widgets"}},
		Mode:      fencing.ByPod, Namespaces: []string{"a", "b"}, OpenWithoutLease: true, Name: "n",
	}
	policy, binding, err := fencing.Policy(fence)
	if err != nil {
		t.Fatal(err)
	}
	documents := strings.Split(out.String(), "---\n")
	if len(documents) != 3 {
		t.Fatalf("%d documents, want 3:\n%s", len(documents), &out)
	}
	check(t, documents[0], fencing.Lease(fence), &coordinationv1.Lease{})
	check(t, documents[1], policy, &admissionv1.ValidatingAdmissionPolicy{})
	check(t, documents[2], binding, &admissionv1.ValidatingAdmissionPolicyBinding{})
}

func TestRun_PrintsTheKeeper(t *testing.T) {
	var out strings.Builder
	if err := run([]string{"-keeper"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	policy, binding := fencing.Keeper()
	documents := strings.Split(out.String(), "---\n")
	if len(documents) != 2 {
		t.Fatalf("%d documents, want 2:\n%s", len(documents), &out)
	}
	check(t, documents[0], policy, &admissionv1.ValidatingAdmissionPolicy{})
	check(t, documents[1], binding, &admissionv1.ValidatingAdmissionPolicyBinding{})
}

func check(t *testing.T, text string, want, got any) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(text), got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +printed:\n%s", diff)
	}
}

func TestRun_NamesWhatIsWrong(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"", `-lease ("")`},
		{"-lease app", `-lease ("app") must be namespace/name`},
		{"-lease ns/app -mode both", `-mode ("both")`},
		{"-lease ns/app -service-account a -resources configmaps -mode pod,term -open-without-lease", "OpenWithoutLease with Mode ByPod | ByTerm"},
		{"-lease ns/app extra", `"extra"`},
		{"-keeper -lease ns/app", "give it alone"},
		{"-lease ns/app -resources deployments.apps", "ServiceAccount is empty"},
	} {
		if err := run(strings.Fields(tc.args), io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %v, want it to say %q", tc.args, err, tc.want)
		}
	}
}
