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

// An attempt is one try to claim the Lease. If the claim succeeds, the attempt also
// sends the renewals and the release. An attempt is the driver of client-go's elector,
// which is called the engine. The attempt decides which requests of the engine are
// sent, and refuses the other requests. Only one goroutine at a time uses an attempt.
type attempt struct {
	elector  *Elector
	basis    *coordinationv1.Lease // the Lease to claim; nil if the Lease does not exist
	decided  chan bool             // receives one value, which reports whether the claim succeeded
	claimed  bool                  // true once this attempt has sent its claim
	answerBy time.Time             // until this time the engine waits for the answer to the latest write
	reported int64                 // renewTime of the last confirmed write that was reported to the engine
}

var _ engineDriver = (*attempt)(nil)

func newAttempt(e *Elector, basis *coordinationv1.Lease) *attempt {
	return &attempt{elector: e, basis: basis, decided: make(chan bool, 1)}
}

// The method current returns the Lease to claim before the claim, and the held Lease
// after a successful claim. The engine requests the held Lease only after a renewal has
// failed. Then current first reads the Lease to find out whether the renewal was
// applied.
func (a *attempt) current(ctx context.Context) (*coordinationv1.Lease, string, error) {
	h := a.elector.holding()
	switch {
	case h == nil && a.claimed:
		return nil, "", errAttemptOver
	case h == nil:
		return a.basis, "", nil // claimableAtLocked has decided that the Lease may be claimed
	}
	lease, needsRead, err := a.heldRecord(h)
	if err == nil && needsRead {
		if err = a.readBack(ctx, h); err == nil {
			lease, _, err = a.heldRecord(h)
		}
	}
	return lease, a.elector.config.Identity, err
}

// heldRecord returns the held Lease. needsRead is true if current must read the Lease
// first. needsRead is false once the work has returned, because release reads the Lease
// by itself.
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

// claim sends the claim of this attempt and reports on a.decided whether the claim
// succeeded. A reply that arrives after claim has returned still counts, because the
// observer recognizes a Lease that this elector wrote.
func (a *attempt) claim(basis *coordinationv1.Lease, create bool) (err error) {
	e := a.elector
	a.claimed = true
	e.mu.Lock()
	observed := &e.observed.state
	if w, ok := e.writes.unacknowledged.Find(e.config.Identity, observed.Lease); ok && w.Kind == leasestate.Claim && !e.isDoubtedLocked(w) && w.Sent.Age(time.Now()) < e.config.Window() {
		// The observations show that an earlier claim has succeeded. Do not send
		// another claim.
		e.held = newHeldLease(w)
		e.winLocked(w, observed.Lease)
		a.reported = w.RenewTime
		e.unlock()
		a.decided <- true
		return nil
	}
	base := leasestate.Version(basis)
	if create {
		base = observed.Version // the version of the deletion, if a deletion was observed
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

// renew waits until the next renewal is due, and then sends it. There is one exception.
// If a confirmed write was not yet reported to the engine, renew returns nil at once
// and sends nothing. The engine then counts its deadline from this return.
func (a *attempt) renew(ctx context.Context, h *heldLease) error {
	e := a.elector
	if a.hasConfirmation(h) {
		return nil
	}
	e.mu.Lock()
	renewAt := h.RenewAt(e.config.RetryPeriod)
	e.unlock()
	// The engine requests a renewal immediately after the claim. Wait until the renewal
	// is due.
	if err := wait(ctx, h, time.Until(renewAt)); err != nil {
		return err
	}
	e.mu.Lock()
	unversioned, unconfirmed := h.Version == 0, h.Write.Sent.Age(time.Now())
	e.unlock()
	a.answerBy = time.Now().Add(e.config.overlapTimeout(unconfirmed))
	if unversioned {
		// A server without resourceVersions does not refuse outdated writes. Therefore
		// read the Lease first, because another candidate may hold it.
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

// hasConfirmation reports whether the last confirmed write must still be reported to
// the engine. It also records this write as reported.
func (a *attempt) hasConfirmation(h *heldLease) bool {
	a.elector.mu.Lock()
	defer a.elector.unlock()
	confirmed := h.phase != phaseLost && h.Write.RenewTime != a.reported
	a.reported = h.Write.RenewTime
	return confirmed
}

// The method release releases the Lease after the work has returned. If a release
// fails, the method retries until the trust window ends. Before it retries, it reads
// the Lease, because the release may have been applied although the reply was lost.
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
			continue // a release was applied, or a renewal was applied before the release
		}
		if err := wait(ctx, h, e.config.releaseRetryDelay(trustedUntil)); err != nil {
			return err
		}
	}
}

// sendRelease sends one release, based on the held version. It returns the request and
// the end of the trust window. If an earlier release has been applied, it sends nothing
// and returns a nil request.
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
		Seconds:     1,                       // client-go also writes 1 when it releases a Lease
		Acquired:    acquireTime(h.Lease, w), // unchanged, because a nomination is valid only with this acquireTime
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

// await waits for the answer to r, for at most timeout. It returns nil as soon as
// confirmed returns true. confirmed is called with the Elector's mutex locked, and
// reports whether r or a later write was applied. h is nil for a claim.
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

// readBack reads the Lease to find out whether a write was applied. It stops waiting at
// a.answerBy, because the engine should then send another write.
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

// wait waits for d. It returns errNotHeld if the Lease is lost before d has passed.
func wait(ctx context.Context, h *heldLease, d time.Duration) error {
	err := clock.Sleep(ctx, h.lost, d)
	if errors.Is(err, clock.ErrInterrupted) {
		return errNotHeld
	}
	return err
}
