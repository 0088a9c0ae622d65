package leaderelection

import (
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
)

// A writeKind says what a write was for.
type writeKind int

const (
	claiming writeKind = iota
	renewing
	releasing
)

// A write is one request of ours that changes the Lease. It is known again by
// its renewTime, which no two writes of an elector share.
type write struct {
	kind     writeKind
	renewed  int64  // microseconds
	base     uint64 // the version that it was based on; 0: none
	sent     stamp  // before it was sent
	answered uint64 // the moment at which its request ended with an error; 0: it has not
	refused  bool   // that error says that it was not applied
}

// openWrites are writes that may or may not have been applied, oldest first. Not
// even a refusal is proof: client-go itself sends a request again that was
// answered with Retry-After, and the second answer may be a conflict with the
// first.
type openWrites []write

// with adds w and forgets writes that are older than age: trust in them is over.
func (o openWrites) with(w write, age time.Duration) openWrites {
	return append(o.without(func(x write) bool { return w.sent.at.Sub(x.sent.at) > age }), w)
}

func (o openWrites) without(drop func(write) bool) openWrites {
	return slices.DeleteFunc(slices.Clone(o), drop)
}

// update replaces a write by what is known of it now.
func (o openWrites) update(w write) openWrites {
	next := slices.Clone(o)
	for i := range next {
		if next[i].renewed == w.renewed {
			next[i] = w
		}
	}
	return next
}

// find returns the write that made a record, if it is one of them.
func (o openWrites) find(identity string, lease *coordinationv1.Lease) (write, bool) {
	for _, w := range o {
		holder := identity
		if w.kind == releasing {
			holder = ""
		}
		if w.renewed == renewedAt(lease) && holderOf(lease) == holder {
			return w, true
		}
	}
	return write{}, false
}

// A held is what a term rests on: the last write of ours that is known to have
// been applied, and the object that it left.
type held struct {
	identity string
	lease    *coordinationv1.Lease // as it is on the server, as far as we know
	version  uint64                // of lease
	write    write                 // the proven write
	answered uint64                // the moment at which it was proven
}

// A verdict is what an observation means for a term.
type verdict struct {
	cause  error                 // not nil: the term is over
	proven *write                // this write was applied
	adopt  *coordinationv1.Lease // the object to base the next write on
}

// judge decides what s means to a term that rests on h, while the writes in
// open have not been answered. It is the only place where a term is taken from
// us by something that was seen.
func (h held) judge(s sighting, open openWrites) verdict {
	if s.rewound {
		return verdict{cause: ErrHistoryRewound}
	}
	if s.lease == nil {
		if s.version > h.version || s.version == 0 && s.asked > h.answered {
			return verdict{cause: ErrLeaseDeleted}
		}
		return verdict{}
	}
	if !h.older(s) {
		return verdict{}
	}
	if s.lease.UID != h.lease.UID {
		return verdict{cause: ErrLeaseDeleted}
	}
	if w, ok := open.find(h.identity, s.lease); ok {
		return verdict{proven: &w, adopt: s.lease}
	}
	if holderOf(s.lease) == h.identity && renewedAt(s.lease) == h.write.renewed {
		return verdict{adopt: s.lease} // an edit of something else is nobody's claim
	}
	return verdict{cause: ErrOvertaken}
}

// older reports whether what is held is older than what was seen.
func (h held) older(s sighting) bool {
	if s.version != 0 && h.version != 0 {
		return s.version > h.version
	}
	// Without versions an event cannot be told from an echo of the past: only
	// a read that was sent after our last write was answered counts.
	return s.asked > h.answered
}

// due is when the next renewal should be sent.
func (h held) due(retryPeriod time.Duration) time.Time {
	return h.write.sent.at.Add(retryPeriod)
}
