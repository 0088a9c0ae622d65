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

// An attempt is one try to claim the Lease and, if it succeeds, the renewals and the
// release that follow. It drives the engine: it sends what its hold may send, on the
// version that is held, and refuses the rest. One goroutine at a time uses it.
type attempt struct {
	elector  *Elector
	basis    *coordinationv1.Lease // the Lease to claim; nil: it does not exist
	decided  chan bool             // receives one value: whether the claim succeeded
	claimed  bool                  // the one claim was sent
	answerBy time.Time             // until then the engine waits for the write under way
	reported int64                 // renewTime of the last confirmed write that the engine knows
}

var _ engineDriver = (*attempt)(nil)

func newAttempt(e *Elector, basis *coordinationv1.Lease) *attempt {
	return &attempt{elector: e, basis: basis, decided: make(chan bool, 1)}
}

// current returns the Lease to claim, or the held one. The engine asks for the held one
// only after a renewal has failed. The attempt then finds out what became of it.
func (a *attempt) current(ctx context.Context) (*coordinationv1.Lease, string, error) {
	h := a.elector.holding()
	switch {
	case h == nil && a.claimed:
		return nil, "", errAttemptOver
	case h == nil:
		return a.basis, "", nil // the observer has decided that it may be claimed
	}
	lease, needsRead, err := a.heldRecord(h)
	if err == nil && needsRead {
		if err = a.readBack(ctx, h); err == nil {
			lease, _, err = a.heldRecord(h)
		}
	}
	return lease, a.elector.config.Identity, err
}

