package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// module contains the files of a Go module, keyed by their paths. The tests apply
// mutations to this module.
var module = map[string]string{
	"go.mod":        "module example.com/m\n\ngo 1.26\n",
	"conf.yaml":     "port: 80\nname: a\n",
	"a/a.go":        "package a\n\nimport \"strconv\"\n\nfunc Port() string { return strconv.Itoa(80) }\n",
	"a/b.go":        "package a\n\nimport text \"strings\"\n\nfunc Upper(s string) string {\n\tn := text.ToUpper(s)\n\treturn n\n}\n",
	"a/a_test.go":   "package a\n\nimport \"testing\"\n\nfunc TestPort(t *testing.T) {}\n",
	"a/c/c.go":      "package c\n",
	"a/c/x_test.go": "package c_test\n\nimport \"testing\"\n\nfunc FuzzUpper(f *testing.F) {}\n",
}

func writeModule(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range module {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestApplyAll_FixesImports(t *testing.T) {
	port := tests{pkg: "./a", run: "Port"}
	mutants, err := applyAll(writeModule(t), []mutation{
		{"an import less", "a: Port", replace("strconv.Itoa($_)", `"80"`), port},
		{"an import more", "a: Port", replace("strconv.Itoa(80)", `text.ToLower(strconv.Itoa(81))`), port},
		{"text", "conf.yaml", text("port: 80", "port: 81"), port},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"an import less": "package a\n\nimport _ \"strconv\"\n\nfunc Port() string { return \"80\" }\n",
		"an import more": "package a; import text \"strings\"\n\nimport \"strconv\"\n\nfunc Port() string { return text.ToLower(strconv.Itoa(81)) }\n",
		"text":           "port: 81\nname: a\n",
	}
	got := map[string]string{}
	for _, m := range mutants {
		got[m.name] = string(m.code)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the mutants have other code (-want +got):\n%s", diff)
	}
}

func TestApplyAll_ReportsAllThatDoNotFit(t *testing.T) {
	port, upper := tests{pkg: "./a", run: "Port"}, replace("text.ToUpper($s)", "$s")
	_, err := applyAll(writeModule(t), []mutation{
		{"good", "a: Upper", upper, port},
		{"good everywhere", "a: Upper", upper, tests{pkg: "./a/...", run: "Test(Port)|FuzzUpper/sub"}},
		{"no pattern", "a: Upper", replace("text.ToLower($s)", "$s"), port},
		{"no test", "a: Upper", upper, tests{pkg: "./a", run: "TestPort|TestUpper"}},
		{"no package", "a: Upper", upper, tests{pkg: "./b"}},
		{"no types", "a: Upper", replace("text.ToUpper($s)", "80"), port},
		{"no use", "a: Upper", replace("$n := text.ToUpper($_); return $n", `n := ""; return ""`), port},
		{"no text", "conf.yaml", text("port: 81", "port: 82"), port},
		{"no file", "other.yaml", text("name: a", "name: b"), port},
	})
	if err == nil {
		t.Fatal("mutations that do not fit are accepted")
	}
	for _, want := range []string{
		"7 of 9 mutations do not fit", "no pattern\n  in a: Upper\nUpper has no text.ToLower($s)\n  a/b.go:6 (a: Upper): text.ToUpper(s)",
		"-run TestPort|TestUpper: no test in ./a matches TestUpper", "no tests in ./b",
		"does not compile: cannot use n (variable of type int)", "does not compile: declared and not used: n",
		"conf.yaml has this text 0 times: port: 81", "other.yaml: no such file or directory\n  conf.yaml",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the report has no %q:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "good") {
		t.Errorf("the report has mutations that fit:\n%v", err)
	}
}

func TestAlternatives_AreMultipliedOut(t *testing.T) {
	for expr, want := range map[string][]string{
		"":                 {""},
		"TestA":            {"TestA"},
		"TestA|B_":         {"TestA", "B_"},
		"TestF_(A|B)|Test": {"TestF_A", "TestF_B", "Test"},
		"(A|B)(C|D)":       {"AC", "AD", "BC", "BD"},
	} {
		if diff := cmp.Diff(want, alternatives(expr)); diff != "" {
			t.Errorf("alternatives of %q (-want +got):\n%s", expr, diff)
		}
	}
}
