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

// A Metrics is a prometheus.Collector of what Electors do.
type Metrics struct {
	leaderChanges, terms, ended, overruns, failures *prometheus.CounterVec
	stopping, handover, requests                    *prometheus.HistogramVec

	mu       sync.Mutex
	electors map[lease]*leaderelection.Elector
}

// A lease is what the metrics of one Elector are told apart by.
type lease struct{ namespace, name string }

var leaseLabels = []string{"lease_namespace", "lease_name"}

// New makes a Metrics. Register it, and give its Option to each Elector.
func New() *Metrics {
	counter := func(name, help string, more ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, slices.Concat(leaseLabels, more))
	}
	histogram := func(name, help string, buckets []float64, more ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: prefix + name, Help: help, Buckets: buckets}, slices.Concat(leaseLabels, more))
	}
	return &Metrics{
		leaderChanges: counter("leader_changes_total", "How often another holder of the Lease was seen."),
		terms:         counter("terms_total", "Terms begun, by what became of the last leader's claim.", "after"),
		ended:         counter("terms_ended_total", "Terms ended, by reason.", "reason"),
		overruns:      counter("overruns_total", "Terms whose work had not stopped in time."),
		failures:      counter("failed_requests_total", "Requests for the Lease that failed, by what they were for and kind of failure.", "request", "kind"),
		stopping: histogram("stop_seconds", "How long the work of a term took to stop.",
			[]float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}),
		handover: histogram("handover_seconds", "From the last leader's last write that this process saw to the beginning of its own term.",
			[]float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15, 20, 30, 60, 120, 300}, "after"),
		requests: histogram("request_duration_seconds", "How long answers to requests for the Lease took, failures left out.",
			[]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}, "request"),
		electors: map[lease]*leaderelection.Elector{},
	}
}

// Option lets an Elector be seen. An Elector for the same Lease as an earlier one
// takes its place: their counts go on together.
func (m *Metrics) Option() leaderelection.Option {
	o := &observation{metrics: m}
	return leaderelection.WithTrace(leaderelection.Trace{
		Created: o.made, Request: o.request, LeaderObserved: o.leaderSeen, TermStarted: o.began, TermEnded: o.ended,
	})
}

// Forget drops everything about Electors for that Lease, for programs that come to
// elect leaders on other Leases while they run.
func (m *Metrics) Forget(namespace, name string) {
	m.mu.Lock()
	delete(m.electors, lease{namespace, name})
	m.mu.Unlock()
	labels := prometheus.Labels{leaseLabels[0]: namespace, leaseLabels[1]: name}
	for _, vec := range m.vectors() {
		vec.(interface {
			DeletePartialMatch(prometheus.Labels) int
		}).DeletePartialMatch(labels)
	}
}

func (m *Metrics) vectors() []prometheus.Collector {
	return []prometheus.Collector{m.leaderChanges, m.terms, m.ended, m.overruns, m.failures, m.stopping, m.handover, m.requests}
}

// Describe is what a registry asks first.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, vec := range m.vectors() {
		vec.Describe(ch)
	}
	for _, g := range gauges {
		ch <- g.desc
	}
}

// Collect is what a registry asks whenever it is asked itself.
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

// A sample is what is known of one Elector at one moment.
type sample struct {
	leaderelection.State
	elector *leaderelection.Elector
	now     time.Time
}

// A gauge is asked of the Elector each time, so that it cannot be out of date.
type gauge struct {
	desc  *prometheus.Desc
	value func(sample) (value float64, ok bool)
}

func newGauge(name, help string, value func(sample) (float64, bool)) gauge {
	return gauge{prometheus.NewDesc(prefix+name, help, leaseLabels, nil), value}
}

func newSwitch(name, help string, on func(sample) bool) gauge {
	return newGauge(name, help, func(s sample) (float64, bool) {
		if on(s) {
			return 1, true
		}
		return 0, true
	})
}

