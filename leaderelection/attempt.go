package leaderelection

import (
	"context"
	"errors"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/clock"
	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// An attempt sends one claim. If the claim succeeds, the attempt also sends the
// renewals and the release. It is the driver of client-go's elector, which is called
// the engine. Only one goroutine at a time uses an attempt.
type attempt struct {
	elector   *Elector
	basis     *coordinationv1.Lease // the Lease to claim; nil if the Lease does not exist
	stopped   <-chan struct{}       // closed when Run was cancelled; nil if there is no claim to wait for
	decided   chan bool             // receives one value, which reports whether the claim succeeded
	claimed   bool                  // true if the claim was sent
	answerBy  time.Time             // when the engine stops waiting for the reply to the latest write
	pause     time.Duration         // how long the server asked the client to wait before the next claim
	retryAt   time.Time             // the next renewal based on retryBase is not sent before this time
	retryBase uint64                // the version that the last renewal was based on
	reported  int64                 // renewTime of the last confirmed write that was reported to the engine
}

var _ engineDriver = (*attempt)(nil)

func newAttempt(e *Elector, basis *coordinationv1.Lease, stopped <-chan struct{}) *attempt {
	return &attempt{elector: e, basis: basis, stopped: stopped, decided: make(chan bool, 1)}
}

// current returns the Lease that the next write is based on. Before the
// claim, this is the Lease to claim. After a successful claim, this is the held Lease.
func (a *attempt) current(context.Context) (*coordinationv1.Lease, string, error) {
	e := a.elector
	e.mu.Lock()
	defer e.unlock()
	switch h := e.held; {
	case h.isConfirmed() && h.phase == phaseLost:
		return nil, "", errNotHeld
	case h.isConfirmed():
		return h.Lease, e.config.Identity, nil
	case a.claimed:
		return nil, "", errAttemptOver
	default:
		return a.basis, "", nil // claimableAtLocked allows the claim
	}
}

func (a *attempt) create() error {
	if a.elector.holding() != nil || a.claimed || a.basis != nil {
		return errAttemptOver
	}
	return a.claim(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
		Name: a.elector.config.LeaseName, Namespace: a.elector.config.LeaseNamespace,
	}}, true)
}

func (a *attempt) update(ctx context.Context, release bool) error {
	h := a.elector.holding()
	switch {
	case h == nil && (a.claimed || a.basis == nil):
		return errAttemptOver
	case h == nil:
		return a.claim(a.basis, false)
	case release:
		return a.release(ctx, h)
	default:
		return a.renew(ctx, h)
	}
}

// claim claims the Lease. It sends true to a.decided if the claim has
// succeeded, and false if the claim has failed or was not answered in time.
func (a *attempt) claim(basis *coordinationv1.Lease, create bool) (err error) {
	e := a.elector
	a.claimed = true
	e.mu.Lock()
	observed := &e.observed.state
	if w, ok := e.appliedClaimLocked(); ok {
		// An earlier claim has succeeded. Do not send another claim.
		e.held = newHeldLease(w)
		e.winLocked(w, observed.Lease)
		a.reported = w.RenewTime
		e.unlock()
		a.decided <- true
		return nil
	}
	base := leasestate.Version(basis)
	if create {
		base = observed.Version // nonzero if a deletion was observed
	}
	terminated := e.proof.Covers(basis) && !e.wroteLocked(basis)
	e.writes.previous = observed.PreviousOutcome(e.wroteLocked(basis), terminated)
	w := e.issueLocked(leasestate.Claim, base, create)
	e.held = newHeldLease(w)
	ctx := e.runCtx
	e.unlock()

	draft := e.draft(w, time.UnixMicro(w.RenewTime), leasestate.NextTransitions(a.basis))
	draft.Terminated = terminated
	body := draft.Apply(basis)
	r := e.send(ctx, w, body, create, e.config.Window())
	err = a.await(r, nil, e.config.attemptTimeout(), func() bool { return e.held.isConfirmed() })

	e.mu.Lock()
	defer e.unlock()
	won := e.held.isConfirmed()
	if won {
		a.reported, err = e.held.Write.RenewTime, nil
	} else {
		e.held = nil
	}
	if isClosed(r.done) {
		a.pause = min(retryAfter(r.err), e.config.LeaseDuration)
	}
	a.decided <- won
	return err
}

