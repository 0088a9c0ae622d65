package table

import (
	"fmt"
	"slices"
)

// An Entry is the entry of one shard.
type Entry struct {
	Owner Term // the term that may work on the shard; zero means nobody
	Next  Term // the term to which the owner hands the shard over; zero means nobody
}

// A Slab is a part of the table. Each slab is stored in one Lease, and each write of a
// slab is a compare-and-swap on this Lease.
//
// A new slab is closed, and its shards have no owner. Members may still work on entries of
// an earlier slab of the same number, which was deleted. Therefore a coordinator grants
// shards of the slab only after it is open.
type Slab struct {
	Layout  Layout  // the layout of the whole table
	First   bool    // true if no slab of the group existed when this slab was created
	Open    bool    // true if the slab may name owners
	Acked   []Term  // while the slab is closed: the terms that work on no entry of an earlier slab
	Entries []Entry // one entry for each shard
}

// A Duty is what a member has to do for a shard.
type Duty int

// The values of a Duty.
const (
	Rest  Duty = iota // do not work on the shard
	Serve             // work on the shard
	Drain             // begin no new work, let running work finish, then hand the shard over
)

// Duty returns the duty of the term own for entry i, if s is the newest slab that its
// process has observed. The caller must also check that own is trusted.
func (s *Slab) Duty(own Term, i int) Duty {
	if s == nil || !s.Open || own.IsZero() || i >= len(s.Entries) || s.Entries[i].Owner != own {
		return Rest
	}
	if next := s.Entries[i].Next; next.IsZero() || next == own {
		return Serve
	}
	return Drain
}

// Clone returns a copy of s that can be changed.
func (s *Slab) Clone() *Slab {
	c := *s
	c.Acked, c.Entries = slices.Clone(s.Acked), slices.Clone(s.Entries)
	return &c
}

// NewSlab returns a closed slab without owners. first is true if no slab of the group
// existed.
func NewSlab(layout Layout, entries int, first bool) *Slab {
	return &Slab{Layout: layout, First: first, Entries: make([]Entry, entries)}
}

// HandOver makes the next owner of entry i the owner. Only the process of the term own may
// write the result, and only after its work on the shard has returned. Nobody else may
// take the shard from a term that is not over.
func (s *Slab) HandOver(own Term, i int) error {
	if s.Duty(own, i) != Drain {
		return fmt.Errorf("entry %d is not handed over by %q: its owner is %q and its next owner is %q", i, own, s.Entries[i].Owner, s.Entries[i].Next)
	}
	s.Entries[i] = Entry{Owner: s.Entries[i].Next}
	return nil
}

// NeedsAck reports whether the process of the term own has to acknowledge the closed slab
// s. Only this process may write the acknowledgement, and only after its work on every
// shard of this slab has returned.
func (s *Slab) NeedsAck(own Term) bool {
	return s != nil && !s.Open && !own.IsZero() && !slices.Contains(s.Acked, own)
}

// Ack records that own acknowledges the closed slab s.
func (s *Slab) Ack(own Term) error {
	if !s.NeedsAck(own) {
		return fmt.Errorf("slab needs no acknowledgement of %q", own)
	}
	s.Acked = append(s.Acked, own)
	return nil
}

// MayOpen reports whether the closed slab s may be opened. live contains the current terms
// in a read of all members' Leases that was sent after s was observed. waited is true if
// one LeaseDuration has passed since the reply of this read. Then each term that the read
// did not show has ended.
func (s *Slab) MayOpen(live []Term, waited bool) bool {
	if s.Open || !waited && !s.First {
		return false
	}
	return !slices.ContainsFunc(live, func(t Term) bool { return !slices.Contains(s.Acked, t) })
}

// OpenUp opens the slab. The caller must have called MayOpen.
func (s *Slab) OpenUp() { s.Open, s.Acked = true, nil }

// Grant makes the term to the owner of entry i. A coordinator may grant an entry only if
// the slab is open, and the entry has no owner or the owner's term is over. over is true if
// the owner's term is over.
func (s *Slab) Grant(i int, to Term, over bool) error {
	owner := s.Entries[i].Owner
	switch {
	case !s.Open:
		return fmt.Errorf("entry %d is not granted: the slab is closed", i)
	case !owner.IsZero() && !over:
		return fmt.Errorf("entry %d is not granted: the term of its owner %q is not over", i, owner)
	case to.IsZero():
		return fmt.Errorf("entry %d is not granted: the new owner is nobody", i)
	}
	s.Entries[i] = Entry{Owner: to}
	return nil
}

// Move asks the owner of entry i to hand the entry over to the term to. If to is zero, the
// owner keeps the entry. Each coordinator may do this at any time, because only the owner
// acts on it.
func (s *Slab) Move(i int, to Term) error {
	if !s.Open || s.Entries[i].Owner.IsZero() {
		return fmt.Errorf("entry %d is not moved: it has no owner", i)
	}
	if to == s.Entries[i].Owner {
		to = Term{}
	}
	s.Entries[i].Next = to
	return nil
}
