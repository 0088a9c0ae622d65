package lease

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
)

// A Nomination is the content of SuccessorAnnotation. It names the successor, which is
// the follower that claims first when the Lease is released. With each claim, a leader
// writes the zero Nomination, which names nobody. Later, a follower writes its own
// Nomination into the annotation. The encoding of a Nomination is
//
//	<acquireTime in microseconds> <priority> <start of the process in milliseconds> <identity>
//
// A Nomination belongs to one term. If the acquireTime in the annotation differs from
// the acquireTime of the Lease, the Nomination belongs to an earlier term and is
// ignored.
type Nomination struct {
	Identity string // the successor; "" means nobody
	Priority int32
	Started  int64 // start of the follower's process, in milliseconds since 1970
}

// Encode returns the value of SuccessorAnnotation. acquired is the
// acquireTime of the Lease in microseconds.
func (n Nomination) Encode(acquired int64) string {
	return fmt.Sprintf("%d %d %d %s", acquired, n.Priority, n.Started, n.Identity)
}

// Precedes reports whether n should replace the nomination other. If other names
// nobody, the result is true. If the priorities differ, the result is true if n has the
// higher priority. If the priorities are equal, the result is true if the process of n
// started later by more than minAgeGap. A younger process is better, because a rolling
// update stops the older processes. Without minAgeGap, followers of about the same age
// would replace each other.
func (n Nomination) Precedes(other Nomination, minAgeGap time.Duration) bool {
	switch {
	case other.Identity == "":
		return true
	case n.Priority != other.Priority:
		return n.Priority > other.Priority
	default:
		return n.Started-minAgeGap.Milliseconds() > other.Started
	}
}

// NominationOf returns the nomination in a Lease. ok is false if the Lease has no valid
// nomination for its current term. For example, client-go writes no nomination. If ok
// is false, no follower nominates itself.
func NominationOf(lease *coordinationv1.Lease) (n Nomination, ok bool) {
	if lease == nil || lease.Spec.AcquireTime == nil {
		return Nomination{}, false
	}
	fields := strings.SplitN(lease.Annotations[SuccessorAnnotation], " ", 4)
	if len(fields) != 4 || fields[0] != strconv.FormatInt(lease.Spec.AcquireTime.UnixMicro(), 10) {
		return Nomination{}, false
	}
	priority, errPriority := strconv.ParseInt(fields[1], 10, 32)
	started, errStarted := strconv.ParseInt(fields[2], 10, 64)
	if errPriority != nil || errStarted != nil {
		return Nomination{}, false
	}
	return Nomination{Identity: fields[3], Priority: int32(priority), Started: started}, true
}

// Nominate returns a copy of the observed Lease in which candidate is the successor.
func (s State) Nominate(candidate Nomination) *coordinationv1.Lease {
	lease := s.Lease.DeepCopy()
	lease.Annotations[SuccessorAnnotation] = candidate.Encode(lease.Spec.AcquireTime.UnixMicro())
	return lease
}

// Successor returns the nomination in the observed Lease. If the Lease was deleted,
// Successor returns the nomination in the deleted Lease.
func (s State) Successor() Nomination {
	lease := s.Lease
	if lease == nil {
		lease = s.Deleted
	}
	n, _ := NominationOf(lease)
	return n
}

// MayNominate reports whether candidate should nominate itself. minAgeGap is the
// minimum age gap, see Precedes.
func (s State) MayNominate(candidate Nomination, minAgeGap time.Duration) bool {
	if s.Version == 0 || s.Holder() == "" || s.Holder() == candidate.Identity {
		return false // without resourceVersions, a nomination could overwrite a renewal
	}
	present, ok := NominationOf(s.Lease)
	return ok && present.Identity != candidate.Identity && candidate.Precedes(present, minAgeGap)
}
