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

// A look is what a replica exports at one moment.
type look struct {
	Away      bool // there is no such process: Prometheus notes that it is gone
	Silent    bool // Prometheus does not ask, and notes nothing
	Leads     bool
	Valid     float64 // while it leads; 0: 11 s
	Window    float64 // 0: 12 s
	Token     int     // of its term, if it leads: one that no other replica has
	Disabled  bool
	Stopped   bool // its elector does not run any more
	Stuck     bool
	Contact   float64
	Changes   int // since its process began, as all that follows
	Expired   int
	Own       int
	Released  int
	Failed    int
	Overruns  int
	namespace string

	// jobs are those that scrape it. Default: one. A static one tells neither Pod nor
	// namespace, only the instance.
	jobs   []string
	static bool
}

// A replica tells how it looks at a time.
type replica func(at time.Duration) look

const (
	namespace = "my-namespace"
	lease     = "my-app-leader"
	tick      = 5 * time.Second // replicas are scraped at different ticks
)

// samples are what is scraped from a replica at a time; NaN is what is not there.
func (l look) samples() map[string]float64 {
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
		`is_leader`:                     one(l.Leads),
		`valid_seconds`:                 valid,
		`window_seconds`:                window,
		`running`:                       one(!l.Stopped),
		`enabled`:                       one(!l.Disabled),
		`stuck`:                         one(l.Stuck),
		`last_contact_seconds`:          l.Contact,
		`leader_changes_total`:          float64(l.Changes),
		`terms_total{after="expired"}`:  float64(l.Expired),
		`terms_total{after="own"}`:      float64(l.Own),
		`terms_total{after="released"}`: float64(l.Released),
		`terms_ended_total{reason="renewal_failed"}`: float64(l.Failed),
		`overruns_total`: float64(l.Overruns),
		`term`:           math.NaN(),
	}
	if l.Leads && !l.Disabled {
		all[`term`] = float64(l.Token)
	}
	return all
}

// load tells Prometheus' test storage what it scrapes of the replicas, each at its
// own tick of every interval, and each job at ticks of its own.
func load(replicas map[string]replica, interval, until time.Duration) string {
	var text strings.Builder
	fmt.Fprintf(&text, "load %s\n", tick)
	for i, pod := range slices.Sorted(maps.Keys(replicas)) {
		first := replicas[pod](0)
		jobs := first.jobs
		if jobs == nil {
			jobs = []string{"my-app"}
		}
		withToken := replica(func(at time.Duration) look {
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

// scraped is what is noted of a replica at each tick, by the names of its metrics.
func (r replica) scraped(offset, interval, until time.Duration) map[string][]string {
	values := map[string][]string{}
	for at := time.Duration(0); at <= until; at += tick {
		l := r(at)
		for name, value := range l.samples() {
			scraped := "_"
			switch {
			case l.Silent || at%interval != offset:
			case l.Away && r(max(0, at-interval)).Away && r(max(0, at-2*interval)).Away:
				scraped = "stale" // it is noted that late of what is discovered no more
			case l.Away:
			case math.IsNaN(value):
				scraped = "stale" // that is noted at once of what is scraped no more
			default:
				scraped = fmt.Sprint(value)
			}
			values[name] = append(values[name], scraped)
		}
	}
	return values
}

// series is the name of one with all its labels.
func (l look) series(name, pod, job string) string {
	name, own, _ := strings.Cut(strings.TrimSuffix(name, "}"), "{")
	leaseNamespace, leaseName := namespace, lease
	if l.Disabled {
		leaseNamespace, leaseName = "", ""
	}
	all := []string{fmt.Sprintf("job=%q,instance=%q,lease_namespace=%q,lease_name=%q", job, pod+":8080", leaseNamespace, leaseName)}
	if !l.static {
		all = append(all, fmt.Sprintf("namespace=%q,pod=%q", cmp.Or(l.namespace, namespace), pod))
	}
	if own != "" {
		all = append(all, own)
	}
	return fmt.Sprintf("incumbent_leader_election_%s{%s}", name, strings.Join(all, ","))
}

// fired has Prometheus evaluate every alert again and again, and gives the summaries
// of those that fired at any time, by name.
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
	found := map[string][]string{}
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
				if active.State == rules.StateFiring && !slices.Contains(found[rule.Alert], summary) {
					found[rule.Alert] = append(found[rule.Alert], summary)
				}
			}
		}
		slices.Sort(found[rule.Alert])
	}
	return found
}
