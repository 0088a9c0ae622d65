package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// A result is the outcome of one suite in one mode.
type result struct {
	suite  string
	mode   mode
	passed int
	failed map[string]string // the failure of each spec that failed
}

// parse reads the JSON report of Ginkgo.
func parse(content []byte, suite string, m mode) (result, error) {
	var reports []struct {
		SpecReports []struct {
			ContainerHierarchyTexts []string
			LeafNodeType            string
			LeafNodeText            string
			State                   string
			Failure                 struct{ Message, ForwardedPanic string }
		}
	}
	if err := json.Unmarshal(content, &reports); err != nil {
		return result{}, fmt.Errorf("report of the suite of pkg/%s: %w", suite, err)
	}
	r := result{suite: suite, mode: m, failed: map[string]string{}}
	for _, report := range reports {
		for _, spec := range report.SpecReports {
			name := strings.Join(append(spec.ContainerHierarchyTexts, spec.LeafNodeText), " > ")
			switch {
			case spec.State == "passed" && spec.LeafNodeType == "It":
				r.passed++
			case spec.State == "passed":
			case spec.LeafNodeType == "It":
				r.failed[name] = strings.TrimSpace(spec.Failure.Message + " " + spec.Failure.ForwardedPanic)
			default: // for example the start of the control plane
				return r, fmt.Errorf("the suite of pkg/%s did not run: %s: %s", suite, spec.LeafNodeType, spec.Failure.Message)
			}
		}
	}
	if r.passed == 0 {
		return r, fmt.Errorf("the suite of pkg/%s has no spec that passed", suite)
	}
	return r, nil
}

// hasUnexpected reports whether a spec failed that is not an expected difference.
func (r result) hasUnexpected() bool {
	expected := expectedOf(r.suite, r.mode)
	for spec := range r.failed {
		if _, found := expected[spec]; !found {
			return true
		}
	}
	return false
}

// and returns the result of two runs: a spec has failed if it failed in both.
func (r result) and(again result) result {
	both := result{suite: r.suite, mode: r.mode, passed: r.passed, failed: map[string]string{}}
	for spec, failure := range r.failed {
		if _, failed := again.failed[spec]; failed {
			both.failed[spec] = failure
		} else {
			both.passed++
		}
	}
	return both
}

// report returns a text with the results and the reason of each difference. It returns an
// error if a spec failed unexpectedly, or if an expected difference did not occur.
func report(version string, results []result, verbose bool) (string, error) {
	var out strings.Builder
	fmt.Fprintf(&out, "The suites of controller-runtime %s, with Incumbent's manager.New:\n\n", version)
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0) // its errors are ignored, because a strings.Builder returns none
	_, _ = fmt.Fprintln(w, "package\telection\tspecs\tpassed\tdifferences")
	for _, r := range results {
		_, _ = fmt.Fprintf(w, "pkg/%s\t%s\t%d\t%d\t%d\n", r.suite, r.mode, r.passed+len(r.failed), r.passed, len(r.failed))
	}
	_ = w.Flush()
	var errs []error
	for _, r := range results {
		errs = append(errs, r.explain(&out, verbose)...)
	}
	return out.String(), errors.Join(errs...)
}

// explain writes the differences of a result to out. It returns an error for each one
// that is not expected, and for each expected one that did not occur.
func (r result) explain(out *strings.Builder, verbose bool) []error {
	var errs []error
	expected := expectedOf(r.suite, r.mode)
	if len(r.failed)+len(expected) > 0 {
		fmt.Fprintf(out, "\npkg/%s, %s:\n", r.suite, r.mode)
	}
	for _, spec := range slices.Sorted(maps.Keys(r.failed)) {
		reason, found := expected[spec]
		if !found {
			reason = "UNEXPECTED: " + r.failed[spec]
			errs = append(errs, fmt.Errorf("pkg/%s, %s: %q failed unexpectedly", r.suite, r.mode, spec))
		} else if verbose {
			reason += "\n    " + strings.ReplaceAll(r.failed[spec], "\n", "\n    ")
		}
		fmt.Fprintf(out, "  %s\n    %s\n", spec, reason)
	}
	for _, spec := range slices.Sorted(maps.Keys(expected)) {
		if _, failed := r.failed[spec]; !failed {
			fmt.Fprintf(out, "  %s\n    NO DIFFERENCE: the spec passed or is gone, remove it from differences.go\n", spec)
			errs = append(errs, fmt.Errorf("pkg/%s, %s: %q is no difference any more", r.suite, r.mode, spec))
		}
	}
	return errs
}
