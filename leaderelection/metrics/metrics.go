package metrics

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/registry"
)

const prefix = "incumbent_leader_election_"

// Metrics is a prometheus.Collector that exports metrics of Electors. Create a Metrics
// with New.
type Metrics struct {
	leaderChanges, terms, ended, overruns, failures *prometheus.CounterVec
	stopSeconds, handover, requests                 *prometheus.HistogramVec

	electors registry.Registry[struct{}]
}

// These are the labels that identify an Elector.
const (
	labelServer    = "api_server"
	labelNamespace = "lease_namespace"
	labelName      = "lease_name"
	labelElector   = "elector"
)

var electorLabels = []string{labelServer, labelNamespace, labelName, labelElector}

// labelsOf returns the values of electorLabels.
func labelsOf(l registry.Lease, number int) []string {
	elector := "" // Prometheus removes empty labels
	if number > 1 {
		elector = strconv.Itoa(number)
	}
	return []string{l.Server, l.Namespace, l.Name, elector}
}

// New returns a Metrics. Register the Metrics in a Prometheus registry. For each Elector,
// pass the result of Option to leaderelection.New.
func New() *Metrics {
	counter := func(name, help string, more ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, slices.Concat(electorLabels, more))
	}
	histogram := func(name, help string, buckets []float64, more ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: prefix + name, Help: help, Buckets: buckets}, slices.Concat(electorLabels, more))
	}
	return &Metrics{
		leaderChanges: counter("leader_changes_total", "Observed changes of the Lease's holder."),
		terms:         counter("terms_total", "Terms started, by the outcome of the previous leadership.", "previous"),
		ended:         counter("terms_ended_total", "Terms ended, by reason.", "reason"),
		overruns:      counter("overruns_total", "Terms whose callbacks did not return in time."),
		failures:      counter("failed_requests_total", "Failed requests for the Lease, by request and kind of failure.", "request", "kind"),
		stopSeconds: histogram("stop_seconds", "Time that the callbacks of a term took to return.",
			[]float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}),
		handover: histogram("handover_seconds", "Time from the previous leader's last observed write to the start of this process's term.",
			[]float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15, 20, 30, 60, 120, 300}, "previous"),
		requests: histogram("request_duration_seconds", "Duration of successful requests for the Lease.",
			[]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}, "request"),
		electors: registry.Registry[struct{}]{DropUnused: true},
	}
}

// Option returns an option for leaderelection.New. The option adds the created Elector
// to the metrics. The option may be passed to several Electors. The gauges exist until
// Run returns nil. The counters remain, and continue if an Elector for the same Lease
// runs later.
func (m *Metrics) Option() leaderelection.Option {
	return m.electors.Option(func(e *registry.Entry[struct{}]) leaderelection.Trace {
		r := &recorder{m, e}
		r.createCounters()
		return leaderelection.Trace{
			RunStarted: r.createCounters, Request: r.request, LeaderObserved: r.leaderObserved,
			TermStarted: r.termStarted, TermEnded: r.termEnded,
		}
	})
}

// Forget removes all metrics of the Leases with the given namespace and name. If
// apiServers contains results of Elector.APIServer, Forget removes only the metrics of
// these clusters. A long-running program should call Forget for each Lease that the
// program no longer uses.
func (m *Metrics) Forget(namespace, name string, apiServers ...string) {
	if len(apiServers) == 0 {
		m.forget(prometheus.Labels{labelNamespace: namespace, labelName: name})
	}
	for _, s := range apiServers {
		m.forget(prometheus.Labels{labelNamespace: namespace, labelName: name, labelServer: registry.ServerOf(s)})
	}
}

// forget removes all metrics that have the given labels.
func (m *Metrics) forget(labels prometheus.Labels) {
	m.electors.Forget(func(l registry.Lease) bool {
		server, one := labels[labelServer]
		return l.Namespace == labels[labelNamespace] && l.Name == labels[labelName] && (!one || l.Server == server)
	})
	for _, vec := range m.vectors() {
		vec.(interface {
			DeletePartialMatch(prometheus.Labels) int
		}).DeletePartialMatch(labels)
	}
}

func (m *Metrics) vectors() []prometheus.Collector {
	return []prometheus.Collector{m.leaderChanges, m.terms, m.ended, m.overruns, m.failures, m.stopSeconds, m.handover, m.requests}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, vec := range m.vectors() {
		vec.Describe(ch)
	}
	for _, g := range gauges {
		ch <- g.desc
	}
}

// Collect implements prometheus.Collector. It reads the values of the gauges from the
// Electors.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, vec := range m.vectors() {
		vec.Collect(ch)
	}
	for _, s := range m.electors.All() {
		if s.Replaced && s.Stuck == nil {
			continue // another Elector for the same Lease has run since then
		}
		labels := labelsOf(s.Lease, s.Number)
		for _, g := range gauges {
			if value, ok := g.value(s); ok {
				ch <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, value, labels...)
			}
		}
	}
}

