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

// A snapshot contains the values that a replica exports at one point in time.
type snapshot struct {
	Away      bool // the process does not exist; Prometheus marks its series as stale
	Silent    bool // Prometheus does not scrape the process, and does not mark its series as stale
	Leads     bool
	Valid     float64 // valid_seconds; 0 means the default, which is 11 for a leader
	Window    float64 // window_seconds; 0 means the default, which is 12
	Token     int     // the fencing token of a leader; each replica has a different token
	Disabled  bool
	Stopped   bool // the Elector of the replica has stopped
	Stuck     bool
	Contact   float64
	Changes   int // the fields from Changes to Overruns are counters, which are 0 when the process starts
	Expired   int
	Own       int
	Released  int
	Failed    int
	Overruns  int
	namespace string
	pod       string // the default is the name of the replica
	server    string // api_server; the default is the server of all other replicas
	elector   string // the number of the Elector if the process has several Electors for this Lease

	// jobs are the names of the jobs that scrape the replica. The default is one job. If
	// static is true, the replica is a static target. A static target has the label
	// instance, but not the labels pod and namespace.
	jobs   []string
	static bool
}

// A replica is a function that returns a snapshot. at is the time since the
// start of the scenario.
type replica func(at time.Duration) snapshot

const (
	server    = "10.96.0.1:443"
	namespace = "my-namespace"
	lease     = "my-app-leader"
	tick      = 5 * time.Second // the unit of time in a scenario; different replicas are scraped at different ticks
)

// samples returns the values that Prometheus scrapes, keyed by the metric. The value NaN
// means that the replica does not export the metric.
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

// load returns a "load" command, which fills the storage of Prometheus in tests. In each
// scrape interval, different replicas and jobs are scraped at different ticks.
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

// scraped returns the values that Prometheus stores for a replica, keyed by the metric.
// The list of a metric contains one value for each tick. Prometheus scrapes the replica
// once in each interval. offset is the time from the start of an interval
// to the scrape.
func (r replica) scraped(offset, interval, until time.Duration) map[string][]string {
	values := map[string][]string{}
	for at := time.Duration(0); at <= until; at += tick {
		l := r(at)
		for name, value := range l.samples() {
			scraped := "_"
			switch {
			case l.Silent || at%interval != offset:
			case l.Away && r(max(0, at-interval)).Away && r(max(0, at-2*interval)).Away:
				scraped = "stale" // Prometheus detects only after some time that a target no longer exists
			case l.Away:
			case math.IsNaN(value):
				scraped = "stale" // Prometheus detects at once that a metric no longer exists
			default:
				scraped = fmt.Sprint(value)
			}
			values[name] = append(values[name], scraped)
		}
	}
	return values
}

// series returns the name of a time series with all its labels.
func (l snapshot) series(name, pod, job string) string {
	name, metricLabels, _ := strings.Cut(strings.TrimSuffix(name, "}"), "{")
	pod = cmp.Or(l.pod, pod)
	apiServer, leaseNamespace, leaseName := cmp.Or(l.server, server), namespace, lease
	if l.Disabled {
		apiServer, leaseNamespace, leaseName = "", "", ""
	}
	all := []string{fmt.Sprintf("job=%q,instance=%q,api_server=%q,lease_namespace=%q,lease_name=%q,elector=%q",
		job, pod+":8080", apiServer, leaseNamespace, leaseName, l.elector)}
	if !l.static {
		all = append(all, fmt.Sprintf("namespace=%q,pod=%q", cmp.Or(l.namespace, namespace), pod))
	}
	if metricLabels != "" {
		all = append(all, metricLabels)
	}
	return fmt.Sprintf("incumbent_leader_election_%s{%s}", name, strings.Join(all, ","))
}

// fired loads the time series in text into Prometheus and evaluates every alert
// periodically. It returns the summaries of the alerts that fired, keyed by the name of
// the alert.
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
