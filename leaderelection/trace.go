package leaderelection

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/dispatch"
	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// A Trace receives reports of what an Elector does. The packages metrics, health and
// status are built on it. Each function may be nil.
//
// All functions but Created are called one after the other, in the order in which things
// happened, by a goroutine that exists only while there is something to report. It holds
// no lock of the Elector, so the functions may call the Elector. A slow function delays
// no term and no request, only the reports after it. While a thousand reports wait, new
// ones are dropped.
type Trace struct {
	// Created is called by New with the Elector that it returns.
	Created func(*Elector)
	// Request is called when a request was answered or cancelled.
	Request func(Request)
	// LeaderObserved is called when the holder in the Lease has changed, this process
	// included. identity is empty if the Lease is free.
	LeaderObserved func(identity string, at time.Time)
	// TermStarted is called when the work of a term starts.
	TermStarted func(TermStarted)
	// TermStopping is called when the work of a term is asked to stop: leadership is
	// over.
	TermStopping func(TermStopping)
	// TermEnded is called when the term is over, whether or not its work has stopped.
	TermEnded func(TermEnded)
}

// WithTrace adds a Trace. Default: none.
func WithTrace(trace Trace) Option {
	return func(o *options) { o.traces = append(o.traces, trace) }
}

// The purposes of a Request.
const (
	RequestClaim    = "claim"
	RequestRenew    = "renew"
	RequestRelease  = "release"
	RequestRead     = "read"
	RequestNominate = "nominate" // a follower nominates itself as successor
	RequestWatch    = "watch"
)

var requestNames = map[leasestate.WriteKind]string{
	leasestate.Claim: RequestClaim, leasestate.Renewal: RequestRenew, leasestate.Release: RequestRelease,
}

// FailureCanceled is the Failure of a Request whose answer was not needed any more.
const FailureCanceled = "canceled"

// A Request is one request for the Lease that was answered or cancelled. A watch is
// reported only when it could not be opened or has failed.
type Request struct {
	// For is the purpose: RequestClaim and so on.
	For string
	// Sent is when the request was sent, and Took how long the answer took. Took is zero
	// for a watch.
	Sent time.Time
	Took time.Duration
	// Err is the result. Failure is its kind in one word: "conflict" (another write came
	// first), "forbidden", "unauthorized", "not_found" (the namespace is missing),
	// "refused_as_invalid", "throttled", "no_answer_in_time", "no_connection",
	// "server_error", "other", or FailureCanceled. It is empty for a success.
	Err     error
	Failure string
}

// failureOf returns the Failure of err.
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

// The outcomes of the previous term, as the next leader observed them.
const (
	PreviousNone     = leasestate.PreviousNone     // "none": no leader was ever observed
	PreviousReleased = leasestate.PreviousReleased // "released": the Lease was free
	PreviousExpired  = leasestate.PreviousExpired  // "expired": the Lease was not renewed
	PreviousDeleted  = leasestate.PreviousDeleted  // "deleted": the Lease was deleted
	PreviousOwn      = leasestate.PreviousOwn      // "own": it was an earlier claim of this Elector
)

// A TermStarted is the start of a term.
type TermStarted struct {
	// Term is the term that starts. At is the time by this machine's clock.
	Term Term
	At   time.Time
	// Previous is the outcome of the previous term: PreviousReleased and so on.
	Previous string
	// SincePrevious is the time since this Elector observed the last write of the
	// previous leader: its release, its last renewal or the deletion. It is zero after
	// PreviousNone.
	SincePrevious time.Duration
}

// A TermStopping is the end of leadership. The work may take time to stop.
type TermStopping struct {
	// Term is the term that ends. At is the time by this machine's clock.
	Term Term
	At   time.Time
	// Cause is the sentinel that context.Cause of the work's context returns.
	Cause error
}

// A TermEnded is the end of a term.
type TermEnded struct {
	TermStopping
	// StopTook is the time from TermStopping until the work had returned or was no
	// longer awaited.
	StopTook time.Duration
	// Overran is whether the work has not returned. Run then returns
	// ErrWorkStillRunning.
	Overran bool
	// Released is whether the Lease is known to be released.
	Released bool
}

func newTermStarted(term Term, previous leasestate.PreviousOutcome) TermStarted {
	s := TermStarted{Term: term, At: time.Now(), Previous: cmp.Or(previous.Outcome, PreviousNone)}
	if !previous.Since.IsZero() {
		s.SincePrevious = s.At.Sub(previous.Since)
	}
	return s
}

// A tracer is the trace dispatcher. The event recorder has a queue of its own, because
// it may block and callers do not expect that.
type tracer struct {
	user   traceQueue
	events traceQueue
}

// newTracer returns the tracer of e.
func newTracer(e *Elector) tracer {
	t := tracer{user: newTraceQueue(e.options.traces)}
	if e.options.recorder != nil {
		events := eventRecorder{options: &e.options, config: &e.config, lease: e.observedLease}
		t.events = newTraceQueue([]Trace{events.trace()})
	}
	return t
}

// created calls Created at once, in the goroutine of New.
func (t *tracer) created(e *Elector) {
	for _, trace := range t.user.traces {
		if trace.Created != nil {
			trace.Created(e)
		}
	}
}

func (t *tracer) request(r Request) {
	t.report(func(trace Trace) {
		if trace.Request != nil {
			trace.Request(r)
		}
	})
}

func (t *tracer) leaderObserved(identity string) {
	now := time.Now()
	t.report(func(trace Trace) {
		if trace.LeaderObserved != nil {
			trace.LeaderObserved(identity, now)
		}
	})
}

func (t *tracer) started(s TermStarted) {
	t.report(func(trace Trace) {
		if trace.TermStarted != nil {
			trace.TermStarted(s)
		}
	})
}

func (t *tracer) stopping(s TermStopping) {
	t.report(func(trace Trace) {
		if trace.TermStopping != nil {
			trace.TermStopping(s)
		}
	})
}

func (t *tracer) ended(end TermEnded) {
	t.report(func(trace Trace) {
		if trace.TermEnded != nil {
			trace.TermEnded(end)
		}
	})
}

func (t *tracer) report(f func(Trace)) {
	t.user.put(f)
	t.events.put(f)
}

// flush waits until everything is reported, for at most timeout in each queue.
func (t *tracer) flush(timeout time.Duration) {
	t.user.flush(timeout)
	t.events.flush(timeout)
}

// A traceQueue calls traces in order. The zero traceQueue has none.
type traceQueue struct {
	traces []Trace
	outbox *dispatch.Outbox[func(Trace)]
}

func newTraceQueue(traces []Trace) traceQueue {
	return traceQueue{traces, &dispatch.Outbox[func(Trace)]{Deliver: func(f func(Trace)) {
		for _, trace := range traces {
			f(trace)
		}
	}}}
}

func (q traceQueue) put(f func(Trace)) {
	if len(q.traces) > 0 {
		q.outbox.Put(f)
	}
}

func (q traceQueue) flush(timeout time.Duration) {
	if len(q.traces) > 0 {
		q.outbox.Flush(timeout)
	}
}
