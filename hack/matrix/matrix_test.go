package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPairs_TheOldestIsWhatTheModuleRequires(t *testing.T) {
	text, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for path, version := range map[string]string{"k8s.io/client-go": pairs[0].kubernetes, "sigs.k8s.io/controller-runtime": pairs[0].controllerRuntime} {
		if line := "\t" + path + " " + version + "\n"; !strings.Contains(string(text), line) {
			t.Errorf("go.mod does not require %s %s", path, version)
		}
	}
}

func TestSelect_UnknownNamesAreRefusedAndNameTheKnown(t *testing.T) {
	if _, err := selectPairs("0.34"); err == nil || !strings.Contains(err.Error(), `"0.34", use one of 0.35, 0.36, 0.37, next`) {
		t.Errorf("selectPairs() = %v, want the names that exist", err)
	}
	if _, err := selectServers("1.29"); err == nil || !strings.Contains(err.Error(), `"1.29", use one of 1.30, 1.35`) {
		t.Errorf("selectServers() = %v, want the names that exist", err)
	}
}

func TestSelect_NextRunsOnlyOnRequest(t *testing.T) {
	all, err := selectPairs("")
	if err != nil || len(all) != len(pairs)-1 || all[len(all)-1].name == next {
		t.Errorf("selectPairs(\"\") = %v, %v, want all but next", all, err)
	}
	if one, err := selectPairs(next); err != nil || len(one) != 1 || one[0].name != next {
		t.Errorf("selectPairs(next) = %v, %v", one, err)
	}
}

func TestWithRow_ReplacesOnlyTheRowOfTheSameCombination(t *testing.T) {
	page := withRow("", row{"v0.36.6", "v0.24.1", "1.37.2", everyTest, "2026-01-01", pass})
	page = withRow(page, row{"v0.35.10", "v0.23.3", "1.37.1", everyTest, "2026-01-02", "fail: TestA"})
	page = withRow(page, row{"v0.35.10", "v0.23.3", "1.37.2", everyTest, "2026-01-03", pass})
	want := head + `| v0.35.10 | v0.23.3 | 1.37.2 | unit, integration | 2026-01-03 | pass |
| v0.36.6 | v0.24.1 | 1.37.2 | unit, integration | 2026-01-01 | pass |
`
	if diff := cmp.Diff(want, page); diff != "" {
		t.Error(diff)
	}
}

func TestFailure_NamesEachTestOnce(t *testing.T) {
	if got := failure("--- FAIL: TestB (0.1s)\n    --- FAIL: TestB/sub (0.1s)\n--- FAIL: TestA (1s)\nFAIL\n"); got != "fail: TestA, TestB" {
		t.Errorf("failure() = %q", got)
	}
	if got := failure("FAIL x [build failed]\n"); got != "fail: the tests do not build or did not start" {
		t.Errorf("failure() = %q", got)
	}
}
