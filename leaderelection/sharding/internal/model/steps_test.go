package model

import "fmt"

// rules are switches that each remove one rule of the protocol.
type rules struct {
	grantWithoutProof, openWithoutAcks, openWithoutWait, ackWhileWorking, handOverWhileWorking bool
	waitWithoutRead, sealTrusted, nameTheProcess, noCompareAndSwap                             bool
}

// A step is one transition.
type step struct {
	what      string
	next      state
	violation string // "" if the step breaks no rule
}

// An explorer generates the transitions of a state.
type explorer struct {
	rules
	describe  bool // fill in step.what, which takes most of the time
	steps     []step
	violation string
}

func (x *explorer) add(s state, format string, args ...any) {
	broken := x.violation
	x.violation = ""
	at := 0
	for i := range s.members {
		if s.members[i].hold.works() {
			at++
		}
	}
	if at > 1 {
		broken = fmt.Sprintf("%d members work on the shard", at)
	}
	what := ""
	if x.describe {
		what = fmt.Sprintf(format, args...)
	}
	x.steps = append(x.steps, step{what, s, broken})
}

// successors returns every state that follows s in one transition.
func (x *explorer) successors(s state) []step {
	x.steps, x.violation = x.steps[:0], ""
	for m := range s.members {
		x.memberSteps(s, m)
	}
	for c := range int(s.active) {
		x.coordinatorSteps(s, c)
	}
	if s.slabDeletions > 0 && s.slab.exists {
		n := s
		n.slabDeletions--
		n.lastVersion++
		n.slab = slab{version: n.lastVersion}
		x.add(n, "the slab is deleted by hand")
	}
	return x.steps
}

func (x *explorer) memberSteps(s state, m int) {
	me := &s.members[m]
	name := string(rune('a' + m))
	if me.own == 0 {
		if me.used < termsEach && (s.leases[m].current == 0 || s.leases[m].current.member() == m) {
			n := s
			w := &n.members[m]
			old := n.leases[m].current
			if old != 0 { // the same process may claim at once, because its work has returned
				n.leases[m].ended |= old.bit()
			}
			w.own = term(m*termsEach) + term(w.used) + 1
			w.used++
			n.leases[m].current = w.own
			x.react(&n, m)
			x.add(n, "%s claims its Lease, term %d", name, w.own)
		}
	} else if s.losses > 0 {
		n := s
		n.losses--
		n.endTerm(m)
		x.add(n, "the term of %s ends: it is not trusted any more", name)
	}
	if s.leaseDeletions > 0 && s.leases[m].current != 0 {
		n := s
		n.leaseDeletions--
		n.leases[m] = lease{}
		x.add(n, "the Lease of %s is deleted by hand", name)
	}
	if me.transit.version == 0 && s.slab.version > me.observed.version {
		n := s
		n.members[m].transit = s.slab
		x.add(n, "an event for %s is sent, version %d", name, s.slab.version)
	}
	if me.transit.version != 0 {
		n := s
		w := &n.members[m]
		if w.transit.version > w.observed.version {
			w.observed = w.transit
		}
		w.transit = slab{}
		x.react(&n, m)
		x.add(n, "%s observes version %d", name, w.observed.version)
	}
	if me.hold.works() && me.hold != working {
		n := s
		n.members[m].hold = drained
		x.react(&n, m)
		x.add(n, "the work of %s returns", name)
	}
	x.memberWrites(s, m, name)
}

// memberWrites adds the requests of a member.
func (x *explorer) memberWrites(s state, m int, name string) {
	me := &s.members[m]
	observed := me.observed.real()
	own := x.name(me.own)
	if !me.request.pending && observed != nil && me.own != 0 && (me.observed.version == s.slab.version || x.noCompareAndSwap) {
		ready := me.hold == drained || x.handOverWhileWorking && me.hold == draining
		if next := observed.Clone(); ready && next.HandOver(own.real(), 0) == nil {
			n := s
			w := &n.members[m]
			w.request = write{pending: true, base: w.observed.version, result: w.observed.with(next)}
			x.add(n, "%s sends a handover, based on version %d", name, w.request.base)
		}
		if next := observed.Clone(); (!me.hold.works() || x.ackWhileWorking) && next.Ack(own.real()) == nil {
			n := s
			w := &n.members[m]
			w.request = write{pending: true, base: w.observed.version, result: w.observed.with(next)}
			x.add(n, "%s sends an acknowledgement, based on version %d", name, w.observed.version)
		}
	}
	x.delivery(s, name, func(n *state) *write { return &n.members[m].request })
}

// react makes member m follow its newest observation.
func (x *explorer) react(s *state, m int) {
	me := &s.members[m]
	duty := me.observed.real().Duty(x.name(me.own).real(), 0)
	switch {
	case duty == 0 && me.hold == drained:
		me.hold = idle
	case duty == 0 && me.hold.works():
		me.hold = stopping
	case duty == 1 && (me.hold == idle || me.hold == drained):
		me.hold = working
		if me.observed.version <= s.token {
			x.violation = fmt.Sprintf("%c works with token %d, but token %d was used before", 'a'+m, me.observed.version, s.token)
		}
		s.token = max(s.token, me.observed.version)
	case duty == 2 && me.hold == working:
		me.hold = draining
	case duty == 2 && me.hold == idle:
		me.hold = drained
	}
}

// endTerm ends the term of member m. Its work stops in the margin, before anybody may seal
// the term.
func (s *state) endTerm(m int) {
	me := &s.members[m]
	me.own, me.hold = 0, idle
}

// delivery adds the outcomes of a request in flight.
func (x *explorer) delivery(s state, name string, request func(*state) *write) {
	w := *request(&s)
	if !w.pending {
		return
	}
	n := s
	*request(&n) = write{}
	switch {
	case w.seal != 0:
		if l := &n.leases[w.seal.member()]; l.current == w.seal {
			l.current = 0
			l.ended |= w.seal.bit()
			x.add(n, "the seal of term %d by %s is applied", w.seal, name)
			break
		}
		x.add(n, "the seal of term %d by %s is refused", w.seal, name)
		return
	case w.create && !s.slab.exists:
		n.lastVersion++
		n.incarnation++
		n.slab = w.result
		n.slab.version, n.slab.incarnation = n.lastVersion, n.incarnation
		x.add(n, "%s creates a slab, version %d", name, n.lastVersion)
	case !w.create && s.slab.exists && (w.base == s.slab.version || x.noCompareAndSwap):
		n.lastVersion++
		inc := n.slab.incarnation
		n.slab = w.result
		n.slab.version, n.slab.incarnation = n.lastVersion, inc
		x.add(n, "the write of %s is applied, version %d: owner %d, next %d, open %t", name, n.lastVersion, n.slab.owner, n.slab.next, n.slab.open)
	default:
		x.add(n, "the write of %s is refused", name)
		return
	}
	if s.drops > 0 {
		n := s
		n.drops--
		*request(&n) = write{}
		x.add(n, "the request of %s is lost", name)
	}
}

// name returns the name under which the table knows term t. If the rule nameTheProcess is
// set, entries name the process and not its term.
func (x *explorer) name(t term) term {
	if x.nameTheProcess && t != 0 {
		return term(t.member()*termsEach + 1)
	}
	return t
}
