package promcheck

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// A metric is one that Electors export: by label its values, none if they are open.
type metric map[string][]string

// exports are what hack/manifests found that Electors export, histograms as what
// Prometheus keeps of them.
func exports(t *testing.T) map[string]metric {
	t.Helper()
	content, err := os.ReadFile(manifests + "testdata/exported.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]metric{}
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(line)
		m := metric{}
		for _, field := range fields[2:] {
			name, values, closed := strings.Cut(field, "=")
			if m[name] = nil; closed {
				m[name] = strings.Split(values, ",")
			}
		}
		switch kind, name := fields[0], fields[1]; kind {
		case "histogram":
			all[name+"_sum"], all[name+"_count"] = m, m
			all[name+"_bucket"] = maps.Clone(m)
			all[name+"_bucket"]["le"] = nil
		default:
			all[name] = m
		}
	}
	if len(all) == 0 {
		t.Fatal("nothing is exported")
	}
	return all
}

// targets are the labels that the Prometheus operator gives to whatever it scrapes.
var targets = []string{"namespace", "pod", "job", "instance", "container"}

// A reader finds what expressions ask for that nothing exports.
type reader struct {
	exports map[string]metric
	faults  []string
}

func (r *reader) fault(format string, args ...any) {
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

// selected are the labels of what a selector selects.
func (r *reader) selected(v *parser.VectorSelector) []string {
	name := v.Name
	m, found := r.exports[name]
	if !found {
		r.fault("%q is not exported", name)
		return targets
	}
	has := slices.Concat(slices.Collect(maps.Keys(m)), targets)
	for _, matcher := range v.LabelMatchers {
		if matcher.Name == model.MetricNameLabel {
			continue
		}
		if !slices.Contains(has, matcher.Name) {
			r.fault("%s has no label %q", name, matcher.Name)
		}
		r.match(name, matcher, m[matcher.Name])
	}
	return has
}

// match checks that a matcher's every alternative is one of the values, unless they
// are open.
func (r *reader) match(name string, matcher *labels.Matcher, values []string) {
	if values == nil {
		return
	}
	for alternative := range strings.SplitSeq(matcher.Value, "|") {
		if !slices.Contains(values, alternative) {
			r.fault("%s has no %s=%q", name, matcher.Name, alternative)
		}
	}
}

// labels are those that the results of an expression can have.
func (r *reader) labels(expr parser.Expr) []string {
	switch e := expr.(type) {
	case *parser.VectorSelector:
		return r.selected(e)
	case *parser.MatrixSelector:
		return r.labels(e.VectorSelector)
	case *parser.SubqueryExpr:
		return r.labels(e.Expr)
	case *parser.ParenExpr:
		return r.labels(e.Expr)
	case *parser.AggregateExpr:
		has := r.labels(e.Expr)
		for _, name := range e.Grouping {
			if !slices.Contains(has, name) {
				r.fault("%s: there is no label %q", e, name)
			}
		}
		if e.Without {
			r.fault("%s: labels that nobody knows of are kept", e)
		}
		if !namesWholeLease(e.Grouping) {
			r.fault("%s: Leases of the same name in different namespaces are merged: group by lease_namespace, too", e)
		}
		return e.Grouping
	case *parser.BinaryExpr:
		return r.combined(e)
	case *parser.Call:
		return r.called(e)
	default:
		return nil
	}
}

func (r *reader) combined(e *parser.BinaryExpr) []string {
	left, right := r.labels(e.LHS), r.labels(e.RHS)
	switch {
	case e.Op == parser.LOR: // what one side lacks is not sure to be there
		return slices.DeleteFunc(slices.Clone(left), func(name string) bool { return !slices.Contains(right, name) })
	case e.LHS.Type() == parser.ValueTypeScalar:
		return right
	default:
		return left
	}
}

func (r *reader) called(e *parser.Call) (has []string) {
	for _, arg := range e.Args {
		has = append(has, r.labels(arg)...)
	}
	switch e.Func.Name {
	case "absent": // it gives what it was asked for
		has = nil
		for _, matcher := range e.Args[0].(*parser.VectorSelector).LabelMatchers {
			if matcher.Type == labels.MatchEqual {
				has = append(has, matcher.Name)
			}
		}
	case "histogram_quantile":
		if !slices.Contains(has, "le") {
			r.fault("%s has lost the label le", e)
		}
		has = slices.DeleteFunc(slices.Clone(has), func(name string) bool { return name == "le" })
	}
	return has
}

// namesWholeLease reports whether labels with the name of a Lease have its namespace.
func namesWholeLease(names []string) bool {
	return slices.Contains(names, "lease_name") == slices.Contains(names, "lease_namespace")
}

// named checks the labels that a text for people names, and returns them.
func (r *reader) named(text string, pattern *regexp.Regexp, has []string) (names []string) {
	for _, name := range pattern.FindAllStringSubmatch(text, -1) {
		names = append(names, name[1])
		if !slices.Contains(has, name[1]) {
			r.fault("%q: there is no label %q", text, name[1])
		}
	}
	if !namesWholeLease(names) {
		r.fault("%q names half of a Lease: lease_name and lease_namespace belong together", text)
	}
	return names
}

// legend checks that a legend tells curves apart: by their Lease, and by whatever else
// the query groups by.
func (r *reader) legend(text string, expr parser.Expr) {
	has := r.labels(expr)
	names := r.named(text, legendLabel, has)
	if !slices.Contains(names, "lease_name") {
		r.fault("legend %q names no Lease", text)
	}
	grouped := has
	if len(intersect(has, targets)) == len(targets) { // each replica has a curve of its own
		grouped = []string{"pod"}
	}
	for _, name := range grouped {
		if !slices.Contains(names, name) {
			r.fault("legend %q does not tell curves apart that differ in %s", text, name)
		}
	}
}

func intersect(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(name string) bool { return !slices.Contains(b, name) })
}

