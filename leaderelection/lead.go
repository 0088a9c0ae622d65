package leaderelection

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// lead runs one term, from the proof that the Lease is ours to the moment at
// which it is released or lost. Its order is the only one there is: tell, cancel,
// wait, release. Without a Lease t and engine are nil.
func (e *Elector) lead(ctx context.Context, t *tenure, engine *engine) error {
	var w *work
	if ctx.Err() == nil {
		w = e.startWork(ctx, e.newTerm(t), t)
	}
	stopped := true
	if w != nil {
		e.supervise(ctx, t, engine, w)
		stopped = e.awaitWork(t, engine, w)
	}
	e.settleTenure(t, engine, w, stopped)
	if w == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	defer e.signalLocked()
	defer close(w.over)
	e.endedTerm(t, w, stopped)
	if !stopped {
		w.err = fmt.Errorf("%w: it was asked to stop because %w; nothing was released: exit the process",
			ErrWorkStillRunning, context.Cause(w.context))
		return w.err
	}
	e.work = nil
	w.err = t.releaseError()
	return nil
}

// releaseError says why a tenure that is over was not given back, nil if it was,
// or if it was not ours any more.
func (t *tenure) releaseError() error {
	switch {
	case t == nil || t.released || errors.Is(t.cause, ErrOvertaken) || errors.Is(t.cause, ErrLeaseDeleted):
		return nil
	case t.cause != nil:
		return fmt.Errorf("%w before this: %w", ErrNotReleased, t.cause)
	default:
		return fmt.Errorf("%w: others wait until it runs out", ErrNotReleased)
	}
}

// newTerm describes the term that begins with t.
func (e *Elector) newTerm(t *tenure) Term {
	term := Term{Identity: e.config.Identity, Lease: e.config.leaseKey()}
	if t == nil {
		term.Token, term.AcquiredAt = Token(localTokens.Add(1)), time.Now()
		return term
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	term.Token, term.AcquiredAt = t.token, t.write.sent.at
	return term
}

// supervise returns when the term must end, having told the work.
func (e *Elector) supervise(ctx context.Context, t *tenure, engine *engine, w *work) {
	watchdog := e.newWatchdog(t)
	defer watchdog.stop()
	for {
		select {
		case <-ctx.Done():
			e.endWork(ErrCancelled)
			return
		case <-w.asked:
			e.endWork(ErrSteppedDown)
			return
		case <-t.gone():
			return // the work was told when it was lost
		case <-engine.gone():
			e.lose(ErrRenewalFailed)
			return
		case <-watchdog.timer.C:
			watchdog.look()
		}
	}
}

// awaitWork waits until the work has returned, while the Lease goes on being
// renewed, and reports whether it did in time: before StopTimeout and, if the
// Lease is lost meanwhile, before others may claim it.
func (e *Elector) awaitWork(t *tenure, engine *engine, w *work) bool {
	watchdog := e.newWatchdog(t)
	defer watchdog.stop()
	var patience, tooLate <-chan time.Time
	if e.config.StopTimeout > 0 {
		timer := time.NewTimer(e.config.StopTimeout)
		defer timer.Stop()
		patience = timer.C
	}
	returned, lost, gone := w.returned, t.gone(), engine.gone()
	for {
		select {
		case <-returned:
			returned = nil
			e.callStopped(w)
		case <-w.finished:
			return true
		case <-lost:
			timer := time.NewTimer(e.afterLoss(t))
			defer timer.Stop()
			lost, tooLate = nil, timer.C
		case <-gone:
			gone = nil
			e.lose(ErrRenewalFailed)
		case <-watchdog.timer.C:
			watchdog.look()
		case <-patience:
			return w.hasReturned()
		case <-tooLate:
			return w.hasReturned()
		}
	}
}

// afterLoss is how long the work may take to stop after the Lease was lost: until
// shortly before others may claim it, one LeaseDuration after the last renewal
// was sent; a tenth of Margin is left for the process to exit. Where that is past
// already, or another holder sits there, it is never more than Margin, and never
// less than half of it: a process that was frozen needs a moment to see that it
// is over.
func (e *Elector) afterLoss(t *tenure) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	margin := e.config.Margin()
	left := e.config.LeaseDuration - margin/10 - t.write.sent.age(time.Now())
	return min(max(left, margin/2), margin)
}

// settleTenure is the end of a term: the Lease is released if the work has
// stopped and the Lease is still ours, or else left as it is.
func (e *Elector) settleTenure(t *tenure, engine *engine, w *work, stopped bool) {
	steppedDown := w != nil && isClosed(w.asked)
	if !stopped {
		e.log.Error("Callbacks did not return in time; exit the process (lease not released)", "term", w.term)
		e.callStopped(w)
		_ = pause(context.Background(), w.finished, e.config.Margin()/20) // others may claim soon
	}
	e.mu.Lock()
	if steppedDown && stopped && (t == nil || t.cause == nil) { // else another one leads already
		e.rested = time.Now().Add(e.config.LeaseDuration)
	}
	switch {
	case t == nil:
	case !stopped:
		e.loseLocked(ErrWorkStillRunning)
	case e.config.ReleaseOnCancel || steppedDown:
		t.yielding = t.cause == nil
	default:
		e.loseLocked(ErrCancelled)
	}
	e.mu.Unlock()
	if t != nil {
		e.leaveTenure(t, engine.end)
	}
}

// leaveTenure ends a tenure: release is what releases the Lease if it yields.
func (e *Elector) leaveTenure(t *tenure, release func()) {
	e.turning.within(e.config.Window())
	release()
	_, _ = e.newEngine(e.newLock(nil)) // client-go's metric says from now on that we do not lead
	e.mu.Lock()
	defer e.mu.Unlock()
	if t.yielding && !t.released {
		e.log.Warn("Lease not released; candidates wait until it expires", "term", t.token)
	}
	t.cancel()
	e.tenure = nil
	e.signalLocked()
}

// leadWithoutLease leads until ctx is done. After StepDown it rests as long as it
// would with a Lease that nobody else wants.
func (e *Elector) leadWithoutLease(ctx context.Context) error {
	e.log.Warn("Leader election is disabled; leading without a lease")
	e.looking.rest() // nothing is looked at
	for ctx.Err() == nil {
		e.turning.rest() // what is waited for has no limit
		e.leader.Store(&leader{identity: e.config.Identity})
		e.notifier.offer(e.config.Identity)
		err := e.lead(ctx, nil, nil)
		e.leader.Store(nil)
		if err != nil {
			return err
		}
		e.turning.within(e.config.LeaseDuration)
		_ = pause(ctx, nil, e.config.LeaseDuration)
	}
	return nil
}

// A watchdog looks whether trust has run out. It waits for no request.
type watchdog struct {
	timer *time.Timer
	check func() time.Duration
}

func (e *Elector) newWatchdog(t *tenure) *watchdog {
	if t == nil {
		return &watchdog{timer: time.NewTimer(forever), check: func() time.Duration { return forever }}
	}
	d := &watchdog{timer: time.NewTimer(forever), check: func() time.Duration { return e.checkTrust(t) }}
	d.look()
	return d
}

func (d *watchdog) look() { d.timer.Reset(d.check()) }
func (d *watchdog) stop() { d.timer.Stop() }

// gone is closed when the Lease is lost; never without a Lease.
func (t *tenure) gone() <-chan struct{} {
	if t == nil {
		return nil
	}
	return t.lost
}

// isLoss reports whether a term that ended for cause was lost.
func isLoss(cause error) bool {
	return !errors.Is(cause, ErrCancelled) && !errors.Is(cause, ErrSteppedDown)
}
