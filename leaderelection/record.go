package leaderelection

import (
	"maps"
	"math"
	"strconv"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// releasedAnnotation marks a Lease that was released after the work had
// stopped. Its value is the renewTime of the releasing write, in microseconds:
// a mark that another elector left behind marks nothing.
const releasedAnnotation = leasestate.ReleasedAnnotation

// holderOf is the identity that a Lease names, "" if it is free.
func holderOf(lease *coordinationv1.Lease) string {
	if lease == nil || lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// durationOf is the LeaseDuration that a Lease's holder published; fallback if
// it is missing or makes no sense.
func durationOf(lease *coordinationv1.Lease, fallback time.Duration) time.Duration {
	if s := lease.Spec.LeaseDurationSeconds; s != nil && *s > 0 {
		return time.Duration(*s) * time.Second
	}
	return fallback
}

// renewedAt is a Lease's renewTime in microseconds, 0 if it has none.
func renewedAt(lease *coordinationv1.Lease) int64 {
	if lease == nil || lease.Spec.RenewTime == nil {
		return 0
	}
	return lease.Spec.RenewTime.UnixMicro()
}

// releasedByUs reports whether an elector of this package freed the Lease, its
// work having stopped before.
func releasedByUs(lease *coordinationv1.Lease) bool {
	return leasestate.IsReleased(lease)
}

// versionOf is a Lease's resourceVersion as a number, 0 if it has none that can
// be compared (client-go's fakes).
func versionOf(lease *coordinationv1.Lease) uint64 {
	if lease == nil {
		return 0
	}
	v, err := strconv.ParseUint(lease.ResourceVersion, 10, 64)
	if err != nil {
		return 0
	}
	return v
}

// nextTransitions counts one change of holder more, without running over what
// the API server accepts.
func nextTransitions(lease *coordinationv1.Lease) int32 {
	if lease == nil || lease.Spec.LeaseTransitions == nil {
		return 0
	}
	if n := *lease.Spec.LeaseTransitions; n >= 0 && n < math.MaxInt32 {
		return n + 1
	}
	return 0
}

// A draft is what a write puts into a Lease.
type draft struct {
	holder      string
	seconds     int32
	acquired    time.Time
	renewed     time.Time
	transitions int32
	labels      map[string]string
}

// apply returns the object to send: base with the draft's spec. Everything else
// in base, its UID and resourceVersion above all, stays: they are what ties the
// write to the term.
func (d draft) apply(base *coordinationv1.Lease) *coordinationv1.Lease {
	lease := base.DeepCopy()
	lease.Spec = coordinationv1.LeaseSpec{
		HolderIdentity:       &d.holder,
		LeaseDurationSeconds: &d.seconds,
		AcquireTime:          &metav1.MicroTime{Time: d.acquired},
		RenewTime:            &metav1.MicroTime{Time: d.renewed},
		LeaseTransitions:     &d.transitions,
	}
	if len(d.labels) > 0 {
		lease.Labels = maps.Clone(lease.Labels)
		if lease.Labels == nil {
			lease.Labels = map[string]string{}
		}
		maps.Copy(lease.Labels, d.labels)
	}
	if lease.Annotations == nil {
		lease.Annotations = map[string]string{}
	}
	delete(lease.Annotations, releasedAnnotation)
	claim := d.renewed.Equal(d.acquired) && d.holder != ""
	switch {
	case !leasestate.HasRoom(lease):
		// The election matters more than what it notes.
		delete(lease.Annotations, heirAnnotation)
		delete(lease.Annotations, leasestate.TermsAnnotation)
	case d.holder == "":
		lease.Annotations[releasedAnnotation] = strconv.FormatInt(d.renewed.UnixMicro(), 10)
	case claim:
		lease.Annotations[heirAnnotation] = heir{}.inscription(d.acquired.UnixMicro())
		leasestate.RecordTerm(lease, base, d.holder, d.acquired)
	}
	return lease
}
