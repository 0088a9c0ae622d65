package leaderelection

import (
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
)

// A leader is whom GetLeader names.
type leader struct {
	identity string
	until    time.Time // zero: for ever
}

// An observer is what an elector knows of the Lease by having looked.
type observer struct {
	view       view
	moment     uint64        // counts what happens, to order reads and answers
	named      string        // the leader that the log named last
	twins      int           // how many records under our name were seen in turn that we did not write
	hesitation time.Duration // how much later than the heir we claim what was seen last
}

// sight is where every observation comes in, whoever made it. It reports whether
// it said anything new.
func (e *Elector) sight(s sighting) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.observer.moment++
	return e.sightLocked(s)
}

func (e *Elector) sightLocked(s sighting) bool {
	if base := e.writes.refused; s.asked > base.moment && s.version != 0 && s.version < base.base {
		s.rewound = true
		e.writes.refused = refusal{}
	}
	e.judgeLocked(s)

	before := e.observer.view
	next, news := before.after(s, e.observer.moment, e.wroteLocked(before.lease))
	if !news {
		return false
	}
	e.observer.view, e.following.heard = next, s.at
	defer e.signalLocked()
	if before.known && sameTenure(before.lease, next.lease) {
		return true
	}
	e.observer.hesitation = hesitate()
	if renewedAt(before.lease) != renewedAt(next.lease) {
		e.countTwinsLocked(next.lease) // who edits a left-over record by hand renews nothing
	}
	e.nameLeaderLocked(next)
	return true
}

// judgeLocked lets an observation act on the tenure, or on the claim under way.
func (e *Elector) judgeLocked(s sighting) {
	t := e.tenure
	if t == nil {
		if w, ok := e.writes.open.find(e.config.Identity, s.lease); ok && s.lease != nil {
			e.proveLocked(w, s.lease)
		}
		return
	}
	if t.cause != nil || t.released {
		return
	}
	v := t.judge(s, e.writes.open)
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
	if _, ok := e.writes.open.find(e.config.Identity, lease); ok {
		return true
	}
	return e.writes.proven != 0 && renewedAt(lease) == e.writes.proven
}

// twinLimit is how many records under our name, not written by us, must be seen
// one after the other before another process is known to go on renewing: the
// first may be left over from an earlier life, the second its last request that
// was still on the way.
const twinLimit = 3

func (e *Elector) countTwinsLocked(lease *coordinationv1.Lease) {
	if holderOf(lease) == e.config.Identity && !e.wroteLocked(lease) {
		// In a restored history late writes of our own fit again, long after they were given up.
		if !slices.Contains(e.writes.given, renewedAt(lease)) {
			e.observer.twins++
		}
		return
	}
	e.observer.twins = 0
}

// nameLeaderLocked tells GetLeader and OnNewLeader who leads.
func (e *Elector) nameLeaderLocked(v view) {
	identity := v.holder()
	e.leader.Store(&leader{identity: identity, until: v.heldUntil()})
	e.notifier.offer(identity)
	if identity != "" && identity != e.config.Identity {
		e.rested = time.Time{}
		e.trouble.forgetWrites()
	}
	if identity != e.observer.named {
		e.observer.named = identity
		e.seen(identity)
		if identity == "" {
			e.log.Info("Lease is free")
		} else {
			e.log.Info("New leader observed", "leader", identity)
		}
	}
}

// followsAnother reports whether somebody else leads: what becomes of our writes,
// late ones of an earlier term, is then no trouble.
func (e *Elector) followsAnother() bool {
	leader := e.GetLeader()
	return leader != "" && leader != e.config.Identity
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
