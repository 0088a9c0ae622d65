package promcheck

import (
	"encoding/json"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

const manifests = "../manifests/"

func TestAlerts_AreWhatPrometheusReads(t *testing.T) {
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
	if groups == nil || len(groups.Groups) == 0 || len(groups.Groups[0].Rules) == 0 {
		t.Fatal("there are no rules")
	}
}

func TestDashboard_AsksWhatPrometheusReads(t *testing.T) {
	content, err := os.ReadFile(manifests + "dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(content, &dashboard); err != nil {
		t.Fatal(err)
	}
	variables := strings.NewReplacer("$namespace", "n", "$lease", "l")
	p, asked := parser.NewParser(parser.Options{}), 0
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			asked++
			if _, err := p.ParseExpr(variables.Replace(target.Expr)); err != nil {
				t.Errorf("%s: %v", panel.Title, err)
			}
		}
	}
	if asked == 0 {
		t.Fatal("the dashboard asks for nothing")
	}
}
