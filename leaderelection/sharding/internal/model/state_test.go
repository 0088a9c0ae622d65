package model

import (
	"hash/maphash"
	"unsafe"

	"github.com/haproxy-template-ic/incumbent/leaderelection/sharding/internal/table"
)

const (
	members      = 3
	coordinators = 2
	termsEach    = 2 // how often a member may hold its Lease
)

// A term is a member's term. Term 0 means nobody. Member m has the terms m*termsEach+1 and
// following.
type term uint8

func (t term) member() int { return (int(t) - 1) / termsEach }

func (t term) bit() uint8 { return 1 << t }

// real returns the term for package table.
func (t term) real() table.Term {
	if t == 0 {
		return table.Term{}
	}
	name := string(rune('a' + t.member()))
	return table.Term{Member: name, Process: name, Acquired: int64(t)}
}

func modelTerm(t table.Term) term { return term(t.Acquired) }

// A slab is the slab in the server or in an observation.
type slab struct {
	version     uint8 // 0 if nothing was observed
	incarnation uint8
	exists      bool
	first, open bool
	acked       uint8
	owner, next term
}

func (s slab) real() *table.Slab {
	if !s.exists {
		return nil
	}
	r := &table.Slab{Layout: table.Layout{Shards: 1}, First: s.first, Open: s.open, Entries: []table.Entry{{Owner: s.owner.real(), Next: s.next.real()}}}
	for t := term(1); t <= members*termsEach; t++ {
		if s.acked&t.bit() != 0 {
			r.Acked = append(r.Acked, t.real())
		}
	}
	return r
}

// with returns s with the content of r.
func (s slab) with(r *table.Slab) slab {
	s.version, s.incarnation, s.exists, s.first, s.open, s.acked = 0, 0, true, r.First, r.Open, 0
	for _, t := range r.Acked {
		s.acked |= modelTerm(t).bit()
	}
	s.owner, s.next = modelTerm(r.Entries[0].Owner), modelTerm(r.Entries[0].Next)
	return s
}

// A lease is a member's Lease.
type lease struct {
	current term
	ended   uint8 // the terms that the Lease names as ended
}

func (l lease) real() (m table.MemberLease) {
	m.Current = l.current.real()
	for t := term(1); t <= members*termsEach; t++ {
		if l.ended&t.bit() != 0 {
			m.Ended = append(m.Ended, t.real())
		}
	}
	return m
}

// A hold is the state of the shard in a member.
type hold uint8

const (
	idle     hold = iota
	working       // work runs, and more may begin
	draining      // work runs, and no more begins
	stopping      // work was cancelled because the shard was lost, and runs
	drained       // work has returned, and the shard may be handed over

)

func (h hold) works() bool { return h == working || h == draining || h == stopping }

// A write is a request in flight.
type write struct {
	pending bool
	create  bool
	base    uint8 // the version of the slab that the write replaces
	result  slab
	seal    term // if not 0, the request seals this term
}

type member struct {
	own      term // the term, or 0; the term may have ended without the server's knowledge of it
	used     uint8
	observed slab
	transit  slab // an event on its way
	hold     hold
	request  write
}

type coordinator struct {
	observed  slab
	read      bool // the slab was observed
	knew      bool // a slab was observed that existed
	leases    [members]lease
	missing   uint8 // terms that a read did not show, after the slab named them
	waited    uint8 // missing terms, one LeaseDuration later
	listed    bool  // the Leases were read after the slab was observed
	waitedAll bool  // one LeaseDuration has passed since then
	request   write
}

type state struct {
	slab        slab
	lastVersion uint8
	incarnation uint8
	leases      [members]lease
	members     [members]member
	coordinator [coordinators]coordinator
	token       uint8 // the greatest token of a hold

	// What may still happen. active is the number of coordinators.
	active, losses, slabDeletions, leaseDeletions, grants, drops uint8
}

// seed is the seed of the hashes of states.
var seed = maphash.MakeSeed()

// reduce removes what can no longer have an effect: requests that the server will refuse,
// events that are older than what was observed, and notes about terms that the slab does
// not name. It replaces versions by their rank, because only their order matters.
func (s *state) reduce(r rules) {
	if !r.noCompareAndSwap {
		for m := range s.members {
			s.drop(&s.members[m].request)
		}
		for c := range s.coordinator {
			s.drop(&s.coordinator[c].request)
		}
	}
	for m := range s.members {
		if me := &s.members[m]; me.transit.version <= me.observed.version {
			me.transit = slab{}
		}
	}
	for i := range s.coordinator {
		c := &s.coordinator[i]
		named := c.observed.owner.bit() | c.observed.next.bit()
		c.missing &= named
		c.waited &= named
	}
	var present, rank [256]uint8
	versions := [3 + 3*members + 2*coordinators]*uint8{&s.slab.version, &s.lastVersion, &s.token}
	at := 3
	for i := range s.members {
		m := &s.members[i]
		at += copy(versions[at:], []*uint8{&m.observed.version, &m.transit.version, &m.request.base})
	}
	for i := range s.coordinator {
		c := &s.coordinator[i]
		at += copy(versions[at:], []*uint8{&c.observed.version, &c.request.base})
	}
	present[0] = 1
	for _, v := range versions {
		present[*v] = 1
	}
	next := uint8(0)
	for v := range present {
		if present[v] != 0 {
			rank[v] = next
			next++
		}
	}
	for _, v := range versions {
		*v = rank[*v]
	}
}

// drop removes the request w if the server will refuse it.
func (s *state) drop(w *write) {
	switch {
	case !w.pending || w.create:
	case w.seal != 0 && s.leases[w.seal.member()].current != w.seal, w.seal == 0 && (!s.slab.exists || w.base != s.slab.version):
		*w = write{}
	}
}

// key returns a hash of s. A state consists of bytes only, without padding.
func (s *state) key() uint64 {
	return maphash.Bytes(seed, unsafe.Slice((*byte)(unsafe.Pointer(s)), unsafe.Sizeof(*s)))
}
