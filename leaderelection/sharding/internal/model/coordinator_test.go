package model

import "github.com/haproxy-template-ic/incumbent/leaderelection/sharding/internal/table"

func (x *explorer) coordinatorSteps(s state, c int) {
	me := &s.coordinator[c]
	name := string(rune('X' + c))
	if !me.read || me.observed != s.slab {
		n := s
		n.readSlab(c)
		x.add(n, "%s reads the slab, version %d", name, s.slab.version)
	}
	{
		n := s
		n.readLeases(c)
		if n.coordinator[c] != s.coordinator[c] {
			x.add(n, "%s reads the members' Leases", name)
		}
	}
	x.waits(s, c, name)
	if !me.request.pending && me.read {
		x.coordinatorWrites(s, c, name)
	}
	x.delivery(s, name, func(n *state) *write { return &n.coordinator[c].request })
}

func (s *state) readSlab(c int) {
	me := &s.coordinator[c]
	if !me.read || me.observed.incarnation != s.slab.incarnation || me.observed.exists != s.slab.exists {
		me.listed, me.waitedAll = false, false
	}
	me.read, me.observed, me.knew = true, s.slab, me.knew || s.slab.exists
}

func (s *state) readLeases(c int) {
	me := &s.coordinator[c]
	me.leases, me.listed = s.leases, me.read
	for _, t := range []term{me.observed.owner, me.observed.next} {
		if t != 0 && s.leases[t.member()].current != t {
			me.missing |= t.bit()
		}
	}
}

// works reports whether the term t is trusted or its work runs.
func (s *state) works(t term) bool { return t != 0 && s.members[t.member()].own == t }

// waits adds the transitions in which one LeaseDuration has passed.
func (x *explorer) waits(s state, c int, name string) {
	me := &s.coordinator[c]
	for t := term(1); t <= members*termsEach; t++ {
		missing := me.missing&t.bit() != 0 || x.waitWithoutRead && me.leases[t.member()].current != t
		if missing && me.waited&t.bit() == 0 && (me.observed.owner == t || me.observed.next == t) && (!s.works(t) || x.waitWithoutRead && me.missing&t.bit() == 0) {
			n := s
			n.coordinator[c].waited |= t.bit()
			x.add(n, "%s has waited for term %d", name, t)
		}
	}
	waitedAll := me.listed && !me.waitedAll && me.observed.exists && !me.observed.open && !me.observed.first
	for m := range s.members {
		if own := s.members[m].own; s.works(own) && me.leases[m].current != own && s.leases[m].current != own {
			waitedAll = false // a term that the read did not show, and that has not ended yet
		}
	}
	if waitedAll {
		n := s
		n.coordinator[c].waitedAll = true
		x.add(n, "%s has waited for all terms that it did not observe", name)
	}
}

// over reports whether coordinator c knows that term t is over.
func (me *coordinator) over(t term) bool {
	return t != 0 && me.leases[t.member()].real().Over(t.real(), me.waited&t.bit() != 0)
}

// live returns the current terms in the last read of the Leases.
func (me *coordinator) live() (all []table.Term, short []term) {
	for _, l := range me.leases {
		if l.current != 0 {
			all, short = append(all, l.current.real()), append(short, l.current)
		}
	}
	return all, short
}

func (x *explorer) coordinatorWrites(s state, c int, name string) {
	me := &s.coordinator[c]
	send := func(w write, what string, t term) {
		if refused := !w.create && w.seal == 0 && w.base != s.slab.version; refused && !x.noCompareAndSwap {
			return
		}
		n := s
		w.pending = true
		n.coordinator[c].request = w
		if what == "grant" || what == "move" {
			if n.grants == 0 {
				return
			}
			n.grants--
		}
		x.add(n, "%s sends: %s, term %d, based on version %d", name, what, t, w.base)
	}
	all, live := me.live()
	for _, t := range live {
		// The Lease was unchanged for its LeaseDuration, so the term's work has stopped.
		if !s.works(t) || x.sealTrusted {
			send(write{seal: t}, "seal", t)
		}
	}
	if !me.observed.exists {
		send(write{create: true, result: slab{}.with(table.NewSlab(table.Layout{Shards: 1}, 1, !me.knew))}, "create", 0)
		return
	}
	change := func(what string, t term, f func(*table.Slab) error) {
		next := me.observed.real()
		if f(next) == nil {
			if w := me.observed.with(next); w != me.observed.with(me.observed.real()) {
				send(write{base: me.observed.version, result: w}, what, t)
			}
		}
	}
	if r := me.observed.real(); !r.Open && me.listed && (r.MayOpen(all, me.waitedAll || x.openWithoutWait) || x.openWithoutAcks && r.MayOpen(nil, me.waitedAll)) {
		change("open", 0, func(r *table.Slab) error { r.OpenUp(); return nil })
	}
	for _, t := range live {
		t = x.name(t)
		change("grant", t, func(r *table.Slab) error {
			return r.Grant(0, t.real(), me.over(me.observed.owner) || x.grantWithoutProof)
		})
		change("move", t, func(r *table.Slab) error { return r.Move(0, t.real()) })
	}
	if me.observed.next != 0 {
		change("stay", 0, func(r *table.Slab) error { return r.Move(0, table.Term{}) })
	}
}