// A sample describes an Elector. The gauges calculate their values from a sample.
type sample = registry.Snapshot[struct{}]

// A gauge is a metric that is read from the Elector at each scrape. The function in its
// field value returns false if the metric must not be exported.
type gauge struct {
	desc  *prometheus.Desc
	value func(sample) (value float64, ok bool)
}

func newGauge(name, help string, value func(sample) (float64, bool)) gauge {
	return gauge{prometheus.NewDesc(prefix+name, help, electorLabels, nil), value}
}

func newBoolGauge(name, help string, on func(sample) bool) gauge {
	return newGauge(name, help, func(s sample) (float64, bool) {
		if on(s) {
			return 1, true
		}
		return 0, true
	})
}

// maxTerm is the limit of the gauge of the fencing token. A sample is a float64, which
// cannot distinguish greater tokens from their neighbours. Without the limit, two leaders
// could look like one.
const maxTerm = 1 << 53

var gauges = []gauge{
	newBoolGauge("is_leader", "1 while this process leads.", func(s sample) bool { return s.Leading }),
	newGauge("term", "The fencing token of the current term, modulo 2^53.",
		func(s sample) (float64, bool) { return float64(s.Term.Token % maxTerm), s.Leading }),
	newGauge("valid_seconds", "How long leadership remains certain.", func(s sample) (float64, bool) {
		if s.ValidFor == math.MaxInt64 {
			return math.Inf(1), true
		}
		return s.ValidFor.Seconds(), true
	}),
	newGauge("window_seconds", "How long leadership is certain after a renewal.", func(s sample) (float64, bool) {
		return s.Config.Window().Seconds(), s.Config.Enabled
	}),
	newBoolGauge("enabled", "0 if this process leads without a Lease.", func(s sample) bool { return s.Config.Enabled }),
	newBoolGauge("running", "1 while Run has not returned.", func(s sample) bool { return s.Running }),
	newBoolGauge("stuck", "1 if the elector makes no progress, or callbacks have outlived their term.", func(s sample) bool { return s.Stuck != nil }),
	newBoolGauge("watching", "1 while the Lease is watched, 0 while it is polled.", func(s sample) bool { return s.Watching }),
	newBoolGauge("successor", "1 while this process is the successor, which claims a released Lease first.", func(s sample) bool {
		return s.Successor != "" && s.Successor == s.Config.Identity
	}),
	newGauge("last_contact_seconds", "Time since the API server last answered about the Lease.", func(s sample) (float64, bool) {
		return time.Since(s.LastContact).Seconds(), !s.LastContact.IsZero()
	}),
}

// A recorder updates the counters and histograms from the Trace of one Elector.
type recorder struct {
	metrics *Metrics
	entry   *registry.Entry[struct{}]
}

// labels returns the values of electorLabels, followed by the parameter more.
func (r *recorder) labels(more ...string) []string {
	return append(labelsOf(r.entry.Lease, r.metrics.electors.Number(r.entry)), more...)
}

// createCounters creates each counter with the value 0, because increase() in Prometheus
// misses the first event of a counter that does not exist yet.
func (r *recorder) createCounters() {
	m := r.metrics
	m.leaderChanges.WithLabelValues(r.labels()...)
	m.overruns.WithLabelValues(r.labels()...)
	for _, reason := range leaderelection.TermReasons() {
		m.ended.WithLabelValues(r.labels(reason)...)
	}
	for _, previous := range []string{leaderelection.PreviousNone, leaderelection.PreviousReleased, leaderelection.PreviousExpired,
		leaderelection.PreviousTerminated, leaderelection.PreviousDeleted, leaderelection.PreviousOwn} {
		m.terms.WithLabelValues(r.labels(previous)...)
	}
}

func (r *recorder) request(request leaderelection.Request) {
	switch request.Failure {
	case "":
		r.metrics.requests.WithLabelValues(r.labels(request.For)...).Observe(request.Took.Seconds())
	case leaderelection.FailureCanceled:
	default:
		r.metrics.failures.WithLabelValues(r.labels(request.For, request.Failure)...).Inc()
	}
}

func (r *recorder) leaderObserved(identity string, _ time.Time) {
	if identity != "" {
		r.metrics.leaderChanges.WithLabelValues(r.labels()...).Inc()
	}
}

func (r *recorder) termStarted(started leaderelection.TermStarted) {
	r.metrics.terms.WithLabelValues(r.labels(started.Previous)...).Inc()
	if started.Previous != leaderelection.PreviousNone {
		r.metrics.handover.WithLabelValues(r.labels(started.Previous)...).Observe(started.SincePrevious.Seconds())
	}
}

func (r *recorder) termEnded(end leaderelection.TermEnded) {
	r.metrics.ended.WithLabelValues(r.labels(end.Reason())...).Inc()
	if end.Overran {
		r.metrics.overruns.WithLabelValues(r.labels()...).Inc()
		return
	}
	r.metrics.stopSeconds.WithLabelValues(r.labels()...).Observe(end.StopTook.Seconds())
}
