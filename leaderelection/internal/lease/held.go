package lease

import (
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/clock"
)

// A WriteKind is the kind of a write: a claim, a renewal or a release.
type WriteKind int

// The kinds of writes.
const (
	Claim WriteKind = iota
	Renewal
	Release
)

// A Write records a claim, a renewal or a release that this elector has sent. The
// elector uses this record to recognize its own writes in later observations. The
// renewTime identifies a Write, because an elector never uses a renewTime twice.
type Write struct {
	Kind      WriteKind   // claim, renewal or release
	RenewTime int64       // microseconds
	Base      uint64      // the resourceVersion that the write was based on; 0 if there was no resourceVersion
	Seq       uint64      // sequence number at which the write was issued
	Sent      clock.Stamp // taken just before the write was sent
	FailedSeq uint64      // sequence number at which the request ended with an error; 0 if there was no error
	Refused   bool        // true if the error means that the write was not applied
	Unclear   bool        // true if the server has answered, but only a later read shows whether the write was applied
	Create    bool        // true if the write creates the Lease
	Pending   Pending     // the newest read that showed that the write was not applied yet
}

// A Pending records a read that was sent after a write, and that showed that the write
// was not applied yet. If the server applied the write later, this happened after the
// read was sent.
type Pending struct {
	Sent clock.Stamp // taken just before the read was sent
	Seq  uint64      // sequence number at which the reply arrived; 0 if there was no such read
}

// MayBeApplied reports whether w may have been applied, or may still be applied, although
// no observation shows w. readSeq is the sequence number at which the last successful
// read was sent. If the server has answered, a read that was sent after the answer would
// show w.
func (w Write) MayBeApplied(readSeq uint64) bool {
	if w.Unclear {
		return readSeq < w.FailedSeq
	}
	return !w.Refused
}

// Writes are the unacknowledged writes of an elector, oldest first. Each of these
// writes may have been applied. Even a refused write may have been applied, because
// client-go repeats a request if the response contains Retry-After. A server that
// applied the first request answers the second request with a conflict.
type Writes []Write

// With returns a copy of ws that also contains the write w. The copy omits each write
// that was sent earlier than w by more than the duration age. The trust window of such
// a write has ended.
func (ws Writes) With(w Write, age time.Duration) Writes {
	return append(ws.Without(func(x Write) bool { return w.Sent.Time().Sub(x.Sent.Time()) > age }), w)
}

// Without returns the writes in ws for which drop returns false.
func (ws Writes) Without(drop func(Write) bool) Writes {
	return slices.DeleteFunc(slices.Clone(ws), drop)
}

// AfterRead returns a copy of ws in which the read o sets the field Pending of some
// writes. The write w was pending if o was sent after w and shows the version that w is
// based on. If w creates the Lease, w was pending if o shows no Lease. seq is the
// sequence number of o.
func (ws Writes) AfterRead(o Observation, seq uint64) Writes {
	next := slices.Clone(ws)
	for i := range next {
		w := &next[i]
		pending := o.Lease == nil && w.Create || o.Lease != nil && o.Version != 0 && o.Version == w.Base
		if pending && o.ReadSeq > w.Seq && o.Sent.Time().After(w.Pending.Sent.Time()) {
			w.Pending = Pending{o.Sent, seq}
		}
	}
	return next
}

// Latest returns the write in ws that has the same renewTime as w. If ws contains no
// such write, Latest returns w.
func (ws Writes) Latest(w Write) Write {
	for _, x := range ws {
		if x.RenewTime == w.RenewTime {
			return x
		}
	}
	return w
}

// Update returns a copy of ws in which w replaces the write that has the same renewTime
// as w.
func (ws Writes) Update(w Write) Writes {
	next := slices.Clone(ws)
	for i := range next {
		if next[i].RenewTime == w.RenewTime {
			next[i] = w
		}
	}
	return next
}

// Find returns the write in ws whose result is the Lease in the parameter record.
// identity is the identity of the elector that sent the writes.
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

// A Held describes the Lease that an elector holds. It contains the last confirmed
// write, and the Lease that results from this write.
type Held struct {
	Identity     string                // the identity of this elector
	Lease        *coordinationv1.Lease // the newest known content of the Lease
	Version      uint64                // the resourceVersion of Lease
	Write        Write                 // the last confirmed write
	TrustFrom    clock.Stamp           // when the trust window starts
	ConfirmedSeq uint64                // sequence number at which Write was confirmed
}

// A Loss is the reason why an observation ends a term.
type Loss int

// The values of a Loss.
const (
	NotLost   Loss = iota
	Overtaken      // another candidate wrote the Lease
	Deleted        // the Lease was deleted or replaced
	Rewound        // the database was restored from a backup
)

// An Outcome is the effect of an observation on a term. Confirmed and Adopt are set
// only if Loss is NotLost.
type Outcome struct {
	Loss      Loss                  // NotLost, or the reason why the term is over
	Confirmed *Write                // the write that the observation confirms, or nil
	Adopt     *coordinationv1.Lease // the new value of Held.Lease, or nil if Held.Lease does not change
}

// Evaluate returns the effect of the observation o on the term in which this elector
// holds the Lease h. unacknowledged contains the writes of this elector that may have
// been applied. Evaluate is the only function in which an observation ends a term.
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
		return Outcome{Adopt: o.Lease} // an edit of other fields does not end the term
	}
	return Outcome{Loss: Overtaken}
}

// LaterTrust reports whether the trust window may start at h.Write.Pending.Sent. At
// that time, the elector sent a read that showed that h.Write was not applied yet. The
// observation o must show h.Write, and must be the reply to a second read. The second
// read must have been sent after the reply to the first read arrived. Then h.Write was
// applied after the first read was sent.
//
// The reply to h.Write is not sufficient. If the database was restored from a backup,
// the server may have applied h.Write before the first read.
func (h Held) LaterTrust(o Observation) bool {
	pending := h.Write.Pending
	return pending.Seq != 0 && o.ReadSeq > pending.Seq && pending.Sent.Time().After(h.TrustFrom.Time()) &&
		o.Lease != nil && o.Lease.UID == h.Lease.UID && Holder(o.Lease) == h.Identity && RenewTime(o.Lease) == h.Write.RenewTime
}

// olderThan reports whether o shows a newer Lease than h.
func (h Held) olderThan(o Observation) bool {
	if o.Version != 0 && h.Version != 0 {
		return o.Version > h.Version
	}
	// Without resourceVersions, o is newer only if o is the reply to a read that was
	// sent after the last write was confirmed.
	return o.ReadSeq > h.ConfirmedSeq
}

// RenewAt returns when the next renewal should be sent. This time is one retryPeriod
// after the last confirmed write was sent.
func (h Held) RenewAt(retryPeriod time.Duration) time.Time {
	return h.Write.Sent.Time().Add(retryPeriod)
}
