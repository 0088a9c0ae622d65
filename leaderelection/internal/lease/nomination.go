package lease

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
)

// A Nomination is the content of SuccessorAnnotation: the follower that claims first
// when the Lease is released. A leader writes it with each claim, with no successor;
// followers nominate themselves. The zero Nomination names nobody. Its encoding is
//
//	<acquireTime in microseconds> <priority> <start of the process in milliseconds> <identity>
//
// The acquireTime ties it to one term. A nomination of an earlier term, or one left
// over after a foreign candidate has claimed the Lease, names nobody.
type Nomination struct {
	Identity string // "": nobody
	Priority int32
	Started  int64 // start of the process, in milliseconds since 1970, by its own clock
}

// Encode returns the annotation's value in the term that was acquired at acquired, in
// microseconds.
func (n Nomination) Encode(acquired int64) string {
	return fmt.Sprintf("%d %d %d %s", acquired, n.Priority, n.Started, n.Identity)
}

// Precedes reports whether n should be the successor in place of other: a higher
// priority precedes, then a later start of the process, so that a rolling update hands
// over to a replica that stays. A process that started less than minAgeGap later does
// not precede. Otherwise hundreds of about the same age would replace each other.
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

// NominationOf reads the annotation. ok is false if the Lease has no valid nomination
// of its present term. Then its leader does not support successors, and no follower
// nominates itself.
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

// Nominate returns a copy of the observed Lease that names candidate as successor.
func (s State) Nominate(candidate Nomination) *coordinationv1.Lease {
	lease := s.Lease.DeepCopy()
	lease.Annotations[SuccessorAnnotation] = candidate.Encode(lease.Spec.AcquireTime.UnixMicro())
	return lease
}

// Successor returns the nomination in the Lease. A deleted Lease keeps its successor.
func (s State) Successor() Nomination {
	lease := s.Lease
	if lease == nil {
		lease = s.Deleted
	}
	n, _ := NominationOf(lease)
	return n
}

// MayNominate reports whether candidate should nominate itself.
func (s State) MayNominate(candidate Nomination, minAgeGap time.Duration) bool {
	if s.Version == 0 || s.Holder() == "" || s.Holder() == candidate.Identity {
		return false // without versions, a nomination could undo a write of the leader
	}
	present, ok := NominationOf(s.Lease)
	return ok && present.Identity != candidate.Identity && candidate.Precedes(present, minAgeGap)
}
