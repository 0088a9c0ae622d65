// Package lease is the pure model of a Lease. It defines what the fields and
// annotations of a Lease mean, and what an observation changes. It defines when the
// Lease may be claimed, and what ends a term. It has no goroutine, no clock and no
// client. Both the elector and `kubectl lease explain` use it, and therefore their
// answers agree.
package lease

import (
	"strconv"

	coordinationv1 "k8s.io/api/coordination/v1"
)

// The annotations that this module writes.
const (
	// SuccessorAnnotation names the follower that claims a released Lease first, see
	// Nomination.
	SuccessorAnnotation = domain + "successor"
	// ReleasedAnnotation means that the leader's work had stopped before the leader
	// released the Lease. Its value is the renewTime of the release in microseconds. If
	// the value differs from the Lease's renewTime, the annotation is left over from an
	// earlier release and is ignored.
	ReleasedAnnotation = domain + "released"
	// TermsAnnotation contains the recent terms, see History.
	TermsAnnotation = domain + "terms"

	domain = "incumbent.haproxy-template-ic.github.io/"
)

// maxOtherAnnotations limits the size of the annotations that this module did not
// write, in bytes. If they are larger together, this module writes no annotations.
const maxOtherAnnotations = 200 * 1024

// HasRoom reports whether a Lease has room for the annotations of this module. The API
// server limits the total size of an object's annotations, and refuses a write that
// exceeds the limit.
func HasRoom(lease *coordinationv1.Lease) bool {
	others := 0
	for key, value := range lease.Annotations {
		if key != TermsAnnotation {
			others += len(key) + len(value)
		}
	}
	return others <= maxOtherAnnotations
}

// IsReleased reports whether an elector of this library released the Lease after its
// work had stopped.
func IsReleased(lease *coordinationv1.Lease) bool {
	value, ok := lease.Annotations[ReleasedAnnotation]
	return ok && Holder(lease) == "" && lease.Spec.RenewTime != nil && value == releasedValue(RenewTime(lease))
}

// releasedValue returns the value of ReleasedAnnotation for a release with this
// renewTime.
func releasedValue(renewTime int64) string { return strconv.FormatInt(renewTime, 10) }
