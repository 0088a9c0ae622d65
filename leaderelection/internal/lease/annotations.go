// Package lease contains the rules for a Lease. It defines what the fields and
// annotations of a Lease mean, when the Lease may be claimed, and what ends a term. The
// package starts no goroutine, reads no clock and sends no request. The elector and
// `kubectl lease explain` both use this package.
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
	// released the Lease. The value is the renewTime of the release in microseconds. If
	// the value differs from the Lease's renewTime, the annotation comes from an
	// earlier release and is ignored.
	ReleasedAnnotation = domain + "released"
	// TermsAnnotation contains the recent terms, see History.
	TermsAnnotation = domain + "terms"
	// ProcessAnnotation names the process that wrote the Lease as its holder, see
	// Process.
	ProcessAnnotation = domain + "process"

	domain = "incumbent.haproxy-template-ic.github.io/"
)

// maxOtherAnnotations is the largest total size, in bytes, of all annotations except
// TermsAnnotation. If the other annotations are larger, this module writes no
// annotations.
const maxOtherAnnotations = 200 * 1024

// HasRoom reports whether a Lease has room for the annotations of this module. The API
// server refuses a write if the annotations of the object are too large.
func HasRoom(lease *coordinationv1.Lease) bool {
	others := 0
	for key, value := range lease.Annotations {
		if key != TermsAnnotation {
			others += len(key) + len(value)
		}
	}
	return others <= maxOtherAnnotations
}

// IsReleased reports whether the Lease was released with ReleasedAnnotation. This
// annotation means that the work had stopped before the release.
func IsReleased(lease *coordinationv1.Lease) bool {
	value, ok := lease.Annotations[ReleasedAnnotation]
	return ok && Holder(lease) == "" && lease.Spec.RenewTime != nil && value == releasedValue(RenewTime(lease))
}

// releasedValue returns the value of ReleasedAnnotation for a release with this
// renewTime.
func releasedValue(renewTime int64) string { return strconv.FormatInt(renewTime, 10) }
