package promcheck

import (
	"encoding/json"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

const manifests = "../manifests/"

func parse(t *testing.T, expr string) parser.Expr {
	t.Helper()
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	return parsed
}

// alerts returns the rules in prometheusrule.yaml, as Prometheus parses them.
func alerts(t *testing.T) []rulefmt.Rule {
	t.Helper()
	content, err := os.ReadFile(manifests + "prometheusrule.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var rule struct{ Spec yaml.Node }
	if err := yaml.Unmarshal(content, &rule); err != nil {
		t.Fatal(err)
	}
	spec, err := yaml.Marshal(&rule.Spec)
	if err != nil {
		t.Fatal(err)
	}
	groups, errs := rulefmt.Parse(spec, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err)
	}
	if groups == nil || len(groups.Groups) != 1 || len(groups.Groups[0].Rules) == 0 {
		t.Fatal("prometheusrule.yaml must have one group of rules")
	}
	return groups.Groups[0].Rules
}

// A query is one expression in a panel of the dashboard, with its legend.
type query struct{ panel, expr, legend string }

// A variable is a list on the dashboard from which users choose a value of a label. The
// expression expr returns the series that have the label.
type variable struct{ expr, label string }

var labelValues = regexp.MustCompile(`^label_values\((.*), *(\w+)\)$`)

// dashboard returns the queries and the variables in dashboard.json. It replaces the
// references to variables, such as $lease, by fixed values.
func dashboard(t *testing.T) (queries []query, variables []variable) {
	t.Helper()
	content, err := os.ReadFile(manifests + "dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Templating struct {
			List []struct{ Name, Type, Query string }
		}
		Panels []struct {
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal(content, &dashboard); err != nil {
		t.Fatal(err)
	}
	values := strings.NewReplacer("$namespace", "n", "$lease", "l")
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			queries = append(queries, query{panel.Title, values.Replace(target.Expr), target.LegendFormat})
		}
	}
	for _, v := range dashboard.Templating.List {
		if v.Type != "query" {
			continue
		}
		parts := labelValues.FindStringSubmatch(v.Query)
		if parts == nil {
			t.Fatalf("variable %s: %q is not label_values(metric, label)", v.Name, v.Query)
		}
		variables = append(variables, variable{values.Replace(parts[1]), parts[2]})
	}
	if len(queries) == 0 || len(variables) == 0 {
		t.Fatal("the dashboard has no queries or no variables")
	}
	return queries, variables
}
