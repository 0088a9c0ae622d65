package lease

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
)

// An Observation is one report about the Lease: a reply to a read, a reply to a write
// of this elector, or an event of a watch.
//
// Sequence numbers order the observations and requests of one elector. They count its
// own steps and have nothing to do with resourceVersions.
type Observation struct {
	Lease   *coordinationv1.Lease // nil: the Lease does not exist
	Version uint64                // of the object or of its deletion; 0: the server has none
	At      time.Time             // when the report arrived
	ReadSeq uint64                // sequence number at which the read was sent; 0 for events and for replies to writes
	Rewound bool                  // a read sent after a refused write shows an older version than the write was based on
}

// A State is everything that an elector has observed of the Lease. It is a value.
// After returns the next one.
type State struct {
	Known          bool                  // there was an observation
	Lease          *coordinationv1.Lease // nil: the Lease does not exist
	Version        uint64                // of the newest observation
	Since          time.Time             // when this UID and spec were first observed, on the elector's own clock
	Seq            uint64                // sequence number of the newest observation
	Deleted        *coordinationv1.Lease // the last Lease that was deleted while a candidate held it
	ProtectedUntil time.Time             // until then a holder may be at work that the Lease does not name any more
	OwnDuration    time.Duration         // the elector's LeaseDuration, which replaces a missing one
}

// After returns the state after o, which was taken in at sequence number seq. It
// reports whether o was news. Observations are ordered by resourceVersion, across UIDs.
// Without resourceVersions, a read counts if it was sent after the last observation.
// own states that this elector wrote the Lease of s. If that Lease is gone, no holder
// needs protection, because the elector's own work returns before it claims again.
func (s State) After(o Observation, seq uint64, own bool) (next State, news bool) {
	if o.Rewound {
		return s.afterRewind(o, seq), true
	}
	if s.Known && !s.isNews(o) {
		return s, false
	}
	next = s
	next.Known, next.Lease, next.Version, next.Seq = true, o.Lease, o.Version, seq
	if s.Known && SameRecord(s.Lease, o.Lease) {
		return next, true
	}
	next.Since = o.At
	if gone := o.Lease == nil || s.Lease != nil && s.Lease.UID != o.Lease.UID; gone && s.Holder() != "" {
		next.Deleted = s.Lease
		if until := s.HeldUntil(); !own && until.After(next.ProtectedUntil) {
			next.ProtectedUntil = until
		}
	}
	return next, true
}

// afterRewind forgets everything observed before. A leader that the restored history
// does not show may have led a moment ago. It is protected for one LeaseDuration.
func (s State) afterRewind(o Observation, seq uint64) State {
	protected := o.At.Add(s.OwnDuration)
	if until := s.HeldUntil(); until.After(protected) {
		protected = until
	}
	return State{Known: true, Lease: o.Lease, Version: o.Version, Since: o.At, Seq: seq,
		ProtectedUntil: protected, OwnDuration: s.OwnDuration}
}

// isNews reports whether o is newer than the state.
func (s State) isNews(o Observation) bool {
	switch {
	case o.Lease == nil && o.Version == 0:
		return o.ReadSeq > s.Seq
	case o.Version != 0 && s.Version != 0:
		return o.Version > s.Version
	case o.ReadSeq != 0:
		return o.ReadSeq > s.Seq
	default:
		return true
	}
}

// Holder returns the identity that was last observed in the Lease, "" if nobody held
// it.
func (s State) Holder() string { return Holder(s.Lease) }

// HeldUntil returns when the Lease of the last observed holder expires, on the
// elector's own clock. It returns the zero Time if nobody holds the Lease.
func (s State) HeldUntil() time.Time {
	if s.Holder() == "" {
		return time.Time{}
	}
	return s.Since.Add(Duration(s.Lease, s.OwnDuration))
}

// Observation returns the newest observation again.
func (s State) Observation(now time.Time) Observation {
	return Observation{Lease: s.Lease, Version: s.Version, At: now}
}

// A ClaimRule is what a candidate adds to its observations.
type ClaimRule struct {
	ForeignReleaseDelay time.Duration                    // how long a Lease that was released without annotation is left alone
	Own                 func(*coordinationv1.Lease) bool // whether this elector wrote a record, so that its work has returned
}

// ClaimableAt returns when the Lease may be claimed if nothing changes until then. It
// reports false before the first observation.
func (s State) ClaimableAt(rule ClaimRule) (at time.Time, known bool) {
	if !s.Known {
		return time.Time{}, false
	}
	at = s.Since
	switch {
	case s.Lease == nil:
	case s.Holder() == "" && IsReleased(s.Lease):
	case s.Holder() == "":
		at = s.Since.Add(rule.ForeignReleaseDelay)
	case rule.Own(s.Lease):
	default:
		at = s.HeldUntil()
	}
	if s.ProtectedUntil.After(at) {
		at = s.ProtectedUntil
	}
	return at, true
}

// The outcomes of the previous term, as a candidate observes them when it claims.
const (
	PreviousNone     = "none"
	PreviousReleased = "released"
	PreviousExpired  = "expired"
	PreviousDeleted  = "deleted"
	PreviousOwn      = "own"
)

// A PreviousOutcome states how the previous term ended.
type PreviousOutcome struct {
	Outcome string    // PreviousReleased and so on
	Since   time.Time // when the last write of that term was observed; zero for PreviousNone
}

// PreviousOutcome returns how the term before a claim ended. own states that this
// elector wrote the Lease.
func (s State) PreviousOutcome(own bool) PreviousOutcome {
	switch {
	case s.Lease == nil && s.Deleted == nil:
		return PreviousOutcome{Outcome: PreviousNone}
	case s.Lease == nil:
		return PreviousOutcome{PreviousDeleted, s.Since}
	case s.Holder() == "":
		return PreviousOutcome{PreviousReleased, s.Since}
	case own:
		return PreviousOutcome{PreviousOwn, s.Since}
	default:
		return PreviousOutcome{PreviousExpired, s.Since}
	}
}

func specEqual(a, b *coordinationv1.Lease) bool {
	return apiequality.Semantic.DeepEqual(a.Spec, b.Spec)
}
