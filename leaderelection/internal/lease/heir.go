package lease

import (
	"strconv"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
)

// A Heritage is what the annotation Heir says of the follower that claims first.
type Nomination struct {
	Identity string // "": nobody
	Priority int32
	Started  int64 // milliseconds since 1970, by its own clock
}

// HeritageOf reads the annotation Heir. It answers false for what names nobody in
// the term that the Lease shows: the value begins with that term's acquireTime.
// What electors and onlookers believe must be the same, so both read it here.
func NominationOf(lease *coordinationv1.Lease) (Nomination, bool) {
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