// renew waits until the next renewal is due, and then sends this renewal.
// There is one exception. If the engine was not yet informed of the last confirmed
// write, renew returns nil at once.
func (a *attempt) renew(ctx context.Context, h *heldLease) error {
	e := a.elector
	if confirmed, err := a.awaitDue(ctx, h); confirmed || err != nil {
		return err
	}
	e.mu.Lock()
	a.retryBase = h.Version
	unversioned, unconfirmed := h.Version == 0, h.Write.Sent.Age(time.Now())
	e.unlock()
	a.retryAt = time.Now().Add(e.config.attemptTimeout())
	a.answerBy = time.Now().Add(e.config.overlapTimeout(unconfirmed))
	if unversioned {
		// A server without resourceVersions does not refuse outdated writes. First read
		// the Lease to learn whether another candidate holds the Lease.
		if err := a.readBack(ctx, h); err != nil {
			return err
		}
	}
	e.mu.Lock()
	if h.phase == phaseLost {
		e.unlock()
		return errNotHeld
	}
	w := e.issueLocked(leasestate.Renewal, h.Version, false)
	base := h.Lease
	e.unlock()

	body := e.draft(w, acquireTime(base, w), leasestate.Transitions(base)).Apply(base)
	r := e.send(h.requests, w, body, false, e.config.Window())
	// Do not wait for a request that can no longer succeed, or after the work has returned.
	over := func() bool { return h.Version != r.Base || h.phase == phaseReleasable }
	err := a.await(r, h, time.Until(a.answerBy), over)
	if a.hasConfirmation(h) {
		return nil
	}
	if err == nil {
		return errUnconfirmed
	}
	if isClosed(r.done) {
		a.retryAt = later(a.retryAt, time.Now().Add(e.config.refusalPause(retryAfter(r.err), e.HeldFor())))
	}
	e.tasks.Run(func() { _, _ = e.read(h.requests, e.readTimeout()) }) // shows whether the renewal was applied
	return err
}

