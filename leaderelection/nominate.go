package leaderelection

import (
	"context"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// processStart is when this process started, as far as the succession needs it.
var processStart = time.Now()

// A nomination is a follower's effort to become the successor.
type nomination struct {
	started   time.Time     // start of the process: a later one takes precedence
	joined    time.Time     // start of Run, which may be much later
	since     time.Time     // the record that delay belongs to
	delay     time.Duration // how long after that record this follower nominates itself
	replaces  string        // the successor when delay was drawn
	busy      bool          // a request is under way
	refused   uint64        // the version that a request was based on when it met a conflict
	notBefore time.Time     // after another failure
}

func (e *Elector) ownNomination() leasestate.Nomination {
	return leasestate.Nomination{Identity: e.config.Identity, Priority: e.options.priority, Started: e.nomination.started.UnixMilli()}
}

// nominateLocked nominates this follower as successor if it should be, and returns when
// to call it again. It returns the zero Time if only a change of the Lease matters.
//
// A nomination is sent a while after the leader's last renewal, and well before the
// next one. It is never scheduled at a time of the follower's own, which might coincide
// with the renewals. If another follower was faster, this one waits for the next
// renewal even if it takes precedence: of hundreds, half would take precedence, and all
// would write at once. A follower that joined recently does not wait.
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

// sendNomination writes the annotation into another holder's Lease, by compare-and-swap
// on the observed version, so that it never undoes a write of the holder.
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
		n.notBefore = time.Now() // not again before the next renewal, whatever became of the annotation
		return
	case isConflict(err):
		n.refused = leasestate.Version(lease)
		if !e.observed.watching {
			e.requestRead() // a watch reports the conflicting write by itself
		}
	default:
		// A right is missing, or the API server is in trouble. Hundreds of followers must
		// not insist.
		n.notBefore = time.Now().Add(e.config.LeaseDuration)
	}
	e.signalLocked()
	e.afterUnlock(func() { e.log.Debug("Nomination failed", "err", err) })
}
