package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/haproxy-template-ic/incumbent/hack/manifests"
	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
)

func TestFence_PrintsWhatThePackageMakes(t *testing.T) {
	code, out, errOut := call(t, "fence ns/app --service-account other/operator --resources configmaps,widgets.example.com --mode pod --namespaces a,b --open-without-lease --name n")
	if code != 0 || errOut != "" {
		t.Fatalf("exit code %d, %s", code, errOut)
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
	documents := strings.Split(out, "---\n")
	if len(documents) != 2 {
		t.Fatalf("%d documents, want 2:\n%s", len(documents), out)
	}
	decodesTo(t, documents[0], policy, &admissionv1.ValidatingAdmissionPolicy{})
	decodesTo(t, documents[1], binding, &admissionv1.ValidatingAdmissionPolicyBinding{})
}

const minimalFence = "fence -n my-namespace my-app-leader --service-account my-app --resources configmaps --namespaces my-namespace"

// The user may pipe the output into kubectl delete to remove the policy. Therefore the
// output must not contain the Lease: deleting the Lease would end the leader's term.
func TestFence_OmitsTheLeaseByDefault(t *testing.T) {
	const warning = "all writes to the guarded resources are refused"
	for _, tc := range []struct {
		more          string
		lease, warned bool
	}{
		{"", false, true},
		{"--with-lease", true, false},
		{"--open-without-lease", false, false},
		{"--report-only", false, false},
		{"--mode term", false, false}, // with --mode term, the policy does not read the Lease
	} {
		code, out, errOut := call(t, minimalFence+" "+tc.more)
		if code != 0 {
			t.Fatal(errOut)
		}
		if has := strings.Contains(out, "kind: Lease\nmetadata"); has != tc.lease {
			t.Errorf("%q: the output has the Lease: %t, want %t", tc.more, has, tc.lease)
		}
		if has := strings.Contains(errOut, warning); has != tc.warned {
			t.Errorf("%q: it warns that %s: %t, want %t", tc.more, warning, has, tc.warned)
		}
		remove := "# kubectl delete validatingadmissionpolicybinding,validatingadmissionpolicy incumbent-fencing.my-namespace.my-app-leader\n"
		if !strings.Contains(out, remove) {
			t.Errorf("%q: the output does not describe how to delete the policy: %s", tc.more, out)
		}
	}
}

// kubectl apply must create the Lease before the policy, because the policy refuses all
// writes while the Lease does not exist.
func TestFence_PrintsTheLeaseFirst(t *testing.T) {
	_, out, _ := call(t, minimalFence+" --with-lease")
	first, _, _ := strings.Cut(out, "---\n")
	decodesTo(t, first, fencing.Lease(fencing.Fence{LeaseNamespace: "my-namespace", LeaseName: "my-app-leader"}), &coordinationv1.Lease{})
}

func TestFence_PrintsTheManifests(t *testing.T) {
	for file, args := range map[string]string{"fencing.yaml": minimalFence, "fencing-anchor.yaml": "fence --anchor"} {
		code, out, errOut := call(t, args)
		if code != 0 {
			t.Fatal(errOut)
		}
		text, err := manifests.Files.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(out, string(text)); diff != "" {
			t.Errorf("%s, -printed +%s:\n%s", args, file, diff)
		}
	}
}

func TestFence_HelpNamesPurposeAndFlags(t *testing.T) {
	code, out, _ := call(t, "fence -h")
	for _, want := range []string{"refuses the writes", "kubectl apply -f -", "are required", "--resources plural", "kubectl lease fence NAME"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("the help lacks %q:\n%s", want, out)
		}
	}
}

func TestFence_PrintsTheAnchor(t *testing.T) {
	code, out, errOut := call(t, "fence --anchor")
	if code != 0 {
		t.Fatal(errOut)
	}
	policy, binding := fencing.AnchorPolicy()
	documents := strings.Split(out, "---\n")
	if len(documents) != 2 {
		t.Fatalf("%d documents, want 2:\n%s", len(documents), out)
	}
	decodesTo(t, documents[0], policy, &admissionv1.ValidatingAdmissionPolicy{})
	decodesTo(t, documents[1], binding, &admissionv1.ValidatingAdmissionPolicyBinding{})
}

// decodesTo strictly decodes a YAML document into got. It then checks that the result
// equals want.
func decodesTo(t *testing.T, text string, want, got any) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(text), got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +printed:\n%s", diff)
	}
}

func TestFence_RefusesInvalidArguments(t *testing.T) {
	for _, tc := range []struct {
		args string
		want []string
	}{
		{"", []string{"one Lease"}},
		{"ns/app --leese x", []string{"unknown flag: --leese; 'kubectl lease fence --help' lists the flags"}},
		{"ns/app extra", []string{`["ns/app" "extra"]`}},
		{"--anchor ns/app", []string{`leave ["ns/app"] out`}},
		{"--anchor --mode term", []string{"--anchor and --mode exclude each other"}},
		{"ns/app -o text", []string{`--output ("text") must be yaml or json`}},
		{"ns/app --service-account a --resources configmaps --mode pod,term --open-without-lease", []string{"OpenWithoutLease with Mode ByPod | ByTerm"}},
		{"ns/app --resources deployments.apps", []string{`the name of --service-account ("") is missing`}},
		{"ns/app --service-account a", []string{`--resources ("") is missing`}},
		// The command must report all errors at once.
		{"My_App --mode both --resources */x", []string{`the name of the Lease ("My_App")`, `--mode ("both")`, `the name of --service-account ("")`, "list each resource"}},
	} {
		refuses(t, "fence "+tc.args, tc.want...)
	}
}