var (
	alertLabel  = regexp.MustCompile(`\$labels\.(\w+)`)
	legendLabel = regexp.MustCompile(`{{ *(\w+) *}}`)
)

func TestAlerts_AskForMetricsAndLabelsThatAreExported(t *testing.T) {
	for _, rule := range alerts(t) {
		r := &reader{exports: exports(t)}
		has := r.labels(parse(t, rule.Expr))
		for _, text := range rule.Annotations {
			r.named(text, alertLabel, has)
		}
		for _, fault := range r.faults {
			t.Errorf("%s: %s", rule.Alert, fault)
		}
	}
}

func TestDashboard_AsksForMetricsAndLabelsThatAreExported(t *testing.T) {
	queries, choices := dashboard(t)
	for _, q := range queries {
		r := &reader{exports: exports(t)}
		r.legend(q.legend, parse(t, q.expr))
		for _, fault := range r.faults {
			t.Errorf("%s: %s", q.panel, fault)
		}
	}
	for _, c := range choices {
		r := &reader{exports: exports(t)}
		if has := r.labels(parse(t, c.expr)); !slices.Contains(has, c.label) {
			r.fault("%s has no label %q", c.expr, c.label)
		}
		for _, fault := range r.faults {
			t.Error(fault)
		}
	}
}

func TestReader_FindsLegendsThatDoNotTellCurvesApart(t *testing.T) {
	const each, grouped = `incumbent_leader_election_stuck`, `sum by (lease_namespace, lease_name, reason) (rate(incumbent_leader_election_terms_ended_total[1h]))`
	for _, c := range []struct{ expr, legend, fault string }{
		{each, `{{lease_namespace}}/{{lease_name}} {{pod}}`, ""},
		{each, `stuck {{pod}}`, "names no Lease"},
		{each, `{{lease_namespace}}/{{lease_name}}`, "differ in pod"},
		{each, `{{lease_name}} {{pod}}`, "half of a Lease"},
		{grouped, `{{lease_namespace}}/{{lease_name}} {{reason}}`, ""},
		{grouped, `{{lease_namespace}}/{{lease_name}}`, "differ in reason"},
	} {
		r := &reader{exports: exports(t)}
		r.legend(c.legend, parse(t, c.expr))
		if got := strings.Join(r.faults, "\n"); (got == "") != (c.fault == "") || !strings.Contains(got, c.fault) {
			t.Errorf("%s, legend %s: %q, want %q", c.expr, c.legend, got, c.fault)
		}
	}
}

func TestReader_FindsWhatNothingExports(t *testing.T) {
	for _, c := range []struct{ expr, fault string }{
		{`incumbent_leader_election_leads`, `"incumbent_leader_election_leads" is not exported`},
		{`incumbent_leader_election_is_leader{lease="x"}`, `no label "lease"`},
		{`sum by (name) (incumbent_leader_election_is_leader)`, `no label "name"`},
		{`sum by (pod) (sum by (instance) (incumbent_leader_election_is_leader))`, `no label "pod"`},
		{`sum by (lease_name) (incumbent_leader_election_is_leader)`, `are merged`},
		{`rate(incumbent_leader_election_terms_total{after=~"expired|crashed"}[1h])`, `no after="crashed"`},
		{`incumbent_leader_election_handover_seconds`, `is not exported`},
		{`histogram_quantile(0.9, sum by (after) (rate(incumbent_leader_election_handover_seconds_bucket[1h])))`, `lost the label le`},
		{`time() - timestamp(incumbent_leader_election_term{x="y"})`, `no label "x"`},
		{`sum by (pod) (incumbent_leader_election_term or sum by (instance) (incumbent_leader_election_term))`, `no label "pod"`},
	} {
		r := &reader{exports: exports(t)}
		r.labels(parse(t, c.expr))
		if len(r.faults) != 1 || !strings.Contains(r.faults[0], c.fault) {
			t.Errorf("%s: %q, want one with %q", c.expr, r.faults, c.fault)
		}
	}
}
