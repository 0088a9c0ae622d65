package leaderelection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/clock"
)

// lead runs one term, from the confirmed claim to the release or the loss of
// the Lease. If the election is not enabled, h and engine are nil.
func (e *Elector) lead(ctx context.Context, h *heldLease, engine *engine) error {
	var run *termRun
	if ctx.Err() == nil {
		run = e.startTerm(ctx, h)
	}
	if run == nil { // no work was started
		e.endHold(h, engine, e.config.ReleaseOnCancel, time.Now())
		return nil
	}
	trust := e.newTrustTimer(h)
	defer trust.stop()

	// Wait until the term must end.
	for working := true; working; {
		select {
		case <-ctx.Done():
			e.stopWork(ErrCancelled)
			working = false
		case <-run.stepDown:
			e.stopWork(ErrSteppedDown)
			working = false
		case <-h.lostChannel(): // loseLocked has stopped the work
			working = false
		case <-engine.stopped():
			e.lose(ErrRenewalFailed)
			working = false
		case <-trust.timer.C:
			trust.check()
		}
	}

	// Wait for the callbacks to return. The engine renews the Lease during this wait.
	// The wait ends after StopTimeout, or after stopTimeAfterLoss if the Lease is lost.
	var stopTimeout, othersMayClaim <-chan time.Time
	if e.config.StopTimeout > 0 {
		timer := time.NewTimer(e.config.StopTimeout)
		defer timer.Stop()
		stopTimeout = timer.C
	}
	workReturned, lost, engineStopped := run.returned, h.lostChannel(), engine.stopped()
	for waiting := true; waiting; {
		select {
		case <-workReturned:
			workReturned = nil
			e.callStopped(run)
		case <-run.finished:
			waiting = false
		case <-lost:
			timer := time.NewTimer(e.stopTimeAfterLoss(h))
			defer timer.Stop()
			lost, othersMayClaim = nil, timer.C
		case <-engineStopped:
			engineStopped = nil
			e.lose(ErrRenewalFailed)
		case <-trust.timer.C:
			trust.check()
		case <-stopTimeout:
			waiting = false
		case <-othersMayClaim:
			waiting = false
		}
	}

	// Release the Lease if the work has stopped and the Lease is still held.
	stopped, steppedDown := run.hasReturned(), isClosed(run.stepDown)
	if !stopped {
		e.log.Error("Callbacks did not return in time; exit the process (lease not released)", "term", run.term)
		e.callStopped(run)
		_ = clock.Sleep(context.Background(), run.finished, e.config.exitTime())
		e.lose(ErrWorkStillRunning)
	}
	if stopped && steppedDown {
		e.startCooldown()
	}
	e.endHold(h, engine, e.config.ReleaseOnCancel || steppedDown, run.stop.At)
	return e.endTerm(run, h, stopped)
}

// A termRun is one execution of the caller's callbacks, for one term.
type termRun struct {
	term    Term
	log     *slog.Logger
	context context.Context
	cancel  context.CancelCauseFunc

	stepDown     chan struct{} // closed when StepDown was called
	stepDownOnce sync.Once
	returned     chan struct{} // closed when OnStartedLeading has returned
	stopCalled   chan struct{} // closed just before OnStoppedLeading is called
	finished     chan struct{} // closed when OnStoppedLeading has returned
	over         chan struct{} // closed when the term is over, whether or not the Lease was released
	err          error         // the error that StepDown returns; set before over is closed
	stop         TermStopping  // set when context is cancelled
}

