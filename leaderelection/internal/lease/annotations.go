// Package lease is the pure model of a Lease: what its fields and annotations mean,
// what an observation changes, when the Lease may be claimed, and what ends a term. It
// has no goroutine, no clock and no client. The elector and `kubectl lease explain`
// both use it, so that they agree.
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
	// ReleasedAnnotation states that the work had stopped before the Lease was
	// released. Its value is the renewTime of the releasing write in microseconds, so
	// that the annotation of an earlier release means nothing.
	ReleasedAnnotation = domain + "released"
	// TermsAnnotation holds the recent terms, see History.
	TermsAnnotation = domain + "terms"

	domain = "incumbent.haproxy-template-ic.github.io/"
)

// maxOtherAnnotations is the size in bytes of all other annotations above which this
// module writes none of its own.
const maxOtherAnnotations = 200 * 1024

// HasRoom reports whether a Lease has room for the annotations of this module. The API
// server limits the total size of an object's annotations and refuses a write beyond
// it.
func HasRoom(lease *coordinationv1.Lease) bool {
	others := 0
	for key, value := range lease.Annotations {
		if key != TermsAnnotation {
			others += len(key) + len(value)
		}
	}
	return others <= maxOtherAnnotations
}

// IsReleased reports whether an elector of this module released the Lease after its
// work had stopped.
func IsReleased(lease *coordinationv1.Lease) bool {
	value, ok := lease.Annotations[ReleasedAnnotation]
	return ok && Holder(lease) == "" && lease.Spec.RenewTime != nil && value == releasedValue(RenewTime(lease))
}

// releasedValue returns the value of ReleasedAnnotation for a release.
func releasedValue(renewTime int64) string { return strconv.FormatInt(renewTime, 10) }
