package leaderelection

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// A teller tells traces what happens.
type teller struct {
	traces []Trace
	outbox outbox[func(Trace)]

	recorder       []Trace             // of the event recorder, if there is one
	recorderOutbox outbox[func(Trace)] // of its own: a recorder may block, and nobody thinks that it does
}

func (t *teller) tell(f func(Trace)) {
	if len(t.traces) > 0 {
		t.outbox.put(f)
	}
	if len(t.recorder) > 0 {
		t.recorderOutbox.put(f)
	}
}

// flush waits until everything is told, for at most timeout.
func (t *teller) flush(timeout time.Duration) {
	t.outbox.flush(timeout / 2)
	t.recorderOutbox.flush(timeout / 2)
}

// made is called once by New.
func (t *teller) made(e *Elector) {
	t.traces = e.options.traces
	if e.options.recorder != nil {
		t.recorder = []Trace{e.eventTrace()}
	}
	to := func(traces []Trace) func(func(Trace)) {
		return func(f func(Trace)) {
			for _, trace := range traces {
				f(trace)
			}
		}
	}
	t.outbox.deliver, t.recorderOutbox.deliver = to(t.traces), to(t.recorder)
	for _, trace := range slices.Concat(t.recorder, t.traces) {
		if trace.Created != nil {
			trace.Created(e)
		}
	}
}

// requested tells of a request that was sent at sent and has just ended with err;
// it also notes when the API server was last heard of.
func (e *Elector) requested(what string, sent time.Time, err error) {
	now := time.Now()
	if answersAboutLease(err) {
		e.contacted(now)
	}
	r := Request{For: what, Sent: sent, Took: now.Sub(sent), Err: err, Failure: failureOf(err)}
	if r.Failure == FailureCanceled && r.Took >= e.config.attemptTimeout() {
		r.Failure = failureOf(context.DeadlineExceeded) // the next one had been sent by then
	}
	e.teller.tell(func(t Trace) {
		if t.Request != nil {
			t.Request(r)
		}
	})
}

// watched tells of a watch that was opened or has ended, if it failed.
func (e *Elector) watched(open bool, err error) {
	if open || err == nil || errors.Is(err, errWatchEnded) || errors.Is(err, context.Canceled) {
		return
	}
	r := Request{For: RequestWatch, Sent: time.Now(), Err: err, Failure: failureOf(err)}
	e.teller.tell(func(t Trace) {
		if t.Request != nil {
			t.Request(r)
		}
	})
}

// contacted notes that the API server told something of the Lease.
func (e *Elector) contacted(at time.Time) { e.contact.Store(&at) }

func (e *Elector) seen(identity string) {
	now := time.Now()
	e.teller.tell(func(t Trace) {
		if t.LeaderObserved != nil {
			t.LeaderObserved(identity, now)
		}
	})
}

// began tells of a term whose claim was made when the Lease was vacant.
func (e *Elector) began(term Term, v vacancy) {
	b := TermStarted{Term: term, At: time.Now(), Previous: cmp.Or(v.after, PreviousNone)}
	if !v.since.IsZero() {
		b.SincePrevious = b.At.Sub(v.since)
	}
	e.teller.tell(func(t Trace) {
		if t.TermStarted != nil {
			t.TermStarted(b)
		}
	})
}

func (e *Elector) ending(w *work, cause error) {
	w.told = TermStopping{Term: w.term, At: time.Now(), Cause: cause}
	told := w.told
	e.teller.tell(func(t Trace) {
		if t.TermStopping != nil {
			t.TermStopping(told)
		}
	})
}

func (e *Elector) endedTerm(t *tenure, w *work, stopped bool) {
	end := TermEnded{TermStopping: w.told, StopTook: time.Since(w.told.At), Overran: !stopped, Released: t != nil && t.released}
	e.teller.tell(func(t Trace) {
		if t.TermEnded != nil {
			t.TermEnded(end)
		}
	})
}

// String is what a Request for such a write is for.
func (k writeKind) String() string {
	return [...]string{claiming: RequestClaim, renewing: RequestRenew, releasing: RequestRelease}[k]
}

// A vacancy is what became of the last leader's claim, as a candidate sees it
// when it makes its own.
type vacancy struct {
	after string
	since time.Time
}

func (v view) vacancy(own bool) vacancy {
	switch {
	case v.lease == nil && v.gone == nil:
		return vacancy{after: PreviousNone}
	case v.lease == nil:
		return vacancy{PreviousDeleted, v.since}
	case v.holder() == "":
		return vacancy{PreviousReleased, v.since}
	case own:
		return vacancy{PreviousOwn, v.since}
	default:
		return vacancy{PreviousExpired, v.since}
	}
}

// answersAboutLease reports whether whoever answered with err knows the Lease:
// the write or read was done, or somebody else was faster.
func answersAboutLease(err error) bool {
	return err == nil || apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err)
}

// failureOf is the kind of an error in one word, "" for none.
func failureOf(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, context.Canceled):
		return FailureCanceled
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return "conflict"
	default:
		return strings.ReplaceAll(kindOf(err), " ", "_")
	}
}
