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

// A metric maps the name of each label to the values that the label can have. A label
// that can have any value is mapped to nil.
type metric map[string][]string

// exports returns the metrics that the file hack/manifests/testdata/exported.txt lists,
// keyed by their names. A histogram has three names, because Prometheus stores a
// histogram as three metrics.
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
		t.Fatal("no metrics are recorded")
	}
	return all
}

// targets lists the labels that the Prometheus operator adds to each target.
var targets = []string{"namespace", "pod", "job", "instance", "container"}

// A checker finds metrics and labels that a PromQL expression uses but that Electors do
// not export.
type checker struct {
	exports  map[string]metric
	problems []string
}

func (c *checker) problem(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

// selected returns the labels of the series that v selects. It records a problem if v
// uses a metric, a label or a label value that Electors do not export.
func (c *checker) selected(v *parser.VectorSelector) []string {
	name := v.Name
	m, found := c.exports[name]
	if !found {
		c.problem("%q is not exported", name)
		return targets
	}
	has := slices.Concat(slices.Collect(maps.Keys(m)), targets)
	for _, matcher := range v.LabelMatchers {
		if matcher.Name == model.MetricNameLabel {
			continue
		}
		if !slices.Contains(has, matcher.Name) {
			c.problem("%s has no label %q", name, matcher.Name)
		}
		c.match(name, matcher, m[matcher.Name])
	}
	return has
}

// match records a problem for each value in matcher that the label cannot have. A matcher
// can contain several values, separated by "|". The parameter values lists the values
// that the label can have. If values is nil, the label can have any value.
func (c *checker) match(name string, matcher *labels.Matcher, values []string) {
	if values == nil {
		return
	}
	for alternative := range strings.SplitSeq(matcher.Value, "|") {
		if !slices.Contains(values, alternative) {
			c.problem("%s has no %s=%q", name, matcher.Name, alternative)
		}
	}
}

// labels returns the labels that the result of expr can have. While it walks through
// expr, it also records the problems that it finds.
func (c *checker) labels(expr parser.Expr) []string {
	switch e := expr.(type) {
	case *parser.VectorSelector:
		return c.selected(e)
	case *parser.MatrixSelector:
		return c.labels(e.VectorSelector)
	case *parser.SubqueryExpr:
		return c.labels(e.Expr)
	case *parser.ParenExpr:
		return c.labels(e.Expr)
	case *parser.AggregateExpr:
		has := c.labels(e.Expr)
		for _, name := range e.Grouping {
			if !slices.Contains(has, name) {
				c.problem("%s: there is no label %q", e, name)
			}
		}
		if e.Without {
			c.problem("%s: \"without\" keeps unknown labels: use \"by\"", e)
		}
		if !namesWholeLease(e.Grouping) || !distinguishesClusters(e) {
			c.problem("%s: Leases of the same name in different namespaces or clusters are merged: group by lease_namespace and api_server, too", e)
		}
		return e.Grouping
	case *parser.BinaryExpr:
		return c.combined(e)
	case *parser.Call:
		return c.called(e)
	default:
		return nil
	}
}

func (c *checker) combined(e *parser.BinaryExpr) []string {
	left, right := c.labels(e.LHS), c.labels(e.RHS)
	switch {
	case e.Op == parser.LOR: // the result can come from either side, so keep only the labels that both sides have
		return slices.DeleteFunc(slices.Clone(left), func(name string) bool { return !slices.Contains(right, name) })
	case e.LHS.Type() == parser.ValueTypeScalar:
		return right
	default:
		return left
	}
}

func (c *checker) called(e *parser.Call) (has []string) {
	for _, arg := range e.Args {
		has = append(has, c.labels(arg)...)
	}
	switch e.Func.Name {
	case "absent": // the result has the labels of the equality matchers
		has = nil
		for _, matcher := range e.Args[0].(*parser.VectorSelector).LabelMatchers {
			if matcher.Type == labels.MatchEqual {
				has = append(has, matcher.Name)
			}
		}
	case "histogram_quantile":
		if !slices.Contains(has, "le") {
			c.problem("%s lacks the label le", e)
		}
		has = slices.DeleteFunc(slices.Clone(has), func(name string) bool { return name == "le" })
	}
	return has
}

// namesWholeLease reports whether names contains both lease_name and lease_namespace, or
// neither of them.
func namesWholeLease(names []string) bool {
	return slices.Contains(names, "lease_name") == slices.Contains(names, "lease_namespace")
}

// distinguishesClusters reports whether e, or the aggregation inside of e, has one result
// for each cluster. It returns true if e does not group by Lease.
func distinguishesClusters(e *parser.AggregateExpr) bool {
	if !slices.Contains(e.Grouping, "lease_name") || slices.Contains(e.Grouping, "api_server") {
		return true
	}
	inner, ok := e.Expr.(*parser.AggregateExpr)
	return ok && slices.Contains(inner.Grouping, "api_server")
}

// named returns the labels that text refers to. The text is an annotation of an alert or
// a legend of the dashboard. named records a problem for each of these labels that is
// missing in the parameter has.
func (c *checker) named(text string, pattern *regexp.Regexp, has []string) (names []string) {
	for _, name := range pattern.FindAllStringSubmatch(text, -1) {
		names = append(names, name[1])
		if !slices.Contains(has, name[1]) {
			c.problem("%q: there is no label %q", text, name[1])
		}
	}
	if !namesWholeLease(names) {
		c.problem("%q names half of a Lease: use lease_name and lease_namespace together", text)
	}
	return names
}

// legend checks the legend of a panel that shows the curves of expr. The text of the
// legend must contain the labels of the Lease, and all other labels by which expr groups.
func (c *checker) legend(text string, expr parser.Expr) {
	has := c.labels(expr)
	names := c.named(text, legendLabel, has)
	if !slices.Contains(names, "lease_name") {
		c.problem("legend %q names no Lease", text)
	}
	grouped := has
	if len(intersect(has, targets)) == len(targets) { // expr has one curve for each replica
		grouped = []string{"pod"}
	}
	for _, name := range grouped {
		if !slices.Contains(names, name) {
			c.problem("legend %q does not distinguish curves that differ in %s", text, name)
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

func TestAlerts_UseOnlyExportedMetricsAndLabels(t *testing.T) {
	for _, rule := range alerts(t) {
		check := &checker{exports: exports(t)}
		has := check.labels(parse(t, rule.Expr))
		for _, text := range rule.Annotations {
			check.named(text, alertLabel, has)
		}
		for _, problem := range check.problems {
			t.Errorf("%s: %s", rule.Alert, problem)
		}
	}
}

func TestDashboard_UsesOnlyExportedMetricsAndLabels(t *testing.T) {
	queries, variables := dashboard(t)
	for _, q := range queries {
		check := &checker{exports: exports(t)}
		check.legend(q.legend, parse(t, q.expr))
		for _, problem := range check.problems {
			t.Errorf("%s: %s", q.panel, problem)
		}
	}
	for _, c := range variables {
		check := &checker{exports: exports(t)}
		if has := check.labels(parse(t, c.expr)); !slices.Contains(has, c.label) {
			check.problem("%s has no label %q", c.expr, c.label)
		}
		for _, problem := range check.problems {
			t.Error(problem)
		}
	}
}

func TestChecker_FindsLegendsThatDoNotDistinguishCurves(t *testing.T) {
	const each, grouped = `incumbent_leader_election_stuck`, `sum by (api_server, lease_namespace, lease_name, reason) (rate(incumbent_leader_election_terms_ended_total[1h]))`
	for _, c := range []struct{ expr, legend, problem string }{
		{each, `{{lease_namespace}}/{{lease_name}} {{pod}}`, ""},
		{each, `stuck {{pod}}`, "names no Lease"},
		{each, `{{lease_namespace}}/{{lease_name}}`, "differ in pod"},
		{each, `{{lease_name}} {{pod}}`, "half of a Lease"},
		{grouped, `{{api_server}} {{lease_namespace}}/{{lease_name}} {{reason}}`, ""},
		{grouped, `{{api_server}} {{lease_namespace}}/{{lease_name}}`, "differ in reason"},
		{grouped, `{{lease_namespace}}/{{lease_name}} {{reason}}`, "differ in api_server"},
	} {
		check := &checker{exports: exports(t)}
		check.legend(c.legend, parse(t, c.expr))
		if got := strings.Join(check.problems, "\n"); (got == "") != (c.problem == "") || !strings.Contains(got, c.problem) {
			t.Errorf("%s, legend %s: %q, want %q", c.expr, c.legend, got, c.problem)
		}
	}
}

func TestChecker_FindsMetricsAndLabelsThatNothingExports(t *testing.T) {
	for _, c := range []struct{ expr, problem string }{
		{`incumbent_leader_election_leads`, `"incumbent_leader_election_leads" is not exported`},
		{`incumbent_leader_election_is_leader{lease="x"}`, `no label "lease"`},
		{`sum by (name) (incumbent_leader_election_is_leader)`, `no label "name"`},
		{`sum by (pod) (sum by (instance) (incumbent_leader_election_is_leader))`, `no label "pod"`},
		{`sum by (lease_name) (incumbent_leader_election_is_leader)`, `are merged`},
		{`sum by (lease_namespace, lease_name) (incumbent_leader_election_is_leader)`, `are merged`},
		{`min by (lease_namespace, lease_name) (sum by (api_server, lease_namespace, lease_name) (incumbent_leader_election_is_leader{x="y"}))`, `no label "x"`},
		{`rate(incumbent_leader_election_terms_total{previous=~"expired|crashed"}[1h])`, `no previous="crashed"`},
		{`incumbent_leader_election_handover_seconds`, `is not exported`},
		{`histogram_quantile(0.9, sum by (previous) (rate(incumbent_leader_election_handover_seconds_bucket[1h])))`, `lacks the label le`},
		{`time() - timestamp(incumbent_leader_election_term{x="y"})`, `no label "x"`},
		{`sum by (pod) (incumbent_leader_election_term or sum by (instance) (incumbent_leader_election_term))`, `no label "pod"`},
	} {
		check := &checker{exports: exports(t)}
		check.labels(parse(t, c.expr))
		if len(check.problems) != 1 || !strings.Contains(check.problems[0], c.problem) {
			t.Errorf("%s: %q, want one with %q", c.expr, check.problems, c.problem)
		}
	}
}
