package leaderelection

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/dispatch"
	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// A Trace is a set of functions that an Elector calls to report events. The packages
// metrics, health and status use Traces. Each function may be nil.
//
// All functions of one Trace, except RunStarted and RunEnded, are called one after the
// other, in the order of the events. They may call methods of the Elector. A slow function
// delays later reports to the same Trace. It does not delay other Traces, terms or
// requests. If 1000 reports to a Trace are waiting, new reports to it are dropped.
type Trace struct {
	// RunStarted is called by Run when it begins. RunEnded is called by Run when
	// everything has stopped, with the error that Run is about to return. Both functions
	// must not block, because Run waits for them. If a function of the Trace is slow, later
	// reports may arrive after RunEnded, because Run does not wait for them.
	RunStarted func()
	RunEnded   func(err error)
	// Request is called after a request was answered or cancelled.
	Request func(Request)
	// LeaderObserved is called when the holder of the Lease has changed. The new holder
	// may be this process. identity is "" if nobody holds the Lease.
	LeaderObserved func(identity string, at time.Time)
	// TermStarted is called when the work of a term starts.
	TermStarted func(TermStarted)
	// TermStopping is called when leadership has ended and the work's context was
	// cancelled.
	TermStopping func(TermStopping)
	// TermEnded is called when the term is over, whether or not its work has stopped.
	TermEnded func(TermEnded)
}

// WithTrace makes the Elector call the functions of trace. If New receives several of
// these options, the Elector uses all Traces. Default: none.
func WithTrace(trace Trace) Option {
	return WithTraceFor(func(*Elector) Trace { return trace })
}

// WithTraceFor makes New call newTrace with the Elector that New returns. The Elector
// uses the resulting Trace. Use WithTraceFor for an Option that is passed to several
// Electors, because each Elector then gets a Trace of its own. newTrace may call Config
// and APIServer. Default: none.
func WithTraceFor(newTrace func(*Elector) Trace) Option {
	return func(o *options) {
		if newTrace != nil {
			o.traces = append(o.traces, newTrace)
		}
	}
}

// These are the purposes of a Request.
const (
	RequestClaim    = "claim"
	RequestRenew    = "renew"
	RequestRelease  = "release"
	RequestRead     = "read"
	RequestNominate = "nominate" // a follower nominates itself as the successor
	RequestWatch    = "watch"
)

var requestNames = map[leasestate.WriteKind]string{
	leasestate.Claim: RequestClaim, leasestate.Renewal: RequestRenew, leasestate.Release: RequestRelease,
}

// FailureCanceled is the value of Request.Failure if the Elector cancelled the request.
const FailureCanceled = "canceled"

// A Request describes one request for the Lease that was answered or cancelled. A watch
// is reported only if it could not be opened or has failed.
type Request struct {
	// For is the purpose of the request: RequestClaim, RequestRenew and so on.
	For string
	// Sent is when the request was sent. Took is the time until the request was
	// answered or cancelled. Took is zero for a watch.
	Sent time.Time
	Took time.Duration
	// Err is the error of the request, nil for a success. Failure is the kind of the
	// error in one word: "conflict" (another write was applied first), "forbidden",
	// "unauthorized", "not_found" (the namespace is missing), "refused_as_invalid",
	// "throttled", "no_answer_in_time", "no_connection", "server_error", "other", or
	// FailureCanceled. Failure is empty for a success.
	Err     error
	Failure string
}

// failureOf returns the kind of err for the field Failure of a Request.
func failureOf(err error) string {
	switch {
	case errors.Is(err, context.Canceled):
		return FailureCanceled
	case err != nil && isConflict(err):
		return "conflict"
	default:
		return errorKind(err)
	}
}

// These are the values of TermStarted.Previous, which states how the previous term
// ended.
const (
	PreviousNone       = leasestate.PreviousNone       // "none": this Elector has observed no earlier leader
	PreviousReleased   = leasestate.PreviousReleased   // "released": nobody held the Lease
	PreviousExpired    = leasestate.PreviousExpired    // "expired": the Lease was not renewed in time
	PreviousTerminated = leasestate.PreviousTerminated // "terminated": the leader's container has terminated, see WithProofOfDeath
	PreviousDeleted    = leasestate.PreviousDeleted    // "deleted": the Lease was deleted
	PreviousOwn        = leasestate.PreviousOwn        // "own": the Lease was held through an earlier claim of this Elector
)

