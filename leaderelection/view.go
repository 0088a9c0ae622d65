package leaderelection

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
)

// A sighting is one observation of the Lease: a reply to a read or to a write
// of ours, or an event of a watch.
type sighting struct {
	lease   *coordinationv1.Lease // nil: there is none
	version uint64                // of the object or of its deletion; 0: the server has none
	at      time.Time             // when it reached us
	asked   uint64                // the moment at which the read was sent, 0 for events and for replies to writes
	rewound bool                  // a read sent after a refused write, that shows an older version than the write was based on
}

// A view is what the observer knows of the Lease. It is a value; after makes
// the next one.
type view struct {
	known     bool                  // anything was seen at all
	lease     *coordinationv1.Lease // nil: there is none
	version   uint64                // of the newest observation
	since     time.Time             // when our clock first saw this UID and spec
	counted   uint64                // the moment at which the newest observation was taken in
	gone      *coordinationv1.Lease // a Lease that was deleted while somebody held it
	protected time.Time             // until when somebody may still be at work whom the Lease does not name any more
	fallback  time.Duration         // what a missing LeaseDuration counts as: our own
}

// after returns the view once s was taken in at moment, and whether s said
// anything new. Observations are ordered by resourceVersion, across UIDs; where
// there is none, a read counts if it was sent after the last observation. ours
// says that this elector wrote the Lease as it was seen last: then nobody needs
// to be protected when it is gone, for its own work returns before it claims.
func (v view) after(s sighting, moment uint64, ours bool) (view, bool) {
	if s.rewound {
		return v.rewound(s, moment), true
	}
	if v.known && !v.newer(s) {
		return v, false
	}
	next := v
	next.known, next.lease, next.version, next.counted = true, s.lease, s.version, moment
	if v.known && sameTenure(v.lease, s.lease) {
		return next, true
	}
	next.since = s.at
	if gone := s.lease == nil || v.lease != nil && v.lease.UID != s.lease.UID; gone && v.holder() != "" {
		next.gone = v.lease
		if until := v.heldUntil(); !ours && until.After(next.protected) {
			next.protected = until
		}
	}
	return next, true
}

// rewound is the view after history ran backwards: all is forgotten but that, a
// moment ago, somebody may have led whom the past does not show. He has his time.
func (v view) rewound(s sighting, moment uint64) view {
	protected := s.at.Add(v.fallback)
	if until := v.heldUntil(); until.After(protected) {
		protected = until
	}
	return view{known: true, lease: s.lease, version: s.version, since: s.at, counted: moment,
		protected: protected, fallback: v.fallback}
}

// newer reports whether s is to be believed over what is known.
func (v view) newer(s sighting) bool {
	switch {
	case s.lease == nil && s.version == 0:
		return s.asked > v.counted
	case s.version != 0 && v.version != 0:
		return s.version > v.version
	case s.asked != 0:
		return s.asked > v.counted
	default:
		return true
	}
}

// sameTenure reports whether two observations show the same claim: same UID and
// same spec. Metadata may be edited under a dead leader.
func sameTenure(a, b *coordinationv1.Lease) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.UID == b.UID && apiequality.Semantic.DeepEqual(a.Spec, b.Spec)
}

// holder is the identity that was last seen in the Lease.
func (v view) holder() string { return holderOf(v.lease) }

// heldUntil is until when the holder last seen may be at work, as far as can be
// told from here; zero if nobody holds the Lease.
func (v view) heldUntil() time.Time {
	if v.holder() == "" {
		return time.Time{}
	}
	return v.since.Add(durationOf(v.lease, v.fallback))
}

// A claimRule is what a candidate adds to what it saw.
type claimRule struct {
	unmarkedPause time.Duration                    // how long a Lease that was freed without our mark is left alone
	own           func(*coordinationv1.Lease) bool // whether this elector wrote a record; its work is known to have returned
}

// claimableAt is when the Lease may be claimed, if nothing changes until then.
// It answers false as long as nothing was seen.
func (v view) claimableAt(rule claimRule) (time.Time, bool) {
	if !v.known {
		return time.Time{}, false
	}
	at := v.since
	switch {
	case v.lease == nil:
	case v.holder() == "" && releasedByUs(v.lease):
	case v.holder() == "":
		at = v.since.Add(rule.unmarkedPause)
	case rule.own(v.lease):
	default:
		at = v.heldUntil()
	}
	if v.protected.After(at) {
		at = v.protected
	}
	return at, true
}
