package leaderelection

import (
	"context"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

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
	e.observed.seq++
	w := leasestate.Write{Kind: kind, RenewTime: ws.last, Base: base, Seq: e.observed.seq, Sent: sent}
	ws.unacknowledged = ws.unacknowledged.With(w, e.config.LeaseDuration)
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
	case w.Kind == leasestate.Release && h.phase < phaseReleasing:
		// This hold has sent no release. A restored history shows a release of an earlier
		// hold.
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
