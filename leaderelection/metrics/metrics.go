package metrics

import (
	"errors"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

const prefix = "incumbent_leader_election_"

// Metrics is a prometheus.Collector that exports metrics of Electors. Create a Metrics
// with New.
type Metrics struct {
	leaderChanges, terms, ended, overruns, failures *prometheus.CounterVec
	stopSeconds, handover, requests                 *prometheus.HistogramVec

	mu       sync.Mutex
	electors map[leaseKey]*leaderelection.Elector
}

// A leaseKey identifies an Elector by its Lease. Both fields are empty if the election is
// not enabled.
type leaseKey struct{ namespace, name string }

var leaseLabels = []string{"lease_namespace", "lease_name"}

// New returns a Metrics. Register the Metrics in a Prometheus registry. For each Elector,
// pass the result of Option to leaderelection.New.
func New() *Metrics {
	counter := func(name, help string, more ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, slices.Concat(leaseLabels, more))
	}
	histogram := func(name, help string, buckets []float64, more ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: prefix + name, Help: help, Buckets: buckets}, slices.Concat(leaseLabels, more))
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
		electors: map[leaseKey]*leaderelection.Elector{},
	}
}

// Option returns an option for leaderelection.New. The option adds the created Elector
// to the metrics. If several Electors are created for one Lease, the gauges show the
// most recent Elector. The counters count the events of all these Electors.
func (m *Metrics) Option() leaderelection.Option {
	return leaderelection.WithTraceFor(func(e *leaderelection.Elector) leaderelection.Trace {
		r := &recorder{metrics: m}
		r.created(e)
		return leaderelection.Trace{Request: r.request, LeaderObserved: r.leaderObserved, TermStarted: r.termStarted, TermEnded: r.termEnded}
	})
}

// Forget removes all metrics of the Lease with the given namespace and name. A
// long-running program should call Forget for each Lease that the program no longer
// uses.
func (m *Metrics) Forget(namespace, name string) {
	m.mu.Lock()
	delete(m.electors, leaseKey{namespace, name})
	m.mu.Unlock()
	labels := prometheus.Labels{leaseLabels[0]: namespace, leaseLabels[1]: name}
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
	m.mu.Lock()
	electors := maps.Clone(m.electors)
	m.mu.Unlock()
	for l, e := range electors {
		s := sample{elector: e, State: e.State(), now: time.Now()}
		for _, g := range gauges {
			if value, ok := g.value(s); ok {
				ch <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, value, l.namespace, l.name)
			}
		}
	}
}

// A sample contains the state of one Elector, and the time at which the state was read.
// The gauges calculate their values from a sample.
type sample struct {
	leaderelection.State
	elector *leaderelection.Elector
	now     time.Time
}

// A gauge is a metric that is read from the Elector at each scrape. The function in its
// field value returns false if the metric must not be exported.
type gauge struct {
	desc  *prometheus.Desc
	value func(sample) (value float64, ok bool)
}

func newGauge(name, help string, value func(sample) (float64, bool)) gauge {
	return gauge{prometheus.NewDesc(prefix+name, help, leaseLabels, nil), value}
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
	newBoolGauge("is_leader", "1 while this process leads.", func(s sample) bool { return s.elector.IsLeader() }),
	newGauge("term", "The fencing token of the current term, modulo 2^53.", func(s sample) (float64, bool) {
		term, leading := s.elector.Term()
		return float64(term.Token % maxTerm), leading
	}),
	newGauge("valid_seconds", "How long leadership remains certain.", func(s sample) (float64, bool) {
		valid := s.elector.ValidFor()
		if valid == math.MaxInt64 {
			return math.Inf(1), true
		}
		return valid.Seconds(), true
	}),
	newGauge("window_seconds", "How long leadership is certain after a renewal.", func(s sample) (float64, bool) {
		config := s.elector.Config()
		return config.Window().Seconds(), config.Enabled
	}),
	newBoolGauge("enabled", "0 if this process leads without a Lease.", func(s sample) bool { return s.elector.Config().Enabled }),
	newBoolGauge("running", "1 while Run has not returned.", func(s sample) bool { return s.Running }),
	newBoolGauge("stuck", "1 if the elector makes no progress, or callbacks have outlived their term.", func(s sample) bool { return s.elector.Stuck() != nil }),
	newBoolGauge("watching", "1 while the Lease is watched, 0 while it is polled.", func(s sample) bool { return s.Watching }),
	newBoolGauge("successor", "1 while this process is the successor, which claims a released Lease first.", func(s sample) bool {
		return s.Successor != "" && s.Successor == s.elector.Config().Identity
	}),
	newGauge("last_contact_seconds", "Time since the API server last answered about the Lease.", func(s sample) (float64, bool) {
		contact := s.elector.LastContact()
		return s.now.Sub(contact).Seconds(), !contact.IsZero()
	}),
}

