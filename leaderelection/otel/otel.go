package otel

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	nooptrace "go.opentelemetry.io/otel/trace/noop"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// scope is the name of the instrumentation scope of all spans and metrics.
const scope = "github.com/haproxy-template-ic/incumbent/leaderelection/otel"

const (
	keyNamespace = attribute.Key("k8s.namespace.name")
	keyLease     = attribute.Key("incumbent.lease.name")
	keyToken     = attribute.Key("incumbent.term.token")
	keyPrevious  = attribute.Key("incumbent.term.previous")
	keyReason    = attribute.Key("incumbent.term.reason")
	keyReleased  = attribute.Key("incumbent.term.released")
	keyPurpose   = attribute.Key("incumbent.request.purpose")
	keyError     = attribute.Key("error.type")
)

// Option returns an option for leaderelection.New. The option may be passed to several
// Electors. Spans go to tracers, and metrics go to meters. If one of them is nil, Option
// creates no spans or no metrics. Option returns an error if a metric cannot be created.
func Option(tracers trace.TracerProvider, meters metric.MeterProvider) (leaderelection.Option, error) {
	if tracers == nil {
		tracers = nooptrace.NewTracerProvider()
	}
	if meters == nil {
		meters = noopmetric.NewMeterProvider()
	}
	m, err := newInstruments(meters.Meter(scope))
	if err != nil {
		return nil, err
	}
	tracer := tracers.Tracer(scope)
	return leaderelection.WithTraceFor(func(e *leaderelection.Elector) leaderelection.Trace {
		config := e.Config()
		r := &recorder{
			tracer: tracer, instruments: m, isLeader: e.IsLeader,
			lease: []attribute.KeyValue{keyNamespace.String(config.LeaseNamespace), keyLease.String(config.LeaseName)},
		}
		return leaderelection.Trace{
			RunStarted: r.runStarted, RunEnded: r.runEnded, Request: r.request,
			TermStarted: r.termStarted, TermStopping: r.termStopping, TermEnded: r.termEnded,
		}
	}), nil
}

// instruments are the metrics, which all Electors of an Option share.
type instruments struct {
	meter                   metric.Meter
	leading                 metric.Int64ObservableGauge
	terms                   metric.Int64Counter
	handover, stop, request metric.Float64Histogram
}

func newInstruments(meter metric.Meter) (*instruments, error) {
	var problems []error
	histogram := func(name, description string, bounds ...float64) metric.Float64Histogram {
		h, err := meter.Float64Histogram("incumbent.leader_election."+name, metric.WithUnit("s"),
			metric.WithDescription(description), metric.WithExplicitBucketBoundaries(bounds...))
		problems = append(problems, err)
		return h
	}
	leading, err := meter.Int64ObservableGauge("incumbent.leader_election.leading",
		metric.WithDescription("1 while this process leads, else 0."))
	problems = append(problems, err)
	terms, err := meter.Int64Counter("incumbent.leader_election.terms",
		metric.WithUnit("{term}"), metric.WithDescription("Terms ended, by reason."))
	problems = append(problems, err)
	m := &instruments{
		meter: meter, leading: leading, terms: terms,
		handover: histogram("handover.duration", "Time from the previous leader's last observed write to the start of this process's term.",
			.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15, 20, 30, 60, 120, 300),
		stop: histogram("stop.duration", "Time that the callbacks of a term took to return.",
			.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300),
		request: histogram("request.duration", "Duration of requests for the Lease.",
			.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10),
	}
	return m, errors.Join(problems...)
}

// A recorder makes spans and metrics from the Trace of one Elector. The Elector calls
// runStarted and runEnded in the goroutine of Run, and the other methods one after the
// other.
type recorder struct {
	*instruments
	tracer   trace.Tracer
	isLeader func() bool
	lease    []attribute.KeyValue
	gauge    metric.Registration // nil unless Run runs

	claim trace.SpanContext // the last claim that succeeded
	term  trace.Span        // nil unless a term has started and not ended
}

