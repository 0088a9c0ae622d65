package leaderelection

import (
	"context"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// A nomination is the state of a follower that tries to become the successor.
type nomination struct {
	started    time.Time     // when the process started
	joined     time.Time     // when Run was called
	firstSeen  time.Time     // when the Lease was first observed after Run was called
	firstSince time.Time     // when the Lease last changed before firstSeen
	firstAt    time.Time     // when the first nomination is sent
	since      time.Time     // when the last renewal was observed
	delay      time.Duration // the time from the last renewal until the nomination is sent
	replaces   string        // who was the successor when the delay was computed
	busy       bool          // true while a nomination is sent
	refused    uint64        // the version of the Lease for which a nomination was refused; 0 if none was refused
	notBefore  time.Time     // a nomination that was due before this time is not sent
}

func (e *Elector) ownNomination() leasestate.Nomination {
	return leasestate.Nomination{Identity: e.config.Identity, Priority: e.options.priority, Started: e.nomination.started.UnixMilli()}
}

// nominateLocked nominates this follower as the successor if the nomination is due. If
// the nomination is due later, nominateLocked returns this later time. In all other
// cases it returns the zero Time. Call it again at the returned time and after each
// change of the Lease.
//
// A nomination should be sent between two renewals of the leader, because one of two
// simultaneous writes is refused. At most one follower should nominate itself between
// two renewals. A recently joined follower is an exception, and does not wait for the
// next renewal. It nominates itself soon after its first observation, because a rolling
// update may stop the leader as soon as the new replica is ready.
func (e *Elector) nominateLocked() (again time.Time) {
	n, s, campaigning := &e.nomination, &e.observed.state, time.Since(e.nomination.joined)
	if n.firstSeen.IsZero() && s.Known {
		n.firstSeen, n.firstSince = time.Now(), s.Since
		n.firstAt = n.firstSeen.Add(e.config.firstNominationDelay())
	}
	if n.busy || e.proof.Covers(s.Lease) || n.refused == s.Version || !s.MayNominate(e.ownNomination(), e.config.minAgeGap(campaigning)) {
		return time.Time{}
	}
	present := s.Successor().Identity
	if !n.since.Equal(s.Since) {
		n.since, n.delay, n.replaces = s.Since, e.config.nominationDelay(), present
	}
	at := n.since.Add(n.delay)
	switch slow := e.hasSlowLeaderLocked(); {
	case slow && n.firstSince.Equal(s.Since):
		return time.Time{} // wait until a renewal is observed
	case !slow && time.Since(n.firstSeen) < e.config.firstNominationPeriod():
		at = n.firstAt
	}
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

// hasSlowLeaderLocked reports whether the leader's renewals are probably slow, because
// the last renewTime is old. A renewal is then pending at any time, and a nomination
// makes the server refuse it. Directly after a renewal, this costs the leader the least
// time. If the clocks differ, the answer may be wrong, and the nomination is only later
// or less polite.
func (e *Elector) hasSlowLeaderLocked() bool {
	renewed := time.UnixMicro(leasestate.RenewTime(e.observed.state.Lease))
	return time.Since(renewed) > e.config.slowRenewal()
}

// sendNomination writes the annotation SuccessorAnnotation into the Lease, which
// another candidate holds. The server refuses the write if the Lease has changed since
// it was observed.
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
		n.notBefore = time.Now() // wait for the next renewal
		return
	case isConflict(err):
		n.refused = leasestate.Version(lease)
		if !e.observed.watching {
			e.requestRead() // no watch reports the other write
		}
	default:
		// Wait, because the request may fail for all followers.
		n.notBefore = time.Now().Add(e.config.LeaseDuration)
	}
	e.signalLocked()
	e.afterUnlock(func() { e.log.Debug("Nomination failed", "err", err) })
}
