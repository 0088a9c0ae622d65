package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/utils/ptr"

	"github.com/haproxy-template-ic/incumbent/leaderelection/kubectl-lease/internal/explain"
)

// call runs the plugin with the arguments in args, which are separated by spaces.
func call(t *testing.T, args string) (code int, out, errOut string) {
	t.Helper()
	var stdout, stderr strings.Builder
	code = run(t.Context(), strings.Fields(args), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

// refuses checks that the command fails with one error. The error must contain all
// strings in want. The command must not print its usage. It must not print to the
// standard output, because that may be piped into kubectl apply.
func refuses(t *testing.T, args string, want ...string) {
	t.Helper()
	code, out, errOut := call(t, args)
	if code != exitUnknown || out != "" {
		t.Errorf("%q: exit code %d, output %q", args, code, out)
	}
	if strings.Count(errOut, "error: ") != 1 || strings.Contains(errOut, "Usage:") {
		t.Errorf("%q: want one error without the usage:\n%s", args, errOut)
	}
	for _, text := range want {
		if !strings.Contains(errOut, text) {
			t.Errorf("%q: the error lacks %q:\n%s", args, text, errOut)
		}
	}
}

func TestExplain_RefusesInvalidArguments(t *testing.T) {
	for args, want := range map[string]string{
		"": "one Lease", "a b": `["a" "b"]`, "-o xml a": `--output ("xml") must be text, json or yaml`, "a -o xml": `--output ("xml")`,
		"a --events":              "--service-account",
		"--kubeconfig /dev/nox a": `--kubeconfig ("/dev/nox"): stat /dev/nox: no such file`,
		"a --context nowhere":     `--context ("nowhere") does not exist`,
		"--leese a":               "unknown flag: --leese; 'kubectl lease explain --help' lists the flags",
		"-n a b/c":                `--namespace ("a") and the Lease ("b/c") name two namespaces`,
		"/x":                      `the namespace of the Lease ("/x") is missing`,
		"b/":                      `the name of the Lease ("b/") is missing`,
		"lease/":                  `the name of the Lease ("lease/") is missing`,
		"a/b/c":                   `the name of the Lease ("a/b/c") is not valid: a lowercase RFC 1123 subdomain`,
		"My_App":                  `the name of the Lease ("My_App") is not valid: a lowercase RFC 1123 subdomain`,
		"a.b/c":                   `the namespace of the Lease ("a.b/c") is not valid: must not contain dots`,
		"-n a.b c":                `--namespace ("a.b") is not valid`,
		"a --wait -3s":            "--wait (-3s) must not be negative",
		"a -w --wait 3s":          "--wait (3s) and --watch exclude each other",
		"a --service-account x --without-watch --shared-watch": "exclude each other",
		"a --shared-watch":                                 "name the account",
		"a --service-account b/c/d":                        `the name of --service-account ("b/c/d") is not valid`,
		"a --service-account ns/":                          `the name of --service-account ("ns/") is missing`,
		"a --service-account /x":                           `the namespace of --service-account ("/x") is missing`,
		"a --service-account x --events --pod-namespace A": `--pod-namespace ("A") is not valid`,
	} {
		refuses(t, "explain "+args, want)
	}
}

func TestLease_IsNamedAsInKubectl(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	for args, want := range map[string]string{
		"foo": "default/foo", "-n ns foo": "ns/foo", "ns/foo": "ns/foo", "-n ns ns/foo": "ns/foo",
		"lease/foo": "default/foo", "-n ns lease/foo": "ns/foo", "leases/foo -n ns": "ns/foo", "lease.coordination.k8s.io/foo": "default/foo",
		"leases.v1.coordination.k8s.io/foo": "default/foo", "-n lease foo": "lease/foo", "-n lease lease/foo": "lease/foo",
		"--namespace ns foo": "ns/foo",
	} {
		code, out, errOut := call(t, "rights --service-account a "+args)
		namespace, name, _ := strings.Cut(want, "/")
		if code != 0 || !strings.Contains(out, "  name: "+name+"\n  namespace: "+namespace+"\n") {
			t.Errorf("%q: want %q: exit code %d, %s\n%s", args, want, code, errOut, out)
		}
	}
}

func TestExplain_HelpIsNoError(t *testing.T) {
	code, out, errOut := call(t, "explain --help")
	if code != 0 || errOut != "" {
		t.Errorf("exit code %d, %s", code, errOut)
	}
	for _, want := range []string{
		"Report who leads a Lease", "kubectl lease explain NAME [flags]", "kubectl lease explain -n kube-system kube-scheduler", "2 that this is not known",
		"--service-account name", "the program records events",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the help lacks %q:\n%s", want, out)
		}
	}
}

func TestExplain_WithoutAClusterNamesTheRemedy(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	refuses(t, "explain a", "with --kubeconfig or KUBECONFIG")
	if _, _, errOut := call(t, "explain a"); strings.Contains(errOut, "KUBERNETES_MASTER") {
		t.Errorf("%s", errOut)
	}
}

// printChange must print a second term of the same holder, even if the terms begin only
// one millisecond apart. printChange must not print a renewal.
func TestPrintChange_PrintsASecondTermButNoRenewal(t *testing.T) {
	for _, format := range explainFormats {
		var out strings.Builder
		r := &reporter{explainOptions: &explainOptions{output: format, watch: true}, out: &out}
		second := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
		first := explain.Report{State: explain.Led, Certain: true, Holder: "a", Acquired: &second, LeaseTransitions: 1, ResourceVersion: "1"}
		renewed, again := first, first
		renewed.ResourceVersion, renewed.Time = "2", second
		again.Acquired, again.LeaseTransitions = ptr.To(second.Add(time.Millisecond)), 2
		for i, report := range []explain.Report{first, renewed, again} {
			before := out.Len()
			if err := r.printChange(&report); err != nil {
				t.Fatal(err)
			}
			if is, want := out.Len() > before, i != 1; is != want {
				t.Errorf("%s: report %d is printed: %v, want %v\n%s", format, i, is, want, &out)
			}
		}
	}
}

func TestExitCode_ClaimsOnlyWhatIsKnown(t *testing.T) {
	for _, tc := range []struct {
		report explain.Report
		want   int
	}{
		{explain.Report{State: explain.Led, Certain: true}, exitLeads},
		{explain.Report{State: explain.Overdue}, exitLeads},
		{explain.Report{State: explain.Led, ContactLost: true}, exitUnknown},
		{explain.Report{State: explain.Unconfirmed}, exitUnknown},
		{explain.Report{State: explain.Free, Certain: true}, exitNobody},
		{explain.Report{State: explain.Absent, ContactLost: true}, exitUnknown},
		{explain.Report{State: explain.Expired, Certain: true}, exitNobody},
		{explain.Report{State: explain.Expired}, exitUnknown},
	} {
		if got := exitCode(&tc.report); got != tc.want {
			t.Errorf("%+v: exit code %d, want %d", tc.report, got, tc.want)
		}
	}
}
