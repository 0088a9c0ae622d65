package leaderelection

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// A Trace is told what an Elector does: metrics, health checks and the like are
// made of it, in packages of their own. Each function may be nil.
//
// All but Made are called one after the other, in the order in which things
// happened, by a goroutine that exists only while there is something to tell. It
// holds no lock of the Elector's, so they may ask it anything; and a function that
// is slow delays no term and no request, only what is told after it. What comes
// while a thousand calls wait is lost.
type Trace struct {
	// Made is called by New with the Elector that it returns.
	Made func(*Elector)
	// Request is called when a request was answered or given up.
	Request func(Request)
	// LeaderSeen is called when another holder was seen in the Lease, ourselves
	// included, and with an empty identity when it was seen to be free.
	LeaderSeen func(identity string, at time.Time)
	// Began is called when the work of a term begins.
	Began func(Beginning)
	// Ending is called when the work of a term is told to stop: leadership is over.
	Ending func(Ending)
	// Ended is called when the term is over, whether or not its work has stopped.
	Ended func(End)
}

// WithTrace tells trace what the Elector does, beside all others that were given.
// Default: none.
func WithTrace(trace Trace) Option {
	return func(o *options) { o.traces = append(o.traces, trace) }
}

// What a Request is for.
const (
	RequestClaim   = "claim"
	RequestRenew   = "renew"
	RequestRelease = "release"
	RequestRead    = "read"
	RequestHeir    = "heir" // to be entered as the heir
	RequestWatch   = "watch"
)

// A Request is one request for the Lease that was answered or given up. A watch
// is told of only when it could not be opened or failed.
type Request struct {
	// For says what it was for: RequestClaim and so on.
	For string
	// Sent is when it was sent, and Took how long the answer took; zero for a watch.
	Sent time.Time
	Took time.Duration
	// Err is what came of it, and Failure its kind in one word: "conflict" (somebody
	// else was faster), "forbidden", "unauthorized", "not_found" (the namespace is
	// missing), "refused_as_invalid", "throttled", "no_answer_in_time",
	// "no_connection", "server_error", "other", or "given_up" if the Elector needed
	// no answer any more. Empty for a success.
	Err     error
	Failure string
}

// A Beginning is the beginning of a term.
type Beginning struct {
	// Term is the one that begins, and At the time by this machine's clock.
	Term Term
	At   time.Time
	// After says what became of the last leader's claim: "released"; "expired",
	// when nobody renewed it; "deleted", with the Lease; "own", if it was an earlier
	// one of this Elector's; "none", if no leader was ever seen.
	After string
	// Vacant is how long before At this Elector saw the last leader's last write:
	// its release, its last renewal or the deletion. Zero after "none".
	Vacant time.Duration
}

// An Ending is the end of leadership, though the work may take time to stop.
type Ending struct {
	// Term is the one that ends, and At the time by this machine's clock.
	Term Term
	At   time.Time
	// Cause is one of the sentinels that the work's context.Cause gives.
	Cause error
}

// An End is the end of a term.
type End struct {
	Ending
	// StopTook is how long after Ending the work had returned, or was waited for.
	StopTook time.Duration
	// Overran is whether the work has not returned: Run returns ErrWorkStillRunning.
	Overran bool
	// Released is whether the Lease is known to have been given back.
	Released bool
}

// A teller tells traces what happens.
type teller struct {
	traces []Trace
	outbox outbox[func(Trace)]
}

func (t *teller) tell(f func(Trace)) {
	if len(t.traces) > 0 {
		t.outbox.put(f)
	}
}

// made is called once by New.
func (t *teller) made(e *Elector) {
	t.traces = e.options.traces
	t.outbox.deliver = func(f func(Trace)) {
		for _, trace := range t.traces {
			f(trace)
		}
	}
	for _, trace := range t.traces {
		if trace.Made != nil {
			trace.Made(e)
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
		if t.LeaderSeen != nil {
			t.LeaderSeen(identity, now)
		}
	})
}

// began tells of a term whose claim was made when the Lease was vacant.
func (e *Elector) began(term Term, v vacancy) {
	b := Beginning{Term: term, At: time.Now(), After: cmp.Or(v.after, "none")}
	if !v.since.IsZero() {
		b.Vacant = b.At.Sub(v.since)
	}
	e.teller.tell(func(t Trace) {
		if t.Began != nil {
			t.Began(b)
		}
	})
}

func (e *Elector) ending(w *work, cause error) {
	w.told = Ending{Term: w.term, At: time.Now(), Cause: cause}
	told := w.told
	e.teller.tell(func(t Trace) {
		if t.Ending != nil {
			t.Ending(told)
		}
	})
}

func (e *Elector) endedTerm(t *tenure, w *work, stopped bool) {
	end := End{Ending: w.told, StopTook: time.Since(w.told.At), Overran: !stopped, Released: t != nil && t.released}
	e.teller.tell(func(t Trace) {
		if t.Ended != nil {
			t.Ended(end)
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
		return vacancy{after: "none"}
	case v.lease == nil:
		return vacancy{"deleted", v.since}
	case v.holder() == "":
		return vacancy{"released", v.since}
	case own:
		return vacancy{"own", v.since}
	default:
		return vacancy{"expired", v.since}
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
		return "given_up"
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return "conflict"
	default:
		return strings.ReplaceAll(kindOf(err), " ", "_")
	}
}
