package main

import (
	"errors"
	"flag"
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

// It prints nothing that an API server refuses, and says all that is wrong at once.
func TestRun_RefusesWhatTheAPIServerWould(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want []string
	}{
		{
			[]string{"-lease", "My NS/App_1", "-service-account", "a b", "-name", "Bad/Name", "-pod-namespace", "-x", "-shared-watch", "-without-watch"},
			[]string{
				`-lease ("My NS/App_1"): "My NS" cannot be the name of a namespace`, `"App_1" cannot be the name of a Lease`,
				`-service-account ("a b"): "a b" cannot be the name of a service account`, `-name ("Bad/Name")`, `-pod-namespace ("-x")`, "exclude each other",
			},
		},
		{[]string{"-lease", "ns/app", "-service-account", "Ns/a", "x"}, []string{`-service-account ("Ns/a"): "Ns" cannot`, `"x"`}},
		{nil, []string{`-lease ("")`, `-service-account ("")`}},
	} {
		var out strings.Builder
		err := run(tc.args, &out, io.Discard)
		for _, want := range tc.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v, want it to say %q", tc.args, err, want)
			}
		}
		if out.Len() > 0 {
			t.Errorf("%q: it prints\n%s", tc.args, &out)
		}
	}
	// RBAC is less strict about its own names.
	if err := run(strings.Fields("-lease ns/app -service-account a -name System:App"), io.Discard, io.Discard); err != nil {
		t.Error(err)
	}
}

func TestRun_HelpSaysWhatForAndHow(t *testing.T) {
	var notes strings.Builder
	if err := run([]string{"-h"}, io.Discard, &notes); !errors.Is(err, flag.ErrHelp) {
		t.Error(err)
	}
	for _, want := range []string{"the least Role", "kubectl apply -f -", "are required", "-lease namespace/name"} {
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
