package leaderelection

import (
	"context"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/clock"
	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// writes describes the writes that an elector has sent.
type writes struct {
	unacknowledged leasestate.Writes
	confirmed      int64   // renewTime of the last confirmed write, in microseconds
	last           int64   // the newest renewTime that was issued, in microseconds
	issued         []int64 // the newest renewTimes that were issued, at most maxIssued of them
	refused        refusal
	previous       leasestate.PreviousOutcome // how the previous term ended, as observed before the latest claim
}

// maxIssued is the number of issued renewTimes that an elector remembers. If the
// elector sends a renewal every two seconds, these are the renewals of about two
// minutes.
const maxIssued = 64

// A refusal describes the last write that failed with a conflict.
type refusal struct {
	base uint64 // the version that the write was based on
	seq  uint64 // sequence number at which the refusal arrived
}

// A request is a write that was sent. It has its own context, and continues even if no
// goroutine waits for the reply. Therefore it may still succeed after an attempt has
// given up.
type request struct {
	leasestate.Write
	done chan struct{} // closed when the request has ended
	err  error         // the error of the request, valid once done is closed; nil if the write was applied
}

// issueLocked returns a new write. Its renewTime is greater than that of every earlier
// write of this elector. Therefore an observation from any source shows which write was
// applied.
func (e *Elector) issueLocked(kind leasestate.WriteKind, base uint64) leasestate.Write {
	sent := clock.Now()
	ws := &e.writes
	ws.last = max(ws.last+1, sent.Time().UnixMicro())
	ws.issued = append(ws.issued, ws.last)
	ws.issued = ws.issued[max(0, len(ws.issued)-maxIssued):]
	e.observed.seq++
	w := leasestate.Write{Kind: kind, RenewTime: ws.last, Base: base, Seq: e.observed.seq, Sent: sent}
	ws.unacknowledged = ws.unacknowledged.With(w, e.config.LeaseDuration)
	return w
}

// The method send sends the write w, which issueLocked has returned. lease is the Lease
// to write. If create is true, the Lease does not exist yet. The request is cancelled
// when ctx is done, and no later than lifetime after w was issued.
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

// answered processes the reply to a write, or its error.
func (e *Elector) answered(r *request, reply *coordinationv1.Lease) {
	e.requestDone(requestNames[r.Kind], r.Sent.Time(), r.err)
	e.mu.Lock()
	defer e.unlock()
	if e.held.isConfirmed() || !e.followsAnother() { // otherwise this is a late write of an earlier term
		e.noteResultLocked(&e.requests.writes, "write", r.err)
	}
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

// confirmLocked records that the write w was applied. A reply, a read or the watch has
// shown this. lease is the resulting Lease.
func (e *Elector) confirmLocked(w leasestate.Write, lease *coordinationv1.Lease) {
	switch h := e.held; {
	case h.isConfirmed():
		e.confirmHeldLocked(w, lease)
	case h != nil && h.Write.RenewTime == w.RenewTime:
		e.winLocked(w, lease)
	default:
		// The attempt no longer waits for this claim. While w stays in unacknowledged,
		// this elector recognizes the Lease as its own and may claim it again at once.
	}
	e.signalLocked()
}

// winLocked starts the hold on the Lease, because the claim w is confirmed. lease is
// the resulting Lease.
func (e *Elector) winLocked(w leasestate.Write, lease *coordinationv1.Lease) {
	e.held.won(tokenOf(lease))
	e.holdLocked(w, lease)
	if newest := &e.observed.state; newest.Version > e.held.Version {
		// A newer observation arrived before the reply to the claim. This observation
		// may end the term.
		e.evaluateLocked(newest.Observation(time.Now()))
	}
}

// confirmHeldLocked records that the write w was applied to the held Lease. lease is
// the resulting Lease. The trust window starts when w was sent. A trust window that has
// ended is not extended, because IsLeader has already returned false.
func (e *Elector) confirmHeldLocked(w leasestate.Write, lease *coordinationv1.Lease) {
	h := e.held
	switch {
	case w.RenewTime <= h.Write.RenewTime:
		// The reply to a later write arrived before the reply to w, or w belongs to an
		// earlier term.
	case w.Kind == leasestate.Release && h.phase < phaseReleasing:
		// In this term, no release was sent. The database was restored from a backup,
		// and the observation shows the release of an earlier term.
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

// holdLocked records w as the last confirmed write of the held Lease. lease is the
// resulting Lease. holdLocked forgets all unacknowledged writes that were based on the
// same version as w or on an older version, because the server now refuses them.
func (e *Elector) holdLocked(w leasestate.Write, lease *coordinationv1.Lease) {
	e.held.Held = leasestate.Held{Identity: e.config.Identity, Lease: lease, Version: leasestate.Version(lease), Write: w, ConfirmedSeq: e.observed.seq}
	e.writes.confirmed = w.RenewTime
	e.writes.unacknowledged = e.writes.unacknowledged.Without(func(o leasestate.Write) bool { return o.Base <= w.Base })
}

// loseLocked records that the held Lease is lost because of cause. It asks the work to
// stop. From then on, this term sends no writes.
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

// trustOf returns the Trust for the held Lease h. The trust window starts when the last
// confirmed write of h was sent.
func (e *Elector) trustOf(h *heldLease) *clock.Trust {
	return &clock.Trust{Sent: h.Write.Sent, Window: e.config.Window()}
}

// wroteLocked reports whether this elector wrote record as a claim or a renewal.
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

// acquireTime returns the acquireTime of lease. If lease has no acquireTime, because
// somebody has removed it, the function returns the renewTime of w.
func acquireTime(lease *coordinationv1.Lease, w leasestate.Write) time.Time {
	if lease.Spec.AcquireTime == nil {
		return time.UnixMicro(w.RenewTime)
	}
	return lease.Spec.AcquireTime.Time
}
