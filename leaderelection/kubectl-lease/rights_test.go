package main

import (
	"strings"
	"testing"
)

func TestRights_PrintsTheLeastRole(t *testing.T) {
	code, out, errOut := call(t, "rights ns/app --service-account other/operator --events --route --pod-namespace pods")
	if code != 0 || errOut != "" {
		t.Fatalf("exit code %d, %s", code, errOut)
	}
	for _, want := range []string{
		"  name: app\n  namespace: ns\nrules:\n- apiGroups:\n  - coordination.k8s.io\n  resources:\n  - leases\n  verbs:\n  - create\n" +
			"- apiGroups:\n  - coordination.k8s.io\n  resourceNames:\n  - app\n  resources:\n  - leases\n  verbs:\n  - get\n  - update\n  - watch\n" +
			"- apiGroups:\n  - \"\"\n  resources:\n  - events\n  verbs:\n  - create\n  - patch\n---\n",
		"  name: app\n  namespace: pods\nrules:\n- apiGroups:\n  - \"\"\n  resources:\n  - events\n  verbs:\n  - create\n  - patch\n" +
			"- apiGroups:\n  - \"\"\n  resources:\n  - pods\n  verbs:\n  - list\n  - patch\n---\n",
		"- kind: ServiceAccount\n  name: operator\n  namespace: other\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks\n%s\nin\n%s", want, out)
		}
	}
}

func TestRights_PrintsTheRightsToProofOfDeath(t *testing.T) {
	_, out, _ := call(t, "rights ns/app --service-account operator --proof-of-death")
	if want := "- apiGroups:\n  - \"\"\n  resources:\n  - pods\n  verbs:\n  - get\n  - watch\n"; !strings.Contains(out, want) {
		t.Errorf("the output lacks\n%s\nin\n%s", want, out)
	}
}

// If --service-account has no namespace, the account is in the Pods' namespace, because
// a Pod can only use a service account of its own namespace.
func TestRights_TakesTheAccountFromThePodsNamespace(t *testing.T) {
	_, out, _ := call(t, "rights -n ns app --service-account operator --shared-watch --pod-namespace pods")
	for _, want := range []string{
		"- kind: ServiceAccount\n  name: operator\n  namespace: pods\n",
		"- apiGroups:\n  - coordination.k8s.io\n  resources:\n  - leases\n  verbs:\n  - create\n  - watch\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks\n%s\nin\n%s", want, out)
		}
	}
}

// The command must not print objects that an API server refuses. It must report all
// errors at once.
func TestRights_RefusesWhatTheAPIServerRefuses(t *testing.T) {
	refuses(t, "rights MyNS/App_1 --service-account A_b --name Bad/Name --pod-namespace -x --shared-watch --without-watch",
		`the namespace of the Lease ("MyNS/App_1") is not valid`, `the name of --service-account ("A_b") is not valid`,
		`--name ("Bad/Name") is not valid`, `--pod-namespace ("-x") is not valid`, "exclude each other")
	refuses(t, "rights ns/App_1 --service-account Ns/a", `the name of the Lease ("ns/App_1") is not valid`, `the namespace of --service-account ("Ns/a") is not valid`)
	refuses(t, "rights ns/app", `the name of --service-account ("") is missing`)
	// The name of a Role may contain upper-case letters and colons, unlike most names in
	// Kubernetes.
	if code, _, errOut := call(t, "rights ns/app --service-account a --name System:App"); code != 0 {
		t.Error(errOut)
	}
}

func TestRights_RefusesInvalidArguments(t *testing.T) {
	for args, want := range map[string]string{
		"": "one Lease", "ns/app b --service-account a": `["ns/app" "b"]`, "ns/app/x --service-account a": `("ns/app/x")`,
		"ns/app --service-account a/b/c":                            `--service-account ("a/b/c")`,
		"ns/app --service-account a --without-watch --shared-watch": "exclude each other",
		"ns/app --service-account a -o text":                        `--output ("text") must be yaml or json`,
		"--leese x":                                                 "unknown flag: --leese",
	} {
		refuses(t, "rights "+args, want)
	}
}

func TestRights_HelpNamesPurposeAndFlags(t *testing.T) {
	code, out, _ := call(t, "rights -h")
	for _, want := range []string{"the least Role", "kubectl apply -f -", "is required", "kubectl lease rights NAME", "--service-account name"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("the help lacks %q:\n%s", want, out)
		}
	}
}
