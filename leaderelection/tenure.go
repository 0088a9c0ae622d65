package leaderelection

import (
	"context"
	"sync/atomic"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
)

// A tenure is our hold on the Lease, from the claim that won it to its release
// or its loss. The work of a term begins and ends within it. Its fields are
// guarded by the Elector's mutex.
type tenure struct {
	held
	token     Token
	requests  context.Context // of its writes: done once it is lost
	cancel    context.CancelFunc
	lost      chan struct{} // closed when it is lost
	cause     error         // then: why
	yielding  bool          // the work has returned: it may be released
	releasing bool          // a write that releases it was sent
	released  bool          // by a write that is known to have been applied
}

// localTokens counts the terms of Leases on servers without resourceVersions.
var localTokens atomic.Uint64

func tokenOf(lease *coordinationv1.Lease) Token {
	if version := versionOf(lease); version != 0 {
		return Token(version)
	}
	return Token(localTokens.Add(1))
}

// beginTenureLocked is called when the claim under way is known to have been
// applied.
func (e *Elector) beginTenureLocked(w write, lease *coordinationv1.Lease) {
	t := &tenure{token: tokenOf(lease), lost: make(chan struct{})}
	t.requests, t.cancel = context.WithCancel(context.Background())
	e.writes.claim, e.tenure = nil, t
	e.holdLocked(w, lease)
	if v := e.observer.view; v.version > t.version {
		// Something newer was seen before the reply to the claim came.
		e.judgeLocked(sighting{lease: v.lease, version: v.version, at: time.Now()})
	}
}

// holdLocked bases the tenure on w, which left lease on the server. Writes based
// on the same version or an older one can no longer be applied: their place is
// taken.
func (e *Elector) holdLocked(w write, lease *coordinationv1.Lease) {
	e.tenure.held = held{identity: e.config.Identity, lease: lease, version: versionOf(lease), write: w, answered: e.observer.moment}
	e.writes.proven = w.renewed
	e.writes.open = e.writes.open.without(func(o write) bool { return o.base <= w.base })
}

// proveLocked takes in that a write of ours was applied and left lease on the
// server, however that became known. Trust counts from when it was sent. Trust
// that has run out does not come back: IsLeader has already said so.
func (e *Elector) proveLocked(w write, lease *coordinationv1.Lease) {
	t := e.tenure
	switch {
	case t == nil && e.writes.claim != nil && w.renewed == e.writes.claim.renewed:
		e.beginTenureLocked(w, lease)
	case t == nil:
		// A claim that was given up as unanswered. The record is known as our
		// own as long as it stays in e.writes.open, and may be claimed again at once.
	case w.renewed <= t.write.renewed:
		// An answer that came after a later one, or of an earlier tenure.
	case w.kind == releasing:
		e.writes.proven = w.renewed
		t.released = true
	case e.trustIn(t).remaining(time.Now()) <= 0:
		e.loseLocked(ErrRenewalFailed)
	default:
		e.holdLocked(w, lease)
		if e.trust.Load() != nil {
			e.trust.Store(e.trustIn(t))
		}
	}
	e.signalLocked()
}

// trustIn is the trust that a tenure rests on.
func (e *Elector) trustIn(t *tenure) *trust {
	return &trust{sent: t.write.sent, window: e.config.Window()}
}

// loseLocked ends the tenure for cause: whoever works must stop, and nothing
// more is written.
func (e *Elector) loseLocked(cause error) {
	t := e.tenure
	if t == nil || t.cause != nil {
		return
	}
	t.cause = cause
	e.endWorkLocked(cause)
	t.cancel()
	close(t.lost)
	e.signalLocked()
}

func (e *Elector) lose(cause error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.loseLocked(cause)
}

// checkTrust ends the tenure if its trust has run out, and returns for how long
// it need not be called again. It looks more often than at the end of trust
// only: timers stand still while the machine sleeps.
func (e *Elector) checkTrust(t *tenure) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	remaining := e.trustIn(t).remaining(time.Now())
	if remaining <= 0 {
		e.loseLocked(ErrRenewalFailed)
		e.turning.within(e.config.LeaseDuration)
		return e.config.LeaseDuration
	}
	remaining = min(remaining, e.config.Margin()/2)
	e.turning.within(remaining)
	return remaining
}