// with returns the attributes of the Lease, followed by more.
func (r *recorder) with(more ...attribute.KeyValue) []attribute.KeyValue {
	return append(r.lease[:len(r.lease):len(r.lease)], more...)
}

func (r *recorder) runStarted() {
	attributes := metric.WithAttributes(r.lease...)
	// An error means that the gauge is missing. The election must not fail for that.
	r.gauge, _ = r.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		value := int64(0)
		if r.isLeader() {
			value = 1
		}
		o.ObserveInt64(r.leading, value, attributes)
		return nil
	}, r.leading)
}

func (r *recorder) runEnded(error) {
	if r.gauge != nil {
		_ = r.gauge.Unregister()
		r.gauge = nil
	}
}

func (r *recorder) request(request leaderelection.Request) {
	if request.For == leaderelection.RequestClaim || request.For == leaderelection.RequestRelease {
		r.requestSpan(request)
	}
	if request.For == leaderelection.RequestWatch || request.Failure == leaderelection.FailureCanceled {
		return
	}
	attributes := r.with(keyPurpose.String(request.For))
	if request.Failure != "" {
		attributes = append(attributes, keyError.String(request.Failure))
	}
	r.instruments.request.Record(context.Background(), request.Took.Seconds(), metric.WithAttributes(attributes...))
}

// requestSpan creates the span of a claim or of a release.
func (r *recorder) requestSpan(request leaderelection.Request) {
	ctx := context.Background()
	if request.For == leaderelection.RequestRelease && r.term != nil {
		ctx = trace.ContextWithSpan(ctx, r.term)
	}
	_, span := r.tracer.Start(ctx, "incumbent."+request.For, trace.WithTimestamp(request.Sent),
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(r.lease...))
	switch {
	case request.Err != nil:
		span.SetAttributes(keyError.String(request.Failure))
		span.SetStatus(codes.Error, request.Err.Error())
	case request.For == leaderelection.RequestClaim:
		r.claim = span.SpanContext()
	}
	span.End(trace.WithTimestamp(request.Sent.Add(request.Took)))
}

func (r *recorder) termStarted(started leaderelection.TermStarted) {
	r.endSpan(started.At) // the report of the previous end may have been dropped
	options := []trace.SpanStartOption{
		trace.WithTimestamp(started.At),
		trace.WithAttributes(r.with(keyToken.String(started.Term.Token.String()), keyPrevious.String(started.Previous))...),
	}
	if r.claim.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: r.claim}))
		r.claim = trace.SpanContext{}
	}
	_, r.term = r.tracer.Start(context.Background(), "incumbent.term", options...)
	if started.Previous != leaderelection.PreviousNone {
		r.handover.Record(context.Background(), started.SincePrevious.Seconds(),
			metric.WithAttributes(r.with(keyPrevious.String(started.Previous))...))
	}
}

func (r *recorder) termStopping(stopping leaderelection.TermStopping) {
	if r.term != nil {
		r.term.AddEvent("stopping", trace.WithTimestamp(stopping.At))
	}
}

func (r *recorder) termEnded(end leaderelection.TermEnded) {
	reason := keyReason.String(end.Reason())
	r.terms.Add(context.Background(), 1, metric.WithAttributes(r.with(reason)...))
	if !end.Overran {
		r.stop.Record(context.Background(), end.StopTook.Seconds(), metric.WithAttributes(r.lease...))
	}
	if r.term == nil {
		return // the report of the start was dropped
	}
	r.term.SetAttributes(reason, keyReleased.Bool(end.Released))
	switch {
	case end.Overran:
		r.term.SetStatus(codes.Error, leaderelection.ErrWorkStillRunning.Error())
	case !errors.Is(end.Cause, leaderelection.ErrCancelled) && !errors.Is(end.Cause, leaderelection.ErrSteppedDown):
		r.term.SetStatus(codes.Error, end.Cause.Error())
	}
	r.endSpan(end.At.Add(end.StopTook))
}

// endSpan ends the span of the term, if there is one.
func (r *recorder) endSpan(at time.Time) {
	if r.term != nil {
		r.term.End(trace.WithTimestamp(at))
		r.term = nil
	}
}
