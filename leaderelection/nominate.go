package leaderelection

import (
	"context"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// processStart is approximately when this process started. It is exact enough to decide
// which follower started last.
var processStart = time.Now()

// A nomination is the state of a follower that tries to become the successor.
type nomination struct {
	started   time.Time     // start of the process; a follower that started later takes precedence
	joined    time.Time     // start of Run, which may be much later than started
	since     time.Time     // when the last renewal was observed; delay is counted from this time
	delay     time.Duration // the time from since until this follower nominates itself
	replaces  string        // the successor at the time when delay was chosen
	busy      bool          // true while the request for a nomination is pending
	refused   uint64        // the version on which a refused nomination was based; 0 if none was refused
	notBefore time.Time     // nominations that were due before this time are not sent
}

func (e *Elector) ownNomination() leasestate.Nomination {
	return leasestate.Nomination{Identity: e.config.Identity, Priority: e.options.priority, Started: e.nomination.started.UnixMilli()}
}

// nominateLocked nominates this follower as successor if the follower should be the
// successor and the nomination is due. It returns the time at which it must be called
// again. It returns the zero Time if it need not be called before the Lease changes.
//
// A nomination is sent between two renewals of the leader. It must not coincide with a
// renewal, because one of the two writes would then be refused. If another follower has
// nominated itself since the last renewal, this follower waits for the next renewal,
// even if this follower takes precedence. The reason is that hundreds of followers
// might otherwise write at the same time. There is one exception: a follower that
// joined recently does not wait.
func (e *Elector) nominateLocked() (again time.Time) {
	n, s, campaigning := &e.nomination, &e.observed.state, time.Since(e.nomination.joined)
	if n.busy || n.refused == s.Version || !s.MayNominate(e.ownNomination(), e.config.minAgeGap(campaigning)) {
		return time.Time{}
	}
	present := s.Successor().Identity
	if !n.since.Equal(s.Since) {
		n.since, n.delay, n.replaces = s.Since, e.config.nominationDelay(), present
	}
	at := n.since.Add(n.delay)
	if at.Before(n.notBefore) || n.replaces != present && !e.config.recentlyJoined(campaigning) {
		return time.Time{}
	}
	if time.Now().Before(at) {
		return at
	}
	n.busy = true
	lease, ctx := s.Nominate(e.ownNomination()), e.runCtx
	e.tasks.Run(func() { e.sendNomination(ctx, lease) })
	return time.Time{}
}

// sendNomination writes the annotation SuccessorAnnotation into the Lease, which
// another candidate holds. The write is a compare-and-swap on the observed version.
// Therefore it never undoes a write of the holder.
func (e *Elector) sendNomination(ctx context.Context, lease *coordinationv1.Lease) {
	ctx, cancel := context.WithTimeout(ctx, e.readTimeout())
	defer cancel()
	sent := time.Now()
	reply, err := e.store.update(ctx, lease)
	e.requestDone(RequestNominate, sent, err)
	e.mu.Lock()
	defer e.unlock()
	e.observed.seq++
	n := &e.nomination
	n.busy = false
	switch {
	case err == nil:
		e.observeLocked(leasestate.Observation{Lease: reply, Version: leasestate.Version(reply), At: time.Now()})
		n.notBefore = time.Now() // wait for the next renewal, even if another follower has replaced the nomination meanwhile
		return
	case isConflict(err):
		n.refused = leasestate.Version(lease)
		if !e.observed.watching {
			e.requestRead() // read the Lease, because no watch reports the conflicting write
		}
	default:
		// A right is missing, or the API server has a problem. Wait, because hundreds
		// of followers may fail in the same way.
		n.notBefore = time.Now().Add(e.config.LeaseDuration)
	}
	e.signalLocked()
	e.afterUnlock(func() { e.log.Debug("Nomination failed", "err", err) })
}
