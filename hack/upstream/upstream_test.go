package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestRewrite_ChangesOnlyWhatSpecsNeed(t *testing.T) {
	for _, tc := range []struct{ name, before, after string }{
		{
			"inside", `package manager

import fakelock "sigs.k8s.io/controller-runtime/pkg/leaderelection/fake"

func spec() {
	m, err := New(cfg, Options{newResourceLock: fakelock.NewResourceLock})
	lock := fakelock.NewResourceLock(nil, nil)
	errors.New("New(")
	cm, ok := m.(*controllerManager)
	inner := m.(*controllerManager)
	other, ok := m.(Runnable)
	<-m.(*controllerManager).elected
	m.(*controllerManager).gracefulShutdownTimeout = 1 * time.Nanosecond
	cm.gracefulShutdownTimeout = time.Second
}
`, `package manager

import fakelock "sigs.k8s.io/controller-runtime/pkg/leaderelection/fake"

func spec() {
	m, err := newUnderTest(cfg, Options{newResourceLock: leaderelection.NewResourceLock})
	lock := fakelock.NewResourceLock(nil, nil)
	errors.New("New(")
	cm, ok := innerOf(m), true
	inner := innerOf(m)
	other, ok := m.(Runnable)
	<-innerOf(m).elected
	setGrace(innerOf(m), 1 * time.Nanosecond)
	setGrace(cm, time.Second)
}
`,
		},
		{
			"outside", `package builder

import "sigs.k8s.io/controller-runtime/pkg/manager"

func spec() {
	m, err := manager.New(cfg, manager.Options{})
	c := New(m)
}
`, `package builder

import "sigs.k8s.io/controller-runtime/pkg/manager"

func spec() {
	m, err := newUnderTest(cfg, manager.Options{})
	c := New(m)
}
`,
		},
	} {
		got, calls, err := rewrite("spec_test.go", []byte(tc.before))
		if err != nil || calls != 1 || string(got) != tc.after {
			t.Errorf("%s: %d calls, %v:\n%s", tc.name, calls, err, got)
		}
	}
}

func TestReport_FailsIfADifferenceIsNewOrGone(t *testing.T) {
	failures := map[string]string{}
	for spec := range expectedOf("manager", asIs) {
		failures[spec] = "as expected"
	}
	run := func() (string, error) {
		return report("v0", []result{{"manager", asIs, 1, failures}}, false)
	}
	out, err := run()
	if err != nil || strings.Contains(out, "as expected") || !strings.Contains(out, differences[0].spec+"\n    "+differences[0].reason) {
		t.Errorf("%v, want each difference with its reason:\n%s", err, out)
	}
	failures["new"] = "broken"
	if out, err := run(); err == nil || !strings.Contains(err.Error(), `"new" failed unexpectedly`) || !strings.Contains(out, "UNEXPECTED: broken") {
		t.Errorf("%v for a new difference:\n%s", err, out)
	}
	delete(failures, "new")
	delete(failures, differences[0].spec)
	if out, err := run(); err == nil || !strings.Contains(out, "NO DIFFERENCE") {
		t.Errorf("%v for a difference that is gone:\n%s", err, out)
	}
}

func TestReport_ReadsTheReportOfGinkgo(t *testing.T) {
	const start = `[{"SpecReports":[{"LeafNodeType":"BeforeSuite","State":"passed"},`
	r, err := parse([]byte(start+`
		{"ContainerHierarchyTexts":["a","b"],"LeafNodeType":"It","LeafNodeText":"c","State":"failed","Failure":{"Message":"why"}},
		{"LeafNodeType":"It","LeafNodeText":"d","State":"passed"}]}]`), "builder", forced)
	if err != nil || r.passed != 1 || len(r.failed) != 1 || r.failed["a > b > c"] != "why" {
		t.Errorf("%+v, %v", r, err)
	}
	if !r.hasUnexpected() || r.and(result{}).hasUnexpected() || r.and(result{}).passed != 2 {
		t.Error("a spec that fails only once counts as failed")
	}
	for _, broken := range []string{`{`, `[]`, start + `{"LeafNodeType":"BeforeSuite","State":"failed"}]}]`} {
		if r, err := parse([]byte(broken), "builder", forced); err == nil {
			t.Errorf("%s: %+v, want an error", broken, r)
		}
	}
}

// The reasons name tests of package manager.
func TestDifferences_NameTestsThatExist(t *testing.T) {
	tests, err := filepath.Glob("../../manager/*_test.go")
	if err != nil || len(tests) == 0 {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, test := range tests {
		content, err := os.ReadFile(test)
		if err != nil {
			t.Fatal(err)
		}
		code.Write(content)
	}
	for _, d := range differences {
		for _, name := range regexp.MustCompile(`\bTest\w+`).FindAllString(d.reason, -1) {
			if !strings.Contains(code.String(), "func "+name+"(") {
				t.Errorf("%s: %s does not exist", d.spec, name)
			}
		}
		if !slices.Contains(suites, d.suite) || len(d.modes) == 0 || d.reason == "" {
			t.Errorf("%+v is incomplete", d)
		}
	}
}
