package main

import (
	"errors"
	"flag"
	"io"
	"os"
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
	if len(documents) != 2 {
		t.Fatalf("%d documents, want 2:\n%s", len(documents), &out)
	}
	check(t, documents[0], policy, &admissionv1.ValidatingAdmissionPolicy{})
	check(t, documents[1], binding, &admissionv1.ValidatingAdmissionPolicyBinding{})
}

const minimal = "-lease my-namespace/my-app-leader -service-account my-app -resources configmaps -namespaces my-namespace"

// What is piped into kubectl delete must not end the leader's term.
func TestRun_LeavesTheLeaseOutUnlessAsked(t *testing.T) {
	const closed = "closed to everybody"
	for _, tc := range []struct {
		more        string
		lease, note bool
	}{
		{"", false, true},
		{"-with-lease", true, false},
		{"-open-without-lease", false, false},
		{"-report-only", false, false},
		{"-mode term", false, false}, // it does not look at the Lease
	} {
		var out, notes strings.Builder
		if err := run(strings.Fields(minimal+" "+tc.more), &out, &notes); err != nil {
			t.Fatal(err)
		}
		if has := strings.Contains(out.String(), "kind: Lease\nmetadata"); has != tc.lease {
			t.Errorf("%q: it has the Lease: %t, want %t", tc.more, has, tc.lease)
		}
		if has := strings.Contains(notes.String(), closed); has != tc.note {
			t.Errorf("%q: it says that the resources are %s: %t, want %t", tc.more, closed, has, tc.note)
		}
		remove := "# kubectl delete validatingadmissionpolicybinding,validatingadmissionpolicy incumbent-fencing.my-namespace.my-app-leader\n"
		if !strings.Contains(out.String(), remove) {
			t.Errorf("%q: it does not say how to take it away: %s", tc.more, &out)
		}
	}
}

// The policy needs the Lease: who applies both creates the Lease first.
func TestRun_PrintsTheLeaseFirst(t *testing.T) {
	var out strings.Builder
	if err := run(strings.Fields(minimal+" -with-lease"), &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(out.String(), "---\n")
	check(t, first, fencing.Lease(fencing.Fence{LeaseNamespace: "my-namespace", LeaseName: "my-app-leader"}), &coordinationv1.Lease{})
}

func TestRun_PrintsTheManifests(t *testing.T) {
	for file, args := range map[string]string{"fencing.yaml": minimal, "fencing-keeper.yaml": "-keeper"} {
		var out strings.Builder
		if err := run(strings.Fields(args), &out, io.Discard); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile("../manifests/" + file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(out.String(), string(text)); diff != "" {
			t.Errorf("fence %s, -printed +%s:\n%s", args, file, diff)
		}
	}
}

func TestRun_HelpSaysWhatForAndHow(t *testing.T) {
	var notes strings.Builder
	if err := run([]string{"-h"}, io.Discard, &notes); !errors.Is(err, flag.ErrHelp) {
		t.Error(err)
	}
	for _, want := range []string{"refuses the writes", "kubectl apply -f -", "are required", "-resources plural"} {
		if !strings.Contains(notes.String(), want) {
			t.Errorf("-h lacks %q:\n%s", want, &notes)
		}
	}
}

func TestRun_TellsOfAWrongFlagOnce(t *testing.T) {
	var notes strings.Builder
	if err := run([]string{"-leese", "x"}, io.Discard, &notes); err == nil || !strings.Contains(err.Error(), "-leese") {
		t.Errorf("%v, want it to name -leese", err)
	}
	if notes.Len() > 0 {
		t.Errorf("it was told of already:\n%s", &notes)
	}
}

func TestRun_PrintsTheAnchorPolicy(t *testing.T) {
	var out strings.Builder
	if err := run([]string{"-keeper"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	policy, binding := fencing.AnchorPolicy()
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
		// All at once.
		{"-lease app -mode both", `-mode ("both")`},
		{"-lease app -mode both", "ServiceAccount is empty"},
		{"-lease app -resources */x", "name each resource"},
		{"-lease app -resources configmaps extra", `"extra"`},
	} {
		if err := run(strings.Fields(tc.args), io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %v, want it to say %q", tc.args, err, tc.want)
		}
	}
}
