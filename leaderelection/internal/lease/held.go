package lease

import (
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/clock"
)

// A WriteKind is the purpose of a write.
type WriteKind int

// The kinds of writes.
const (
	Claim WriteKind = iota
	Renewal
	Release
)

// A Write is one request of this elector that changes the Lease. Its renewTime
// identifies it: no two writes of an elector share one.
type Write struct {
	Kind      WriteKind   // claim, renewal or release
	RenewTime int64       // microseconds
	Base      uint64      // the version that it was based on; 0: none
	Seq       uint64      // sequence number at which it was issued
	Sent      clock.Stamp // before it was sent
	FailedSeq uint64      // sequence number at which its request ended with an error; 0: it has not
	Refused   bool        // that error states that the write was not applied
}

// Writes are the unacknowledged writes, oldest first: each may or may not have been
// applied. Not even a refusal is proof, because client-go itself repeats a request that
// was answered with Retry-After, and the second answer may be a conflict with the first.
type Writes []Write

// With adds w and drops writes that were sent more than age before it. Trust in those
// is over.
func (ws Writes) With(w Write, age time.Duration) Writes {
	return append(ws.Without(func(x Write) bool { return w.Sent.Time().Sub(x.Sent.Time()) > age }), w)
}

// Without drops the writes for which drop returns true.
func (ws Writes) Without(drop func(Write) bool) Writes {
	return slices.DeleteFunc(slices.Clone(ws), drop)
}

// Update replaces the write with the same renewTime by w.
func (ws Writes) Update(w Write) Writes {
	next := slices.Clone(ws)
	for i := range next {
		if next[i].RenewTime == w.RenewTime {
			next[i] = w
		}
	}
	return next
}

// Find returns the write of identity that produced the record, if it is one of these.
func (ws Writes) Find(identity string, record *coordinationv1.Lease) (Write, bool) {
	for _, w := range ws {
		holder := identity
		if w.Kind == Release {
			holder = ""
		}
		if w.RenewTime == RenewTime(record) && Holder(record) == holder {
			return w, true
		}
	}
	return Write{}, false
}

// A Held is what a term rests on: the last confirmed write, and the object that it
// left on the server.
type Held struct {
	Identity     string                // of this elector
	Lease        *coordinationv1.Lease // the object on the server, as far as is known
	Version      uint64                // of Lease
	Write        Write                 // the confirmed write
	ConfirmedSeq uint64                // sequence number at which it was confirmed
}

// A Loss is why an observation ends a term.
type Loss int

// The losses.
const (
	NotLost   Loss = iota
	Overtaken      // another candidate wrote the Lease
	Deleted        // the Lease was deleted or replaced
	Rewound        // resourceVersions ran backwards
)

// An Outcome is what an observation means for a term. At most one of Loss and the
// other fields is set.
type Outcome struct {
	Loss      Loss                  // the term is over
	Confirmed *Write                // this write was applied
	Adopt     *coordinationv1.Lease // the object to base the next write on
}

// Evaluate returns what o means for a term that rests on h while unacknowledged writes
// are under way. It is the only place where an observation ends a term.
func (h Held) Evaluate(o Observation, unacknowledged Writes) Outcome {
	if o.Rewound {
		return Outcome{Loss: Rewound}
	}
	if o.Lease == nil {
		if o.Version > h.Version || o.Version == 0 && o.ReadSeq > h.ConfirmedSeq {
			return Outcome{Loss: Deleted}
		}
		return Outcome{}
	}
	if !h.olderThan(o) {
		return Outcome{}
	}
	if o.Lease.UID != h.Lease.UID {
		return Outcome{Loss: Deleted}
	}
	if w, ok := unacknowledged.Find(h.Identity, o.Lease); ok {
		return Outcome{Confirmed: &w, Adopt: o.Lease}
	}
	if Holder(o.Lease) == h.Identity && RenewTime(o.Lease) == h.Write.RenewTime {
		return Outcome{Adopt: o.Lease} // an edit of other fields is no claim
	}
	return Outcome{Loss: Overtaken}
}

// olderThan reports whether the held Lease is older than the observation.
func (h Held) olderThan(o Observation) bool {
	if o.Version != 0 && h.Version != 0 {
		return o.Version > h.Version
	}
	// Without versions, an event cannot be told from a late one. Only a read that was
	// sent after the last write was confirmed counts.
	return o.ReadSeq > h.ConfirmedSeq
}

// RenewAt returns when the next renewal should be sent.
func (h Held) RenewAt(retryPeriod time.Duration) time.Time {
	return h.Write.Sent.Time().Add(retryPeriod)
}