// heldRecord returns the held Lease. needsRead is false once the work has returned: the
// release that follows reads by itself.
func (a *attempt) heldRecord(h *heldLease) (lease *coordinationv1.Lease, needsRead bool, err error) {
	a.elector.mu.Lock()
	defer a.elector.unlock()
	if h.phase == phaseLost {
		return nil, false, errNotHeld
	}
	return h.Lease, h.phase == phaseHeld || h.phase == phaseStopping, nil
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

// claim sends the one claim of this attempt and decides whether it succeeded. A later
// reply is not wasted: the observer recognizes the record.
func (a *attempt) claim(basis *coordinationv1.Lease, create bool) (err error) {
	e := a.elector
	a.claimed = true
	e.mu.Lock()
	observed := &e.observed.state
	if w, ok := e.writes.unacknowledged.Find(e.config.Identity, observed.Lease); ok && w.Kind == leasestate.Claim && !e.isDoubtedLocked(w) && w.Sent.Age(time.Now()) < e.config.Window() {
		// An earlier claim has succeeded, as is known by now. It is not sent again.
		e.held = newHeldLease(w)
		e.winLocked(w, observed.Lease)
		a.reported = w.RenewTime
		e.unlock()
		a.decided <- true
		return nil
	}
	base := leasestate.Version(basis)
	if create {
		base = observed.Version // of the deletion, if one was observed
	}
	e.writes.previous = observed.PreviousOutcome(e.wroteLocked(basis))
	w := e.issueLocked(leasestate.Claim, base)
	e.held = newHeldLease(w)
	ctx := e.runCtx
	e.unlock()

	body := e.draft(w, time.UnixMicro(w.RenewTime), leasestate.NextTransitions(a.basis)).Apply(basis)
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
	a.decided <- won
	return err
}

// renew sends the next renewal when it is due, on the version that is held. It sends
// none if a write was confirmed since the engine last learned of a success, because the
// engine counts its deadline from there.
func (a *attempt) renew(ctx context.Context, h *heldLease) error {
	e := a.elector
	if a.hasConfirmation(h) {
		return nil
	}
	e.mu.Lock()
	renewAt := h.RenewAt(e.config.RetryPeriod)
	e.unlock()
	// The engine asks for a second write right after the claim. That one is the first
	// renewal.
	if err := wait(ctx, h, time.Until(renewAt)); err != nil {
		return err
	}
	e.mu.Lock()
	unversioned, unconfirmed := h.Version == 0, h.Write.Sent.Age(time.Now())
	e.unlock()
	a.answerBy = time.Now().Add(e.config.overlapTimeout(unconfirmed))
	if unversioned {
		// Without versions a write is never refused. Only a read finds another holder.
		if err := a.readBack(ctx, h); err != nil {
			return err
		}
	}
	e.mu.Lock()
	if h.phase == phaseLost {
		e.unlock()
		return errNotHeld
	}
	w := e.issueLocked(leasestate.Renewal, h.Version)
	base := h.Lease
	e.unlock()

	body := e.draft(w, acquireTime(base, w), leasestate.Transitions(base)).Apply(base)
	r := e.send(h.requests, w, body, false, e.config.Window())
	err := a.await(r, h, time.Until(a.answerBy), func() bool { return h.Write.RenewTime != a.reported })
	if a.hasConfirmation(h) {
		return nil
	}
	return err
}

// hasConfirmation reports whether a write was confirmed that the engine does not know
// of, and records that it knows of it now.
func (a *attempt) hasConfirmation(h *heldLease) bool {
	a.elector.mu.Lock()
	defer a.elector.unlock()
	confirmed := h.phase != phaseLost && h.Write.RenewTime != a.reported
	a.reported = h.Write.RenewTime
	return confirmed
}

// release releases the Lease after the work has returned. It retries while trust lasts:
// a refusal may be temporary, and a release whose reply was lost is confirmed by a read.
func (a *attempt) release(ctx context.Context, h *heldLease) error {
	e := a.elector
	for {
		r, trustedUntil, err := a.sendRelease(h)
		if err != nil || r == nil {
			return err
		}
		err = a.await(r, h, e.config.releaseStepTime(trustedUntil), func() bool { return h.phase == phaseReleased })
		if err == nil {
			e.log.Info("Released lease")
			return nil
		}
		e.log.Debug("Release failed; retrying", "err", err)
		a.answerBy = time.Now().Add(e.config.releaseStepTime(trustedUntil))
		if a.readBack(ctx, h) == nil && a.hasMoved(h, r.Base) {
			continue // the release was applied, or a renewal under way was applied first
		}
		if err := wait(ctx, h, e.config.releaseRetryDelay(trustedUntil)); err != nil {
			return err
		}
	}
}

// sendRelease sends one release on the version that is held, and returns when trust
// ends. It sends nothing if an earlier release has been applied.
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
	if trust <= 0 {
		return nil, time.Time{}, errNotReleased
	}
	w := e.issueLocked(leasestate.Release, h.Version)
	draft := leasestate.Draft{
		Seconds:     1,                       // client-go writes the same
		Acquired:    acquireTime(h.Lease, w), // the successor was nominated for this term
		Renewed:     time.UnixMicro(w.RenewTime),
		Transitions: leasestate.Transitions(h.Lease), Labels: e.options.labels,
	}
	h.releaseSent()
	return e.send(h.requests, w, draft.Apply(h.Lease), false, trust), time.Now().Add(trust), nil
}

// hasMoved reports whether the hold rests on another version than base, or is released.
func (a *attempt) hasMoved(h *heldLease, base uint64) bool {
	a.elector.mu.Lock()
	defer a.elector.unlock()
	return h.phase == phaseReleased || h.Version != base
}

// await waits for the answer to r, for at most timeout. It returns nil earlier if
// confirmed returns true, which is called with the Elector's mutex held: this write or
// a later one was applied. h may be nil.
func (a *attempt) await(r *request, h *heldLease, timeout time.Duration, confirmed func() bool) error {
	e := a.elector
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
			return errNoAnswer
		case <-changed:
		}
	}
}

// readBack finds out what became of a write. It ends when the engine should send the
// next one.
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

// wait waits for d. It returns errNotHeld if the Lease is lost first.
func wait(ctx context.Context, h *heldLease, d time.Duration) error {
	err := clock.Sleep(ctx, h.lost, d)
	if errors.Is(err, clock.ErrInterrupted) {
		return errNotHeld
	}
	return err
}
