package promcheck

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
)

// A snapshot is what a replica exports at one moment.
type snapshot struct {
	Away      bool // there is no such process: Prometheus marks its series stale
	Silent    bool // Prometheus does not scrape, and marks nothing
	Leads     bool
	Valid     float64 // while it leads; 0 means 11 s
	Window    float64 // 0 means 12 s
	Token     int     // of its term, if it leads; unique per replica
	Disabled  bool
	Stopped   bool // its Elector has stopped
	Stuck     bool
	Contact   float64
	Changes   int // a counter since the start of the process, as are the following
	Expired   int
	Own       int
	Released  int
	Failed    int
	Overruns  int
	namespace string

	// jobs scrape the replica. Default: one job. A static target has neither the label
	// pod nor namespace, only instance.
	jobs   []string
	static bool
}

// A replica returns its snapshot at a time.
type replica func(at time.Duration) snapshot

const (
	namespace = "my-namespace"
	lease     = "my-app-leader"
	tick      = 5 * time.Second // replicas are scraped at different ticks
)

// samples returns the values that are scraped, by metric. NaN means that the metric is
// absent.
func (l snapshot) samples() map[string]float64 {
	one := oneIf
	window := 12.0
	if l.Window > 0 {
		window = l.Window
	}
	valid := one(l.Leads) * 11
	if l.Valid > 0 {
		valid = l.Valid
	}
	all := map[string]float64{
		`is_leader`:                        one(l.Leads),
		`valid_seconds`:                    valid,
		`window_seconds`:                   window,
		`running`:                          one(!l.Stopped),
		`enabled`:                          one(!l.Disabled),
		`stuck`:                            one(l.Stuck),
		`last_contact_seconds`:             l.Contact,
		`leader_changes_total`:             float64(l.Changes),
		`terms_total{previous="expired"}`:  float64(l.Expired),
		`terms_total{previous="own"}`:      float64(l.Own),
		`terms_total{previous="released"}`: float64(l.Released),
		`terms_ended_total{reason="renewal_failed"}`: float64(l.Failed),
		`overruns_total`: float64(l.Overruns),
		`term`:           math.NaN(),
	}
	if l.Leads && !l.Disabled {
		all[`term`] = float64(l.Token)
	}
	return all
}

// load returns the "load" command for Prometheus' test storage. Each replica and each job
// is scraped at its own tick of the interval.
func load(replicas map[string]replica, interval, until time.Duration) string {
	var text strings.Builder
	fmt.Fprintf(&text, "load %s\n", tick)
	for i, pod := range slices.Sorted(maps.Keys(replicas)) {
		first := replicas[pod](0)
		jobs := first.jobs
		if jobs == nil {
			jobs = []string{"my-app"}
		}
		withToken := replica(func(at time.Duration) snapshot {
			l := replicas[pod](at)
			l.Token = 1000 + i
			return l
		})
		for k, job := range jobs {
			for name, scraped := range withToken.scraped(time.Duration(i+2*k)*tick%interval, interval, until) {
				fmt.Fprintf(&text, "  %s %s\n", first.series(name, pod, job), strings.Join(scraped, " "))
			}
		}
	}
	return text.String()
}

// scraped returns the values that Prometheus stores for a replica at each tick, by metric.
func (r replica) scraped(offset, interval, until time.Duration) map[string][]string {
	values := map[string][]string{}
	for at := time.Duration(0); at <= until; at += tick {
		l := r(at)
		for name, value := range l.samples() {
			scraped := "_"
			switch {
			case l.Silent || at%interval != offset:
			case l.Away && r(max(0, at-interval)).Away && r(max(0, at-2*interval)).Away:
				scraped = "stale" // Prometheus notices late that a target has gone
			case l.Away:
			case math.IsNaN(value):
				scraped = "stale" // Prometheus notices at once that a metric has gone
			default:
				scraped = fmt.Sprint(value)
			}
			values[name] = append(values[name], scraped)
		}
	}
	return values
}

// series returns the name of a series with all its labels.
func (l snapshot) series(name, pod, job string) string {
	name, metricLabels, _ := strings.Cut(strings.TrimSuffix(name, "}"), "{")
	leaseNamespace, leaseName := namespace, lease
	if l.Disabled {
		leaseNamespace, leaseName = "", ""
	}
	all := []string{fmt.Sprintf("job=%q,instance=%q,lease_namespace=%q,lease_name=%q", job, pod+":8080", leaseNamespace, leaseName)}
	if !l.static {
		all = append(all, fmt.Sprintf("namespace=%q,pod=%q", cmp.Or(l.namespace, namespace), pod))
	}
	if metricLabels != "" {
		all = append(all, metricLabels)
	}
	return fmt.Sprintf("incumbent_leader_election_%s{%s}", name, strings.Join(all, ","))
}

// fired lets Prometheus evaluate every alert periodically. It returns the summaries of the
// alerts that fired, by name.
func fired(t *testing.T, text string, every, until time.Duration) map[string][]string {
	t.Helper()
	loader, err := promqltest.NewLazyLoader(text, promqltest.LazyLoaderOpts{EnableAtModifier: true, EnableNegativeOffset: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := loader.Close(); err != nil {
			t.Error(err)
		}
	}()
	loader.WithSamplesTill(time.Unix(0, 0).Add(until), func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	})
	summaries := map[string][]string{}
	query := rules.EngineQueryFunc(loader.QueryEngine(), loader.Storage())
	for _, rule := range alerts(t) {
		alert := rules.NewAlertingRule(rule.Alert, parse(t, rule.Expr), time.Duration(rule.For), time.Duration(rule.KeepFiringFor),
			labels.FromMap(rule.Labels), labels.FromMap(rule.Annotations), labels.EmptyLabels(), "", true, slog.New(slog.DiscardHandler))
		for at := time.Duration(0); at <= until; at += every {
			if _, err := alert.Eval(t.Context(), 0, time.Unix(0, 0).Add(at), query, nil, 0); err != nil {
				t.Fatalf("%s: %v", rule.Alert, err)
			}
			for _, active := range alert.ActiveAlerts() {
				summary := active.Annotations.Get("summary")
				if active.State == rules.StateFiring && !slices.Contains(summaries[rule.Alert], summary) {
					summaries[rule.Alert] = append(summaries[rule.Alert], summary)
				}
			}
		}
		slices.Sort(summaries[rule.Alert])
	}
	return summaries
}