var gauges = []gauge{
	newSwitch("is_leader", "1 while this process leads.", func(s sample) bool { return s.elector.IsLeader() }),
	newGauge("term", "The fencing token of the present term.", func(s sample) (float64, bool) {
		term, leading := s.elector.Term()
		return float64(term.Token), leading
	}),
	newGauge("valid_seconds", "For how long leadership is certain from now.", func(s sample) (float64, bool) {
		valid := s.elector.ValidFor()
		if valid == math.MaxInt64 {
			return math.Inf(1), true
		}
		return valid.Seconds(), true
	}),
	newGauge("window_seconds", "For how long leadership is certain after a renewal.", func(s sample) (float64, bool) {
		config := s.elector.Config()
		return config.Window().Seconds(), config.Enabled
	}),
	newSwitch("enabled", "0 if this process leads without a Lease.", func(s sample) bool { return s.elector.Config().Enabled }),
	newSwitch("running", "1 while the elector runs.", func(s sample) bool { return s.Running }),
	newSwitch("stuck", "1 if the elector stands still, or the work has outlived its term.", func(s sample) bool { return s.elector.Stuck() != nil }),
	newSwitch("watching", "1 while the Lease is watched, 0 while it is polled.", func(s sample) bool { return s.Watching }),
	newSwitch("heir", "1 while this process is who claims a released Lease first.", func(s sample) bool {
		return s.Successor != "" && s.Successor == s.elector.Config().Identity
	}),
	newGauge("last_contact_seconds", "How long ago the API server last told something of the Lease.", func(s sample) (float64, bool) {
		contact := s.elector.LastContact()
		return s.now.Sub(contact).Seconds(), !contact.IsZero()
	}),
}

// An observation is what one Elector's Trace tells.
type observation struct {
	metrics *Metrics
	lease   lease
}

func (o *observation) made(e *leaderelection.Elector) {
	c := e.Config()
	if c.Enabled {
		o.lease = lease{c.LeaseNamespace, c.LeaseName}
	}
	m, namespace, name := o.metrics, o.lease.namespace, o.lease.name
	m.mu.Lock()
	m.electors[o.lease] = e
	m.mu.Unlock()
	// What has not happened is 0, and not missing: the first increase is seen, too.
	m.leaderChanges.WithLabelValues(namespace, name)
	m.overruns.WithLabelValues(namespace, name)
	for _, reason := range reasons {
		m.ended.WithLabelValues(namespace, name, reason.name)
	}
	for _, after := range []string{leaderelection.PreviousNone, leaderelection.PreviousReleased, leaderelection.PreviousExpired,
		leaderelection.PreviousDeleted, leaderelection.PreviousOwn} {
		m.terms.WithLabelValues(namespace, name, after)
	}
}

func (o *observation) request(r leaderelection.Request) {
	switch r.Failure {
	case "":
		o.metrics.requests.WithLabelValues(o.lease.namespace, o.lease.name, r.For).Observe(r.Took.Seconds())
	case leaderelection.FailureCanceled:
	default:
		o.metrics.failures.WithLabelValues(o.lease.namespace, o.lease.name, r.For, r.Failure).Inc()
	}
}

func (o *observation) leaderSeen(identity string, _ time.Time) {
	if identity != "" {
		o.metrics.leaderChanges.WithLabelValues(o.lease.namespace, o.lease.name).Inc()
	}
}

func (o *observation) began(b leaderelection.TermStarted) {
	o.metrics.terms.WithLabelValues(o.lease.namespace, o.lease.name, b.Previous).Inc()
	if b.Previous != leaderelection.PreviousNone {
		o.metrics.handover.WithLabelValues(o.lease.namespace, o.lease.name, b.Previous).Observe(b.SincePrevious.Seconds())
	}
}

func (o *observation) ended(end leaderelection.TermEnded) {
	o.metrics.ended.WithLabelValues(o.lease.namespace, o.lease.name, reasonOf(end.Cause)).Inc()
	if end.Overran {
		o.metrics.overruns.WithLabelValues(o.lease.namespace, o.lease.name).Inc()
		return
	}
	o.metrics.stopping.WithLabelValues(o.lease.namespace, o.lease.name).Observe(end.StopTook.Seconds())
}

// reasons are why terms end, and their labels.
var reasons = []struct {
	err  error
	name string
}{
	{leaderelection.ErrCancelled, "cancelled"}, {leaderelection.ErrSteppedDown, "stepped_down"},
	{leaderelection.ErrRenewalFailed, "renewal_failed"}, {leaderelection.ErrOvertaken, "overtaken"},
	{leaderelection.ErrLeaseDeleted, "lease_deleted"}, {leaderelection.ErrHistoryRewound, "history_rewound"},
}

// reasonOf is the label for why a term ended.
func reasonOf(cause error) string {
	for _, reason := range reasons {
		if errors.Is(cause, reason.err) {
			return reason.name
		}
	}
	return "other"
}