// awaitDue waits until the next renewal is due: one RetryPeriod after the last
// confirmed write was sent, and one attemptTimeout after the last attempt that was
// based on the same version. If a write is confirmed of which the engine was not yet
// informed, awaitDue returns true at once.
func (a *attempt) awaitDue(ctx context.Context, h *heldLease) (confirmed bool, err error) {
	e := a.elector
	for {
		if a.hasConfirmation(h) {
			return true, nil
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		e.mu.Lock()
		due, changed := h.RenewAt(e.config.RetryPeriod), e.changed
		if h.Version == a.retryBase { // otherwise the last attempt can no longer succeed
			due = later(due, a.retryAt)
		}
		e.unlock()
		if isClosed(h.lost) {
			// The engine asks again at once. Do not let it run in a busy loop.
			_ = clock.Sleep(ctx, nil, e.config.attemptTimeout())
			return false, errNotHeld
		}
		delay := time.Until(due)
		if delay <= 0 {
			return false, nil
		}
		if err := clock.Sleep(ctx, changed, delay); err != nil && ctx.Err() != nil {
			return false, err
		}
	}
}

// hasConfirmation reports whether a write was confirmed of which the engine was not yet
// informed. The engine is considered informed after this call.
func (a *attempt) hasConfirmation(h *heldLease) bool {
	a.elector.mu.Lock()
	defer a.elector.unlock()
	confirmed := h.phase != phaseLost && h.Write.RenewTime != a.reported
	a.reported = h.Write.RenewTime
	return confirmed
}

// release releases the Lease after the work has returned. If a request
// fails, the method reads the Lease to learn whether the release was applied. If it was
// not applied, the method retries until the trust window ends. A refusal that another
// try does not change is retried once. Examples are a missing right, and a conflict
// although the Lease has not changed.
func (a *attempt) release(ctx context.Context, h *heldLease) error {
	e, refusals := a.elector, 0
	for {
		r, trustedUntil, err := a.sendRelease(h)
		if err != nil {
			return err
		}
		if r == nil {
			e.log.Info("Released lease")
			return nil
		}
		moved := func() bool { return h.phase == phaseReleased || h.Version != r.Base }
		if err = a.await(r, h, e.config.releaseStepTime(trustedUntil), moved); err == nil {
			continue // the Lease is released, or a renewal was applied before the release
		}
		e.log.Debug("Release failed; retrying", "err", err)
		a.answerBy = time.Now().Add(e.config.releaseStepTime(trustedUntil))
		readErr := a.readBack(ctx, h)
		if readErr == nil && a.hasMoved(h, r.Base) {
			continue
		}
		if isClosed(r.done) && (isPermanent(r.err) || readErr == nil && isConflict(r.err)) {
			if refusals++; refusals > 1 {
				return err
			}
		}
		if err := wait(ctx, h, e.config.releaseRetryDelay(trustedUntil)); err != nil {
			return err
		}
	}
}

// sendRelease sends one release. It returns the request, and the time at which the
// elector stops trying. If the Lease is already released, it sends nothing and returns
// a nil request.
func (a *attempt) sendRelease(h *heldLease) (r *request, trustedUntil time.Time, err error) {
	e := a.elector
	e.mu.Lock()
	defer e.unlock()
	switch h.phase {
	case phaseReleased:
		return nil, time.Time{}, nil
	case phaseLost:
		return nil, time.Time{}, errNotHeld
	case phaseReleasable, phaseReleasing:
	default:
		return nil, time.Time{}, errNotYet
	}
	trust := e.trustOf(h).Remaining(time.Now())
	if !h.releaseBy.IsZero() {
		trust = min(trust, time.Until(h.releaseBy))
	}
	if trust <= 0 {
		return nil, time.Time{}, errNotReleased
	}
	w := e.issueLocked(leasestate.Release, h.Version, false)
	draft := leasestate.Draft{
		Seconds:     1,                       // as in a release by client-go
		Acquired:    acquireTime(h.Lease, w), // keeps the nomination valid
		Renewed:     time.UnixMicro(w.RenewTime),
		Transitions: leasestate.Transitions(h.Lease), Labels: e.options.labels,
	}
	h.releaseSent()
	return e.send(h.requests, w, draft.Apply(h.Lease), false, trust), time.Now().Add(trust), nil
}

// hasMoved reports whether the held version differs from base, or whether the Lease was
// released.
func (a *attempt) hasMoved(h *heldLease, base uint64) bool {
	a.elector.mu.Lock()
	defer a.elector.unlock()
	return h.phase == phaseReleased || h.Version != base
}

// await waits for the reply to r, for at most timeout. It returns nil as soon as the
// function confirmed returns true. This function is called with the Elector's mutex
// locked. h is nil for a claim.
func (a *attempt) await(r *request, h *heldLease, timeout time.Duration, confirmed func() bool) error {
	e, stopped := a.elector, a.stopped
	if h != nil {
		stopped = nil // the Lease is renewed until the work has stopped
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		e.mu.Lock()
		changed, done := e.changed, confirmed()
		e.unlock()
		if done {
			return nil
		}
		select {
		case <-r.done:
			return opaque(r.err)
		case <-h.lostChannel():
			return errNotHeld
		case <-timer.C:
			delay := time.Until(r.backoff.mayOverlapAt(time.Now(), e.config.attemptTimeout(), e.config.longestBackoff()))
			if delay <= 0 {
				return errNoAnswer
			}
			timer.Reset(delay) // the server has asked the client to wait
		case <-stopped:
			return errNoAnswer
		case <-changed:
		}
	}
}

// readBack reads the Lease to learn whether a write was applied. It stops waiting at
// the time a.answerBy.
func (a *attempt) readBack(ctx context.Context, h *heldLease) error {
	e := a.elector
	read := make(chan error, 1)
	e.tasks.Run(func() {
		_, err := e.read(h.requests, e.readTimeout())
		read <- err
	})
	timer := time.NewTimer(time.Until(a.answerBy))
	defer timer.Stop()
	select {
	case err := <-read:
		return opaque(err)
	case <-h.lost:
		return errNotHeld
	case <-timer.C:
		return errUnconfirmed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wait waits for the duration d. It returns errNotHeld if the Lease is
// lost during the wait.
func wait(ctx context.Context, h *heldLease, d time.Duration) error {
	err := clock.Sleep(ctx, h.lost, d)
	if errors.Is(err, clock.ErrInterrupted) {
		return errNotHeld
	}
	return err
}
