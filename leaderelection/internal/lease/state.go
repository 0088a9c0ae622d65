package lease

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/clock"
)

// An Observation is one report about the Lease. The report is a reply to a read, a
// reply to a write of this elector, or an event of a watch.
//
// An elector numbers its observations and its requests in the order in which they
// happen. These sequence numbers are unrelated to resourceVersions.
type Observation struct {
	Lease   *coordinationv1.Lease // nil if the Lease does not exist
	Version uint64                // resourceVersion of the Lease or of its deletion; 0 if the server has none
	At      time.Time             // when the report arrived
	ReadSeq uint64                // sequence number at which the read was sent; 0 if the report is not a reply to a read
	Sent    clock.Stamp           // taken just before the read was sent; zero if the report is not a reply to a read
	Rewound bool                  // true if a reply shows that the database was restored from a backup
}

// A State contains everything that an elector has observed of the Lease. A State is
// immutable. The method After returns the next State.
type State struct {
	Known          bool                  // true after the first observation
	Lease          *coordinationv1.Lease // nil if the Lease does not exist
	Version        uint64                // resourceVersion in the newest observation
	Since          time.Time             // when the current UID and spec were first observed, by the elector's own clock
	Seq            uint64                // sequence number of the newest observation
	Deleted        *coordinationv1.Lease // the last Lease that was deleted while it had a holder
	ProtectedUntil time.Time             // until this time, a previous holder may still work, even if the Lease does not name this holder
	OwnDuration    time.Duration         // the elector's LeaseDuration, used if the Lease does not contain one
}

// After returns the state after the observation o. seq is the sequence number of o. The
// result news reports whether o is newer than s. If o is not newer, the result next is
// s.
//
// o is newer if it has a greater resourceVersion than s, even if the Lease was deleted
// and created again. On a server without resourceVersions, a read is newer if it was
// sent after the last observation.
//
// If the Lease in s was deleted, the holder of that Lease may still work. Therefore
// nobody may claim the Lease before the deleted Lease would have expired. There is one
// exception. If own is true, this elector itself wrote the Lease in s. The elector may
// then claim at once, because an elector claims only after its own work has returned.
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

// afterRewind returns the state after the observation o, which shows that the database
// was restored from a backup. The last leader may still work, even if the restored
// Lease does not name this leader. Therefore the next claim must wait for at least one
// LeaseDuration.
func (s State) afterRewind(o Observation, seq uint64) State {
	protected := o.At.Add(s.OwnDuration)
	if until := s.HeldUntil(); until.After(protected) {
		protected = until
	}
	return State{Known: true, Lease: o.Lease, Version: o.Version, Since: o.At, Seq: seq,
		ProtectedUntil: protected, OwnDuration: s.OwnDuration}
}

// isNews reports whether o is newer than s.
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

// Holder returns the holder of the observed Lease. It returns "" if nobody holds the
// Lease.
func (s State) Holder() string { return Holder(s.Lease) }

// HeldUntil returns when the observed Lease expires, by the elector's own clock. It
// returns the zero Time if nobody holds the Lease.
func (s State) HeldUntil() time.Time {
	if s.Holder() == "" {
		return time.Time{}
	}
	return s.Since.Add(Duration(s.Lease, s.OwnDuration))
}

// Observation returns an Observation of the Lease in s. The parameter now becomes the
// time of the Observation.
func (s State) Observation(now time.Time) Observation {
	return Observation{Lease: s.Lease, Version: s.Version, At: now}
}

// A ClaimRule contains the inputs of ClaimableAt that are not part of a State.
type ClaimRule struct {
	ForeignReleaseDelay time.Duration                    // how long a candidate waits after a release without ReleasedAnnotation
	Own                 func(*coordinationv1.Lease) bool // reports whether this elector wrote the given Lease
	Proof               Proof                            // the last process that is known to have ended
}

// ClaimableAt returns the time at which the Lease may be claimed if the Lease does not
// change. known is false before the first observation.
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
	case rule.Proof.Covers(s.Lease) && rule.Proof.At.Before(s.HeldUntil()):
		// The claim replaces the version that the dead process left. The API server
		// refuses the claim if the Lease has changed since.
		if rule.Proof.At.After(at) {
			at = rule.Proof.At
		}
	default:
		at = s.HeldUntil()
	}
	if s.ProtectedUntil.After(at) {
		at = s.ProtectedUntil
	}
	return at, true
}

// The values of PreviousOutcome.Outcome.
const (
	PreviousNone       = "none"
	PreviousReleased   = "released"
	PreviousExpired    = "expired"
	PreviousTerminated = "terminated"
	PreviousDeleted    = "deleted"
	PreviousOwn        = "own"
)

// A PreviousOutcome describes how the previous term ended.
type PreviousOutcome struct {
	Outcome string    // one of the constants above
	Since   time.Time // when the last change of the Lease was observed; zero for PreviousNone
}

// PreviousOutcome returns how the last term ended, for a candidate that claims the
// Lease now. own is true if this elector wrote the Lease. terminated is true if the
// candidate has proof that the holder's process has ended.
func (s State) PreviousOutcome(own, terminated bool) PreviousOutcome {
	switch {
	case s.Lease == nil && s.Deleted == nil:
		return PreviousOutcome{Outcome: PreviousNone}
	case s.Lease == nil:
		return PreviousOutcome{PreviousDeleted, s.Since}
	case s.Holder() == "":
		return PreviousOutcome{PreviousReleased, s.Since}
	case own:
		return PreviousOutcome{PreviousOwn, s.Since}
	case terminated:
		return PreviousOutcome{PreviousTerminated, s.Since}
	default:
		return PreviousOutcome{PreviousExpired, s.Since}
	}
}

func specEqual(a, b *coordinationv1.Lease) bool {
	return apiequality.Semantic.DeepEqual(a.Spec, b.Spec)
}