// hasReturned reports whether both callbacks have returned.
func (r *termRun) hasReturned() bool { return isClosed(r.returned) && isClosed(r.finished) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// startTerm starts the work of a term. It returns nil if the trust window has already
// ended. The work's context has the values of ctx, but is not cancelled when ctx is
// done. stopWorkLocked cancels the work's context. If the election is not
// enabled, h is nil and the trust window never ends.
func (e *Elector) startTerm(ctx context.Context, h *heldLease) *termRun {
	e.mu.Lock()
	defer e.unlock()
	trust := &clock.Trust{Window: clock.Forever}
	term := Term{Identity: e.config.Identity, Lease: e.config.leaseKey()}
	if h != nil {
		trust = e.trustOf(h)
		term.Token, term.AcquiredAt = h.token, h.Write.Sent.Time()
	} else {
		term.Token, term.AcquiredAt = Token(localTokens.Add(1)), time.Now()
	}
	if trust.Remaining(time.Now()) <= 0 {
		e.loseLocked(ErrRenewalFailed)
	}
	if h != nil && h.phase == phaseLost {
		return nil
	}
	run := &termRun{
		term: term, log: e.log.With("term", term),
		stepDown: make(chan struct{}), returned: make(chan struct{}), stopCalled: make(chan struct{}),
		finished: make(chan struct{}), over: make(chan struct{}),
	}
	base := context.WithValue(context.WithoutCancel(ctx), termKey{}, run)
	run.context, run.cancel = context.WithCancelCause(logr.NewContextWithSlogLogger(base, e.logger.With("term", term)))
	e.run = run
	e.trust.Store(trust)
	e.signalLocked()
	started := newTermStarted(term, e.writes.previous)
	e.afterUnlock(func() {
		run.log.Info("Became leader", clientGoText, "successfully acquired lease")
		e.tracer.started(started)
	})
	e.tasks.Detach(func() {
		defer close(run.returned)
		if e.callbacks.OnStartedLeading != nil {
			e.callbacks.OnStartedLeading(run.context)
		}
	})
	return run
}

// stopWork cancels the work's context. The Lease is still renewed.
func (e *Elector) stopWork(cause error) {
	e.mu.Lock()
	defer e.unlock()
	if e.held.isLive() {
		e.held.stop()
	}
	e.stopWorkLocked(cause)
}

// stopWorkLocked cancels the work's context and makes IsLeader return false. If the
// work's context is already cancelled, stopWorkLocked does nothing.
func (e *Elector) stopWorkLocked(cause error) {
	run := e.run
	if run == nil || run.context.Err() != nil {
		return
	}
	e.trust.Store(nil)
	run.cancel(cause)
	e.endCause = cause
	run.stop = TermStopping{Term: run.term, At: time.Now(), Cause: cause}
	stop := run.stop
	e.signalLocked()
	e.afterUnlock(func() {
		e.tracer.stopping(stop)
		if isLoss(cause) {
			run.log.Error("Lost leadership", "reason", cause, clientGoText, "failed to renew lease")
		} else {
			run.log.Info("Stopped leading", "reason", cause)
		}
	})
}

// isLoss reports whether leadership was lost. It returns false if Run was cancelled or
// StepDown was called.
func isLoss(cause error) bool {
	return !errors.Is(cause, ErrCancelled) && !errors.Is(cause, ErrSteppedDown)
}

// callStopped calls OnStoppedLeading. A second call for the same run does nothing.
func (e *Elector) callStopped(run *termRun) {
	if isClosed(run.stopCalled) {
		return
	}
	close(run.stopCalled)
	e.tasks.Detach(func() {
		defer close(run.finished)
		if e.callbacks.OnStoppedLeading != nil {
			e.callbacks.OnStoppedLeading()
		}
	})
}

// stopTimeAfterLoss returns how long the elector waits for the work to stop after the
// Lease was lost.
func (e *Elector) stopTimeAfterLoss(h *heldLease) time.Duration {
	e.mu.Lock()
	defer e.unlock()
	return e.config.stopTimeAfterLoss(h.TrustFrom.Age(time.Now()))
}

// startCooldown prevents this elector from claiming the Lease for one LeaseDuration
// after StepDown. If the Lease was lost, startCooldown does nothing.
func (e *Elector) startCooldown() {
	e.mu.Lock()
	defer e.unlock()
	if e.held == nil || e.held.phase != phaseLost {
		e.cooldownUntil = time.Now().Add(e.config.LeaseDuration)
	}
}

// endHold ends this elector's hold on the Lease. If release is true, endHold releases the
// Lease. If release is false, the Lease expires. asked is when this elector was asked to
// stop.
func (e *Elector) endHold(h *heldLease, engine *engine, release bool, asked time.Time) {
	if h == nil {
		return
	}
	if !release {
		e.lose(ErrCancelled)
	}
	e.giveUpHold(h, asked, engine.stop)
}

// giveUpHold ends this elector's hold on the Lease. It calls release, which releases the
// Lease unless the Lease is lost. StopTimeout, counted from the time asked, bounds the
// release, but at least one request is sent.
func (e *Elector) giveUpHold(h *heldLease, asked time.Time, release func()) {
	e.mu.Lock()
	h.allowRelease()
	if e.config.StopTimeout > 0 {
		h.releaseBy = later(asked.Add(e.config.StopTimeout), time.Now().Add(e.config.releaseTime()))
	}
	wanted := h.phase == phaseReleasable
	e.signalLocked() // a renewal must not wait for its reply any more
	e.unlock()
	e.campaignHeartbeat.Within(e.config.Window())
	release()
	clearEngineMetric(&e.config)
	e.mu.Lock()
	defer e.unlock()
	if wanted && h.phase != phaseReleased {
		token := h.token
		e.afterUnlock(func() { e.log.Error("Lease not released; candidates wait until it expires", "term", token) })
	}
	h.cancel()
	e.held = nil
	e.signalLocked()
}

// endTerm reports the end of a term, and returns the error that Run must return. The
// parameter stopped is true if the work has stopped.
func (e *Elector) endTerm(run *termRun, h *heldLease, stopped bool) error {
	e.mu.Lock()
	defer e.unlock()
	defer e.signalLocked()
	defer close(run.over)
	ended := TermEnded{TermStopping: run.stop, StopTook: time.Since(run.stop.At), Overran: !stopped, Released: h != nil && h.phase == phaseReleased}
	e.afterUnlock(func() { e.tracer.ended(ended) })
	if !stopped {
		run.err = fmt.Errorf("%w: it was asked to stop because %w; nothing was released: exit the process",
			ErrWorkStillRunning, context.Cause(run.context))
		return run.err
	}
	e.run = nil
	run.err = h.releaseError()
	return nil
}

// leadWithoutLease leads until ctx is done. After StepDown, it waits for one
// LeaseDuration before it leads again.
func (e *Elector) leadWithoutLease(ctx context.Context) error {
	e.log.Warn("Leader election is disabled; leading without a lease")
	e.observerHeartbeat.Clear()
	for ctx.Err() == nil {
		e.campaignHeartbeat.Clear() // the term has no deadline
		e.setLeader(&leader{identity: e.config.Identity})
		e.notifier.Offer(e.config.Identity)
		err := e.lead(ctx, nil, nil)
		e.setLeader(nil)
		if err != nil {
			return err
		}
		e.campaignHeartbeat.Within(e.config.LeaseDuration)
		_ = clock.Sleep(ctx, nil, e.config.LeaseDuration)
	}
	return nil
}

// setLeader stores the leader for GetLeader, if the election is not enabled.
func (e *Elector) setLeader(l *leader) {
	e.mu.Lock()
	defer e.unlock()
	e.leader.Store(l)
	e.signalLocked()
}

// A trustTimer ends the term when the trust window ends.
type trustTimer struct {
	elector *Elector
	held    *heldLease // nil if the election is not enabled
	timer   *time.Timer
}

func (e *Elector) newTrustTimer(h *heldLease) *trustTimer {
	t := &trustTimer{elector: e, held: h, timer: time.NewTimer(clock.Forever)}
	t.check()
	return t
}

func (t *trustTimer) stop() { t.timer.Stop() }

// check records that the Lease is lost if the trust window has ended. It also restarts
// the timer. A timer does not run while the machine sleeps. Therefore one timer for the
// whole trust window could fire too late, and this timer fires several times.
func (t *trustTimer) check() {
	if t.held == nil {
		return
	}
	e := t.elector
	e.mu.Lock()
	defer e.unlock()
	next := e.config.LeaseDuration
	if remaining := e.trustOf(t.held).Remaining(time.Now()); remaining > 0 {
		next = e.config.trustCheckInterval(remaining)
	} else {
		e.loseLocked(ErrRenewalFailed)
	}
	e.campaignHeartbeat.Within(next)
	t.timer.Reset(next)
}
