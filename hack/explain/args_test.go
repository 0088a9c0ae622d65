package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRun_NamesWhatIsWrong(t *testing.T) {
	for args, want := range map[string]string{
		"": "one Lease", "a b": `"a b"`, "-o yaml a": `-o ("yaml")`, "a -o yaml": `-o ("yaml")`, "a -events": "-service-account", "-kubeconfig " + os.DevNull + "x a": `-kubeconfig ("/dev/nullx"): stat /dev/nullx: no such file`,
		"a -context nowhere":       `context "nowhere" does not exist`,
		"-x a":                     "flag provided but not defined: -x; -h lists the flags",
		"-n a b/c":                 `-n ("a") and the Lease ("b/c") name two namespaces`,
		"/x":                       `the namespace of the Lease ("/x") is missing`,
		"b/":                       `the name of the Lease ("b/") is missing`,
		"lease/":                   `the name of the Lease ("lease/") is missing`,
		"a/b/c":                    `the name of the Lease ("a/b/c") cannot be: a lowercase RFC 1123 subdomain`,
		"My_App":                   `the name of the Lease ("My_App") cannot be: a lowercase RFC 1123 subdomain`,
		"a.b/c":                    `the namespace of the Lease ("a.b/c") cannot be: must not contain dots`,
		"-n a.b c":                 `-n ("a.b") cannot be`,
		"a -wait -3s":              "-wait (-3s) must not be negative",
		"a -w -wait 3s":            "-wait (3s) is for one answer, and -w goes on",
		"a -service-account b/c/d": `the name of -service-account ("b/c/d") cannot be`,
		"a -service-account x -without-watch -shared-watch": "exclude each other",
		"a -shared-watch":                               "name it",
		"a -service-account ns/":                        `the name of -service-account ("ns/") is missing`,
		"a -service-account /x":                         `the namespace of -service-account ("/x") is missing`,
		"a -service-account x -events -pod-namespace A": `-pod-namespace ("A") cannot be`,
	} {
		if code, err := run(t.Context(), strings.Fields(args), io.Discard, io.Discard); code != cannotTell || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %d, %v, want it to say %q", args, code, err, want)
		}
	}
}

func TestParse_TakesALeaseAsKubectlDoes(t *testing.T) {
	for args, want := range map[string]string{
		"foo": "/foo", "-n ns foo": "ns/foo", "ns/foo": "ns/foo", "-n ns ns/foo": "ns/foo",
		"lease/foo": "/foo", "-n ns lease/foo": "ns/foo", "leases/foo -n ns": "ns/foo", "lease.coordination.k8s.io/foo": "/foo",
		"leases.v1.coordination.k8s.io/foo": "/foo", "-n lease foo": "lease/foo", "-n lease lease/foo": "lease/foo",
	} {
		o, err := parse(strings.Fields(args), io.Discard)
		if err != nil {
			t.Errorf("%q: %v", args, err)
		} else if got := o.namespace + "/" + o.name; got != want {
			t.Errorf("%q is %q, want %q", args, got, want)
		}
	}
}

func TestRun_HelpIsNoFailure(t *testing.T) {
	var help strings.Builder
	if code, err := run(t.Context(), []string{"-h"}, io.Discard, &help); code != 0 || err != nil {
		t.Errorf("%d, %v", code, err)
	}
	for _, want := range []string{
		"explain says who leads a Lease", "explain [flags] lease", "explain -n kube-system kube-scheduler", "2 if it cannot tell",
		"-service-account name", "the program of -service-account records events",
	} {
		if !strings.Contains(help.String(), want) {
			t.Errorf("it lacks %q:\n%s", want, &help)
		}
	}
}

// What is wrong is told once, and by the error.
func TestRun_SaysNothingBesideTheError(t *testing.T) {
	var help strings.Builder
	if _, err := run(t.Context(), []string{"-x", "a"}, io.Discard, &help); err == nil || help.Len() > 0 {
		t.Errorf("%v, and beside it:\n%s", err, &help)
	}
}

func TestRun_WithoutAClusterSaysHowToNameOne(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	_, err := run(t.Context(), []string{"a"}, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "with -kubeconfig or KUBECONFIG") || strings.Contains(err.Error(), "KUBERNETES_MASTER") {
		t.Errorf("%v", err)
	}
}
