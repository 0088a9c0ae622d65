package main

import (
	"io"
	"strings"
	"testing"
)

func TestRun_PrintsTheLeastRole(t *testing.T) {
	var out strings.Builder
	err := run(strings.Fields("-lease ns/app -service-account other/operator -events -route -pod-namespace pods"), &out, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"  name: app\n  namespace: ns\nrules:\n- apiGroups:\n  - coordination.k8s.io\n  resources:\n  - leases\n  verbs:\n  - create\n" +
			"- apiGroups:\n  - coordination.k8s.io\n  resourceNames:\n  - app\n  resources:\n  - leases\n  verbs:\n  - get\n  - update\n  - watch\n" +
			"- apiGroups:\n  - \"\"\n  resources:\n  - events\n  verbs:\n  - create\n  - patch\n---\n",
		"  name: app\n  namespace: pods\nrules:\n- apiGroups:\n  - \"\"\n  resources:\n  - events\n  verbs:\n  - create\n  - patch\n" +
			"- apiGroups:\n  - \"\"\n  resources:\n  - pods\n  verbs:\n  - list\n  - patch\n---\n",
		"- kind: ServiceAccount\n  name: operator\n  namespace: other\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it lacks\n%s\nin\n%s", want, &out)
		}
	}
}

// Pods run under service accounts of their own namespace.
func TestRun_TakesTheAccountFromThePodsNamespace(t *testing.T) {
	var out strings.Builder
	if err := run(strings.Fields("-lease ns/app -service-account operator -shared-watch -pod-namespace pods"), &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"- kind: ServiceAccount\n  name: operator\n  namespace: pods\n",
		"- apiGroups:\n  - coordination.k8s.io\n  resources:\n  - leases\n  verbs:\n  - create\n  - watch\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it lacks\n%s\nin\n%s", want, &out)
		}
	}
}

func TestRun_NamesWhatIsWrong(t *testing.T) {
	for args, want := range map[string]string{
		"-lease app": `-lease ("app")`, "-lease ns/app": `-service-account ("")`, "-lease ns/app -service-account a b": `"b"`,
		"-lease ns/app/x -service-account a":                            `-lease ("ns/app/x")`,
		"-lease ns/app -service-account a/b/c":                          `-service-account ("a/b/c")`,
		"-lease ns/app -service-account a -without-watch -shared-watch": "exclude each other",
	} {
		if err := run(strings.Fields(args), io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want it to say %q", args, err, want)
		}
	}
}