// A recorder updates the counters and histograms from the Trace of one Elector.
type recorder struct {
	metrics *Metrics
	lease   leaseKey
}

func (r *recorder) created(e *leaderelection.Elector) {
	c := e.Config()
	if c.Enabled {
		r.lease = leaseKey{c.LeaseNamespace, c.LeaseName}
	}
	m, namespace, name := r.metrics, r.lease.namespace, r.lease.name
	m.mu.Lock()
	m.electors[r.lease] = e
	m.mu.Unlock()
	// Create each counter with the value 0, because increase() in Prometheus misses the
	// first event of a counter that does not exist yet.
	m.leaderChanges.WithLabelValues(namespace, name)
	m.overruns.WithLabelValues(namespace, name)
	for _, reason := range reasons {
		m.ended.WithLabelValues(namespace, name, reason.name)
	}
	for _, previous := range []string{leaderelection.PreviousNone, leaderelection.PreviousReleased, leaderelection.PreviousExpired,
		leaderelection.PreviousDeleted, leaderelection.PreviousOwn} {
		m.terms.WithLabelValues(namespace, name, previous)
	}
}

func (r *recorder) request(request leaderelection.Request) {
	switch request.Failure {
	case "":
		r.metrics.requests.WithLabelValues(r.lease.namespace, r.lease.name, request.For).Observe(request.Took.Seconds())
	case leaderelection.FailureCanceled:
	default:
		r.metrics.failures.WithLabelValues(r.lease.namespace, r.lease.name, request.For, request.Failure).Inc()
	}
}

func (r *recorder) leaderObserved(identity string, _ time.Time) {
	if identity != "" {
		r.metrics.leaderChanges.WithLabelValues(r.lease.namespace, r.lease.name).Inc()
	}
}

func (r *recorder) termStarted(started leaderelection.TermStarted) {
	r.metrics.terms.WithLabelValues(r.lease.namespace, r.lease.name, started.Previous).Inc()
	if started.Previous != leaderelection.PreviousNone {
		r.metrics.handover.WithLabelValues(r.lease.namespace, r.lease.name, started.Previous).Observe(started.SincePrevious.Seconds())
	}
}

func (r *recorder) termEnded(end leaderelection.TermEnded) {
	r.metrics.ended.WithLabelValues(r.lease.namespace, r.lease.name, reasonOf(end.Cause)).Inc()
	if end.Overran {
		r.metrics.overruns.WithLabelValues(r.lease.namespace, r.lease.name).Inc()
		return
	}
	r.metrics.stopSeconds.WithLabelValues(r.lease.namespace, r.lease.name).Observe(end.StopTook.Seconds())
}

// reasons maps each error that ends a term to a value of the label "reason".
var reasons = []struct {
	err  error
	name string
}{
	{leaderelection.ErrCancelled, "cancelled"}, {leaderelection.ErrSteppedDown, "stepped_down"},
	{leaderelection.ErrRenewalFailed, "renewal_failed"}, {leaderelection.ErrOvertaken, "overtaken"},
	{leaderelection.ErrLeaseDeleted, "lease_deleted"}, {leaderelection.ErrHistoryRewound, "history_rewound"},
}

// reasonOf returns the value of the label "reason" for the error that ended a term.
func reasonOf(cause error) string {
	for _, reason := range reasons {
		if errors.Is(cause, reason.err) {
			return reason.name
		}
	}
	return "other"
}