// A TermStarted reports that the work of a term starts.
type TermStarted struct {
	// Term is the term that starts. At is when it starts, according to this machine's
	// clock.
	Term Term
	At   time.Time
	// Previous states how the previous term ended: PreviousNone, PreviousReleased and
	// so on.
	Previous string
	// SincePrevious is the time since this Elector observed the last write of the
	// previous leader. This write is a release, a renewal or a deletion. SincePrevious
	// is zero if Previous is PreviousNone.
	SincePrevious time.Duration
}

// A TermStopping reports that leadership has ended. The work's context was cancelled,
// but the work may still run.
type TermStopping struct {
	// Term is the term that ends. At is when leadership ended, according to this
	// machine's clock.
	Term Term
	At   time.Time
	// Cause is the error that context.Cause returns for the work's context, such as
	// ErrCancelled.
	Cause error
}

// Reason returns the name of Cause, for a label of a metric or a trace: one of
// TermReasons, or "other".
func (s TermStopping) Reason() string {
	for _, reason := range termReasons {
		if errors.Is(s.Cause, reason.err) {
			return reason.name
		}
	}
	return "other"
}

// TermReasons returns the names of the errors that end a term, in the form of
// "renewal_failed".
func TermReasons() []string {
	names := make([]string, 0, len(termReasons))
	for _, reason := range termReasons {
		names = append(names, reason.name)
	}
	return names
}

// A TermEnded reports that a term is over. The work has stopped, or did not stop in
// time.
type TermEnded struct {
	TermStopping
	// StopTook is the time from TermStopping to the end of the term.
	StopTook time.Duration
	// Overran is true if the work did not stop in time. Run then returns
	// ErrWorkStillRunning.
	Overran bool
	// Released is true if the Lease is known to be released.
	Released bool
}

func newTermStarted(term Term, previous leasestate.PreviousOutcome) TermStarted {
	s := TermStarted{Term: term, At: time.Now(), Previous: cmp.Or(previous.Outcome, PreviousNone)}
	if !previous.Since.IsZero() {
		s.SincePrevious = s.At.Sub(previous.Since)
	}
	return s
}

// A tracer calls the Traces of an Elector, and the event recorder. Each of them has its
// own queue, because a slow Trace must not delay the others.
type tracer []traceQueue

func newTracer(e *Elector) tracer {
	var t tracer
	for _, newTrace := range e.options.traces {
		t = append(t, newTraceQueue(newTrace(e)))
	}
	if e.options.recorder != nil {
		events := eventRecorder{options: &e.options, config: &e.config, lease: e.observedLease}
		t = append(t, newTraceQueue(events.trace()))
	}
	return t
}

// runStarted calls the function RunStarted of each Trace, in the goroutine of Run.
func (t tracer) runStarted() {
	for _, q := range t {
		if q.trace.RunStarted != nil {
			q.trace.RunStarted()
		}
	}
}

// runEnded calls the function RunEnded of each Trace, in the goroutine of Run.
func (t tracer) runEnded(err error) {
	for _, q := range t {
		if q.trace.RunEnded != nil {
			q.trace.RunEnded(err)
		}
	}
}

func (t tracer) request(r Request) {
	t.report(func(trace Trace) {
		if trace.Request != nil {
			trace.Request(r)
		}
	})
}

func (t tracer) leaderObserved(identity string) {
	now := time.Now()
	t.report(func(trace Trace) {
		if trace.LeaderObserved != nil {
			trace.LeaderObserved(identity, now)
		}
	})
}

func (t tracer) started(s TermStarted) {
	t.report(func(trace Trace) {
		if trace.TermStarted != nil {
			trace.TermStarted(s)
		}
	})
}

func (t tracer) stopping(s TermStopping) {
	t.report(func(trace Trace) {
		if trace.TermStopping != nil {
			trace.TermStopping(s)
		}
	})
}

func (t tracer) ended(end TermEnded) {
	t.report(func(trace Trace) {
		if trace.TermEnded != nil {
			trace.TermEnded(end)
		}
	})
}

func (t tracer) report(f func(Trace)) {
	for _, q := range t {
		q.outbox.Put(f)
	}
}

// flush waits until all reports are delivered. It waits for no longer than timeout.
func (t tracer) flush(timeout time.Duration) {
	deadline := time.Now().Add(timeout)
	for _, q := range t {
		q.outbox.Flush(time.Until(deadline))
	}
}

// A traceQueue calls the functions of its Trace in the order of the events.
type traceQueue struct {
	trace  Trace
	outbox *dispatch.Outbox[func(Trace)]
}

func newTraceQueue(trace Trace) traceQueue {
	return traceQueue{trace, &dispatch.Outbox[func(Trace)]{Deliver: func(f func(Trace)) { f(trace) }}}
}
