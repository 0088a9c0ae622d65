package leaderelection

import (
	"context"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/clock"
	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// A writes value contains what an elector remembers of the writes that it has sent.
type writes struct {
	unacknowledged leasestate.Writes
	confirmed      int64       // renewTime of the last confirmed write, in microseconds
	last           int64       // the newest renewTime that was issued, in microseconds
	lastSent       clock.Stamp // the time at which the newest renewTime was issued
	issued         []int64     // the last maxIssued renewTimes that were issued
	refused        refusal
	unexplained    int                        // number of consecutive conflicts without a cause
	explainedSeq   uint64                     // sequence number of the last refusal that was explained or counted
	previous       leasestate.PreviousOutcome // how the previous term ended; observed before the latest claim
}

// maxIssued is the maximum number of renewTimes that an elector remembers.
const maxIssued = 64

// A refusal describes the last write that failed with a conflict.
type refusal struct {
	base   uint64 // the version that the write was based on
	create bool   // true if the write would have created the Lease
	seq    uint64 // sequence number at which the refusal arrived
}

// conflictLimit is how many consecutive conflicts without a cause are a failure. One or
// two may be late replies to overlapping requests.
const conflictLimit = 3

// A request is a write that was sent. It continues even if no goroutine waits for the
// reply.
type request struct {
	leasestate.Write
	backoff backoff
	done    chan struct{} // closed when the request has ended
	err     error         // the error of the request; read it only after done is closed
}

// issueLocked returns a new write. The renewTime identifies the write, because it is
// greater than the renewTimes of all earlier writes of this elector.
func (e *Elector) issueLocked(kind leasestate.WriteKind, base uint64, create bool) leasestate.Write {
	sent := clock.Now()
	ws := &e.writes
	ws.last, ws.lastSent = leasestate.NextRenewTime(ws.last, sent.Time().Sub(ws.lastSent.Time()), sent.Time()), sent
	ws.issued = append(ws.issued, ws.last)
	ws.issued = ws.issued[max(0, len(ws.issued)-maxIssued):]
	e.observed.seq++
	w := leasestate.Write{Kind: kind, RenewTime: ws.last, Base: base, Seq: e.observed.seq, Sent: sent, Create: create}
	ws.unacknowledged = ws.unacknowledged.With(w, e.config.LeaseDuration)
	return w
}

// send sends the write w. lease is the Lease to write. If the
// parameter create is true, send creates the Lease. The request is cancelled when ctx
// is done, or when the parameter lifetime has passed after w was issued.
func (e *Elector) send(ctx context.Context, w leasestate.Write, lease *coordinationv1.Lease, create bool, lifetime time.Duration) *request {
	r := &request{Write: w, done: make(chan struct{})}
	e.tasks.Run(func() {
		ctx, cancel := context.WithDeadline(ctx, w.Sent.Time().Add(lifetime))
		defer cancel()
		defer close(r.done)
		ctx = r.backoff.trace(ctx)
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

// answered processes the reply or the error of a write.
func (e *Elector) answered(r *request, reply *coordinationv1.Lease) {
	e.requestDone(requestNames[r.Kind], r.Sent.Time(), r.err)
	e.mu.Lock()
	defer e.unlock()
	if !isConflict(r.err) && (e.held.isConfirmed() || !e.followsAnother()) { // ignore the late reply to a write of an earlier term
		e.noteResultLocked(&e.requests.writes, "write", r.err)
	}
	e.observed.seq++
	if r.err == nil {
		e.writes.unexplained = 0
		e.confirmLocked(e.writes.unacknowledged.Latest(r.Write), reply)
		// Without resourceVersions, only the order of this elector's own writes shows
		// that the reply is outdated.
		if version := leasestate.Version(reply); version != 0 || r.RenewTime >= e.writes.confirmed {
			e.observeLocked(leasestate.Observation{Lease: reply, Version: version, At: time.Now()})
		}
		return
	}
	w := e.writes.unacknowledged.Latest(r.Write)
	w.FailedSeq, w.Refused, w.Unclear = e.observed.seq, isRefusal(r.err), isUnclear(r.err)
	e.writes.unacknowledged = e.writes.unacknowledged.Update(w)
	if isConflict(r.err) {
		e.writes.refused = refusal{base: w.Base, create: w.Create, seq: e.observed.seq}
	}
}

// explainConflictLocked counts conflicts without a cause. The read o was sent after a
// write was refused as a conflict. If o shows the version that the write was based on,
// no other write has caused the conflict.
func (e *Elector) explainConflictLocked(o leasestate.Observation) {
	ws, refused := &e.writes, e.writes.refused
	if refused.seq <= ws.explainedSeq || o.ReadSeq <= refused.seq {
		return
	}
	ws.explainedSeq = refused.seq
	if caused := o.Lease == nil && !refused.create || o.Lease != nil && (o.Version == 0 || o.Version != refused.base); caused {
		ws.unexplained = 0
		e.noteResultLocked(&e.requests.writes, "write", nil)
		return
	}
	if ws.unexplained++; ws.unexplained >= conflictLimit {
		e.noteResultLocked(&e.requests.writes, "write", errUnexplainedConflict)
	}
}

// confirmLocked records that the write w was applied. lease is the Lease
// after the write.
func (e *Elector) confirmLocked(w leasestate.Write, lease *coordinationv1.Lease) {
	switch h := e.held; {
	case h.isConfirmed():
		e.confirmHeldLocked(w, lease)
	case h != nil && e.mayWinLocked(w):
		e.winLocked(w, lease)
	default:
		// No attempt waits for this claim. The write w remains in
		// writes.unacknowledged, and therefore this elector recognizes the Lease as its
		// own.
		if e.isDoubtedLocked(w) {
			e.requestRead() // only a later read can confirm w
		}
	}
	e.signalLocked()
}

// mayWinLocked reports whether the claim w still gives trust. w may be an earlier claim
// than the claim that was sent last.
func (e *Elector) mayWinLocked(w leasestate.Write) bool {
	return w.Kind == leasestate.Claim && !e.isProtectedLocked() && !e.isDoubtedLocked(w) && w.Sent.Age(time.Now()) < e.config.Window()
}

// isProtectedLocked reports whether an earlier holder, which the Lease no longer names,
// may still work. A claim that was sent before its Lease was deleted must not win then.
func (e *Elector) isProtectedLocked() bool { return e.observed.state.ProtectedUntil.After(time.Now()) }

// appliedClaimLocked returns a claim of this elector that was applied and still gives
// trust. ok is false if the observed Lease shows no such claim.
func (e *Elector) appliedClaimLocked() (claim leasestate.Write, ok bool) {
	claim, ok = e.writes.unacknowledged.Find(e.config.Identity, e.observed.state.Lease)
	return claim, ok && e.mayWinLocked(claim)
}

// winLocked records that the claim w is confirmed and that the Lease is now held. The
// parameter lease is the Lease after the claim.
func (e *Elector) winLocked(w leasestate.Write, lease *coordinationv1.Lease) {
	e.held.won(tokenOf(lease))
	e.holdLocked(w, lease)
	if newest := &e.observed.state; newest.Version > e.held.Version {
		// An observation that is newer than the claim has already arrived. This
		// observation may end the term.
		e.evaluateLocked(newest.Observation(time.Now()))
	}
}

// confirmHeldLocked records that the write w was applied to the held Lease. The
// parameter lease is the Lease after the write. A renewal starts a new trust window,
// unless the current trust window has already ended.
func (e *Elector) confirmHeldLocked(w leasestate.Write, lease *coordinationv1.Lease) {
	h := e.held
	switch {
	case w.RenewTime <= h.Write.RenewTime:
		// A later write was already confirmed, or w belongs to an earlier term.
	case w.Kind == leasestate.Release && h.phase < phaseReleasing:
		// The write w is the release of an earlier term. The database was restored from
		// a backup.
	case w.Kind == leasestate.Release:
		e.writes.confirmed = w.RenewTime
		h.releaseConfirmed()
	case e.trustOf(h).Remaining(time.Now()) <= 0:
		e.loseLocked(ErrRenewalFailed)
	default:
		e.holdLocked(w, lease)
		e.extendTrustLocked(h.TrustFrom)
	}
}

// holdLocked records that w is the last confirmed write of the held Lease. The
// parameter lease is the Lease after the write. holdLocked removes the unacknowledged
// writes that the server now refuses, because their base version is outdated.
func (e *Elector) holdLocked(w leasestate.Write, lease *coordinationv1.Lease) {
	e.held.Held = leasestate.Held{Identity: e.config.Identity, Lease: lease, Version: leasestate.Version(lease), Write: w, TrustFrom: w.Sent, ConfirmedSeq: e.observed.seq}
	e.writes.confirmed = w.RenewTime
	if w.Pending.Seq != 0 {
		e.requestRead() // this read can extend the trust window, see Held.LaterTrust
	}
	e.writes.unacknowledged = e.writes.unacknowledged.Without(func(o leasestate.Write) bool {
		return o.RenewTime == w.RenewTime || o.Base <= w.Base && !o.Create // a create succeeds again if the Lease is deleted
	})
}

// extendTrustLocked makes the trust window start at from, which is later than before. A
// trust window that has already ended is not extended.
func (e *Elector) extendTrustLocked(from clock.Stamp) {
	if e.trustOf(e.held).Remaining(time.Now()) <= 0 {
		return
	}
	e.held.TrustFrom = from
	if e.trust.Load() != nil {
		e.trust.Store(e.trustOf(e.held))
	}
}

// loseLocked records that the held Lease is lost, and cancels the work's context. After
// this call, the elector sends no writes for this term.
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

// trustOf returns the Trust for h.
func (e *Elector) trustOf(h *heldLease) *clock.Trust {
	return &clock.Trust{Sent: h.TrustFrom, Window: e.config.Window()}
}

// wroteLocked reports whether record is the result of a claim or a renewal by this
// elector.
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
		Process: e.pods.process(),
	}
}

// acquireTime returns the acquireTime of lease. If lease has no
// acquireTime, the function returns the renewTime of w.
func acquireTime(lease *coordinationv1.Lease, w leasestate.Write) time.Time {
	if lease.Spec.AcquireTime == nil {
		return time.UnixMicro(w.RenewTime)
	}
	return lease.Spec.AcquireTime.Time
}
