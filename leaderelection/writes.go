package leaderelection

import (
	"context"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/clock"
	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// The writes of an elector are what it knows of its own requests.
type writes struct {
	unacknowledged leasestate.Writes
	confirmed      int64   // renewTime of the last confirmed write, in microseconds
	last           int64   // the last renewTime that was issued, in microseconds
	issued         []int64 // the last renewTimes that were issued, whatever became of the writes
	refused        refusal
	previous       leasestate.PreviousOutcome // how the previous term ended, as the claim under way found it
}

// maxIssued is the number of renewTimes that an elector remembers: those of two
// minutes, with a renewal every two seconds.
const maxIssued = 64

// A refusal is the last write that the server refused because another write came first.
type refusal struct {
	base uint64 // the version that the write was based on
	seq  uint64 // when the refusal arrived
}

// A request is a write under way. Its context is its own: it may still succeed when
// nothing waits for it any more.
type request struct {
	leasestate.Write
	done chan struct{} // closed when it was answered
	err  error         // then: nil if it was applied
}

// issueLocked stamps a write. Its renewTime is greater than that of each earlier write
// of this elector, so that the write is recognized whichever source reports it.
func (e *Elector) issueLocked(kind leasestate.WriteKind, base uint64) leasestate.Write {
	sent := clock.Now()
	ws := &e.writes
	ws.last = max(ws.last+1, sent.Time().UnixMicro())
	ws.issued = append(ws.issued, ws.last)
	ws.issued = ws.issued[max(0, len(ws.issued)-maxIssued):]
	w := leasestate.Write{Kind: kind, RenewTime: ws.last, Base: base, Sent: sent}
	ws.unacknowledged = ws.unacknowledged.With(w, e.config.LeaseDuration)
	e.observed.seq++
	return w
}

// send sends an issued write. The request ends with ctx, or lifetime after the write
// was stamped.
func (e *Elector) send(ctx context.Context, w leasestate.Write, lease *coordinationv1.Lease, create bool, lifetime time.Duration) *request {
	r := &request{Write: w, done: make(chan struct{})}
	e.tasks.Run(func() {
		ctx, cancel := context.WithDeadline(ctx, w.Sent.Time().Add(lifetime))
		defer cancel()
		defer close(r.done)
		var reply *coordinationv1.Lease
		if create {
			reply, r.err = e.store.create(ctx, lease)
		} else {
			reply, r.err = e.store.update(ctx, lease)
		}
		e.answered(r, reply)
	})
	return r
}

// answered takes in the reply to a write.
func (e *Elector) answered(r *request, reply *coordinationv1.Lease) {
	if e.holding() != nil || !e.followsAnother() {
		e.requests.writeDone(r.err) // otherwise this is a late write of an earlier term
	}
	e.requestDone(requestNames[r.Kind], r.Sent.Time(), r.err)
	e.mu.Lock()
	defer e.unlock()
	e.observed.seq++
	if r.err == nil {
		e.confirmLocked(r.Write, reply)
		e.observeLocked(leasestate.Observation{Lease: reply, Version: leasestate.Version(reply), At: time.Now()})
		return
	}
	w := r.Write
	w.FailedSeq, w.Refused = e.observed.seq, isRefusal(r.err)
	e.writes.unacknowledged = e.writes.unacknowledged.Update(w)
	if isConflict(r.err) {
		e.writes.refused = refusal{base: w.Base, seq: e.observed.seq}
	}
}

// confirmLocked records that a write was applied and left lease on the server, whichever
// source reported it.
func (e *Elector) confirmLocked(w leasestate.Write, lease *coordinationv1.Lease) {
	switch h := e.held; {
	case h.isConfirmed():
		e.confirmHeldLocked(w, lease)
	case h != nil && h.Write.RenewTime == w.RenewTime:
		e.winLocked(w, lease)
	default:
		// The claim was given up as unanswered. The record is recognized as this
		// elector's own while the write stays in unacknowledged, and may be claimed
		// again at once.
	}
	e.signalLocked()
}

// winLocked begins the hold on the Lease: the claim is confirmed.
func (e *Elector) winLocked(w leasestate.Write, lease *coordinationv1.Lease) {
	e.held.won(tokenOf(lease))
	e.holdLocked(w, lease)
	if newest := &e.observed.state; newest.Version > e.held.Version {
		// A newer observation arrived before the reply to the claim.
		e.evaluateLocked(newest.Observation(time.Now()))
	}
}

// confirmHeldLocked records that a renewal or a release was applied. Trust counts from
// when the write was sent. Trust that has ended does not come back, because IsLeader
// has already returned false.
func (e *Elector) confirmHeldLocked(w leasestate.Write, lease *coordinationv1.Lease) {
	h := e.held
	switch {
	case w.RenewTime <= h.Write.RenewTime:
		// The reply arrived after a later one, or belongs to an earlier hold.
	case w.Kind == leasestate.Release:
		e.writes.confirmed = w.RenewTime
		h.releaseConfirmed()
	case e.trustOf(h).Remaining(time.Now()) <= 0:
		e.loseLocked(ErrRenewalFailed)
	default:
		e.holdLocked(w, lease)
		if e.trust.Load() != nil {
			e.trust.Store(e.trustOf(h))
		}
	}
}

// holdLocked bases the hold on w, which left lease on the server. Writes based on the
// same version or an older one can no longer be applied, so they are dropped.
func (e *Elector) holdLocked(w leasestate.Write, lease *coordinationv1.Lease) {
	e.held.Held = leasestate.Held{Identity: e.config.Identity, Lease: lease, Version: leasestate.Version(lease), Write: w, ConfirmedSeq: e.observed.seq}
	e.writes.confirmed = w.RenewTime
	e.writes.unacknowledged = e.writes.unacknowledged.Without(func(o leasestate.Write) bool { return o.Base <= w.Base })
}

// loseLocked ends the hold for cause. The work is asked to stop, and nothing more is
// written.
func (e *Elector) loseLocked(cause error) {
	if e.held.isLive() {
		e.stopWorkLocked(cause)
		e.held.lose(cause)
		e.signalLocked()
	}
}

func (e *Elector) lose(cause error) {
	e.mu.Lock()
	defer e.unlock()
	e.loseLocked(cause)
}

// trustOf returns the trust that a hold rests on.
func (e *Elector) trustOf(h *heldLease) *clock.Trust {
	return &clock.Trust{Sent: h.Write.Sent, Window: e.config.Window()}
}

// wroteLocked reports whether this elector wrote the record.
func (e *Elector) wroteLocked(record *coordinationv1.Lease) bool {
	if record == nil || leasestate.Holder(record) != e.config.Identity {
		return false
	}
	if _, ok := e.writes.unacknowledged.Find(e.config.Identity, record); ok {
		return true
	}
	return e.writes.confirmed != 0 && leasestate.RenewTime(record) == e.writes.confirmed
}

// draft returns the content of a claim or a renewal.
func (e *Elector) draft(w leasestate.Write, acquired time.Time, transitions int32) leasestate.Draft {
	return leasestate.Draft{
		Holder: e.config.Identity, Seconds: int32(e.config.LeaseDuration / time.Second),
		Acquired: acquired, Renewed: time.UnixMicro(w.RenewTime), Transitions: transitions, Labels: e.options.labels,
	}
}

// acquireTime returns the acquireTime of a held Lease. It is the time of w if somebody
// has removed it.
func acquireTime(lease *coordinationv1.Lease, w leasestate.Write) time.Time {
	if lease.Spec.AcquireTime == nil {
		return time.UnixMicro(w.RenewTime)
	}
	return lease.Spec.AcquireTime.Time
}

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

func (e *Elector) newAttempt(basis *coordinationv1.Lease) *attempt {
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
	if w, ok := e.writes.unacknowledged.Find(e.config.Identity, observed.Lease); ok && w.Kind == leasestate.Claim && w.Sent.Age(time.Now()) < e.config.Window() {
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
		r, trust, err := a.sendRelease(h)
		if err != nil || r == nil {
			return err
		}
		err = a.await(r, h, e.config.releaseStepTime(trust), func() bool { return h.phase == phaseReleased })
		if err == nil {
			e.log.Info("Released lease")
			return nil
		}
		e.log.Debug("Release failed; retrying", "err", err)
		a.answerBy = time.Now().Add(e.config.releaseStepTime(a.remainingTrust(h)))
		if a.readBack(ctx, h) == nil && a.hasMoved(h, r.Base) {
			continue // the release was applied, or a renewal under way was applied first
		}
		if err := wait(ctx, h, e.config.releaseRetryDelay(a.remainingTrust(h))); err != nil {
			return err
		}
	}
}

// sendRelease sends one release on the version that is held. It sends nothing if an
// earlier release has been applied.
func (a *attempt) sendRelease(h *heldLease) (*request, time.Duration, error) {
	e := a.elector
	e.mu.Lock()
	defer e.unlock()
	switch h.phase {
	case phaseReleased:
		return nil, 0, nil
	case phaseLost:
		return nil, 0, errNotHeld
	case phaseReleasable, phaseReleasing:
	default:
		return nil, 0, errNotYet
	}
	trust := e.trustOf(h).Remaining(time.Now())
	if trust <= 0 {
		return nil, 0, errNotReleased
	}
	w := e.issueLocked(leasestate.Release, h.Version)
	draft := leasestate.Draft{
		Seconds:     1,                       // client-go writes the same
		Acquired:    acquireTime(h.Lease, w), // the successor was nominated for this term
		Renewed:     time.UnixMicro(w.RenewTime),
		Transitions: leasestate.Transitions(h.Lease), Labels: e.options.labels,
	}
	h.releaseSent()
	return e.send(h.requests, w, draft.Apply(h.Lease), false, trust), trust, nil
}

func (a *attempt) remainingTrust(h *heldLease) time.Duration {
	a.elector.mu.Lock()
	defer a.elector.unlock()
	return a.elector.trustOf(h).Remaining(time.Now())
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
	if err := clock.Sleep(ctx, h.lost, d); err == clock.ErrInterrupted {
		return errNotHeld
	} else {
		return err
	}
}
