package leaderelection

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
)

// A leader is whom GetLeader names.
type leader struct {
	identity string
	until    time.Time // zero: for ever
}

// sight is where every observation comes in, whoever made it. It reports whether
// it said anything new.
func (e *Elector) sight(s sighting) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.moment++
	return e.sightLocked(s)
}

func (e *Elector) sightLocked(s sighting) bool {
	if base := e.refused; s.asked > base.moment && s.version != 0 && s.version < base.base {
		s.rewound = true
		e.refused = refusal{}
	}
	e.judgeLocked(s)

	before := e.view
	next, news := before.after(s, e.moment)
	if !news {
		return false
	}
	e.view, e.heard = next, s.at
	defer e.signalLocked()
	if before.known && sameTenure(before.lease, next.lease) {
		return true
	}
	e.hesitation = hesitate()
	e.countTwinsLocked(next.lease)
	e.nameLeaderLocked(next)
	return true
}

// judgeLocked lets an observation act on the tenure, or on the claim under way.
func (e *Elector) judgeLocked(s sighting) {
	t := e.tenure
	if t == nil {
		if w, ok := e.open.find(e.config.Identity, s.lease); ok && s.lease != nil {
			e.proveLocked(w, s.lease)
		}
		return
	}
	if t.cause != nil || t.released {
		return
	}
	v := t.judge(s, e.open)
	switch {
	case v.cause != nil:
		e.loseLocked(v.cause)
	case v.proven != nil:
		e.proveLocked(*v.proven, v.adopt)
	case v.adopt != nil:
		t.lease, t.version = v.adopt, versionOf(v.adopt)
	}
}

// wroteLocked reports whether this elector wrote what a Lease holds.
func (e *Elector) wroteLocked(lease *coordinationv1.Lease) bool {
	if lease == nil || holderOf(lease) != e.config.Identity {
		return false
	}
	if _, ok := e.open.find(e.config.Identity, lease); ok {
		return true
	}
	return e.proven != 0 && renewedAt(lease) == e.proven
}

// twinLimit is how many records under our name, not written by us, must be seen
// one after the other before another process is known to go on renewing: the
// first may be left over from an earlier life, the second its last request that
// was still on the way.
const twinLimit = 3

func (e *Elector) countTwinsLocked(lease *coordinationv1.Lease) {
	if holderOf(lease) == e.config.Identity && !e.wroteLocked(lease) {
		e.twins++
		return
	}
	e.twins = 0
}

// nameLeaderLocked tells GetLeader and OnNewLeader who leads.
func (e *Elector) nameLeaderLocked(v view) {
	identity := v.holder()
	e.leader.Store(&leader{identity: identity, until: v.heldUntil()})
	e.notifier.offer(identity)
	if identity != "" && identity != e.config.Identity {
		e.rested = time.Time{}
	}
	if identity != e.named {
		e.named = identity
		e.seen(identity)
		if identity == "" {
			e.log.Info("The Lease is free")
		} else {
			e.log.Info("Leader seen", "leader", identity)
		}
	}
}

// signalLocked wakes everybody who waits for a change.
func (e *Elector) signalLocked() {
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *Elector) signal() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.signalLocked()
}
