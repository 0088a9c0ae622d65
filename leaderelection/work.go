package leaderelection

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/go-logr/logr"
)

// A work is what the user's callbacks do in one term.
type work struct {
	term    Term
	log     *slog.Logger
	context context.Context
	cancel  context.CancelCauseFunc

	asked    chan struct{} // closed when StepDown was called
	ask      sync.Once
	returned chan struct{} // closed when OnStartedLeading has returned
	finished chan struct{} // closed when OnStoppedLeading has returned too
	over     chan struct{} // closed when the term is over, released or not
	err      error         // then: why it did not end as StepDown promises, or nil
	told     TermStopping  // once context is cancelled
	stopping chan struct{} // closed when OnStoppedLeading is called; only the elector's goroutine does that
}

// startWork begins the work of a term, unless its trust has already run out:
// the reply to a claim may be late. Without a Lease t is nil, and trust never
// runs out. The work's context keeps the values of ctx, not its end: the elector
// ends it, after IsLeader answers false.
func (e *Elector) startWork(ctx context.Context, term Term, t *tenure) *work {
	w := &work{
		term: term, log: e.log.With("term", term),
		asked: make(chan struct{}), returned: make(chan struct{}),
		finished: make(chan struct{}), over: make(chan struct{}), stopping: make(chan struct{}),
	}
	base := context.WithValue(context.WithoutCancel(ctx), termKey{}, w)
	w.context, w.cancel = context.WithCancelCause(logr.NewContextWithSlogLogger(base, e.logger.With("term", term)))

	e.mu.Lock()
	defer e.mu.Unlock()
	trust := &trust{window: forever}
	if t != nil {
		trust = e.trustIn(t)
	}
	if trust.remaining(time.Now()) <= 0 {
		e.loseLocked(ErrRenewalFailed)
	}
	if t != nil && t.cause != nil {
		return nil
	}
	e.work = w
	e.trust.Store(trust)
	e.signalLocked()
	w.log.Info("Became leader")
	e.began(term, e.writes.vacancy)
	e.tasks.detach(func() {
		defer close(w.returned)
		if e.callbacks.OnStartedLeading != nil {
			e.callbacks.OnStartedLeading(w.context)
		}
	})
	return w
}

// endWork tells the work to stop, once. IsLeader is false from here on.
func (e *Elector) endWork(cause error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.endWorkLocked(cause)
}

func (e *Elector) endWorkLocked(cause error) {
	w := e.work
	if w == nil || w.context.Err() != nil {
		return
	}
	e.trust.Store(nil)
	w.cancel(cause)
	e.ended = cause
	e.ending(w, cause)
	e.signalLocked()
	if isLoss(cause) {
		w.log.Warn("Lost leadership", "why", cause)
	} else {
		w.log.Info("Stopped leading", "why", cause)
	}
}

// callStopped calls OnStoppedLeading, once.
func (e *Elector) callStopped(w *work) {
	if isClosed(w.stopping) {
		return
	}
	close(w.stopping)
	e.tasks.detach(func() {
		defer close(w.finished)
		if e.callbacks.OnStoppedLeading != nil {
			e.callbacks.OnStoppedLeading()
		}
	})
}

// hasReturned reports whether nothing of the work runs any more.
func (w *work) hasReturned() bool {
	return isClosed(w.returned) && isClosed(w.finished)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// StepDown ends the term, whoever wants to lead next: the work is stopped, the
// Lease is released whatever ReleaseOnCancel says, and this elector follows
// until it has seen another leader or one LeaseDuration has passed. It cannot be
// undone: ctx bounds only how long StepDown waits for it.
//
// Called with the work's own context, or one derived from it, it does not wait,
// for the work could not return while it did; nor does it once OnStoppedLeading
// has been called, for that may be the caller. Called by OnStartedLeading with any
// other context it waits for itself.
//
// It returns ErrNotLeading if there is no term to end, ErrWorkStillRunning if the
// work did not stop in time, ErrNotReleased if it did and the Lease could not be
// released, and the cause of ctx if that ended first.
func (e *Elector) StepDown(ctx context.Context) error {
	e.mu.Lock()
	w := e.work
	e.mu.Unlock()
	if w == nil || isClosed(w.over) {
		return ErrNotLeading
	}
	mayBeTheWork := ctx.Value(termKey{}) == w || isClosed(w.stopping) // before the stop that is asked for here
	w.ask.Do(func() { close(w.asked) })
	if mayBeTheWork {
		return nil
	}
	select {
	case <-w.over:
		return w.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
