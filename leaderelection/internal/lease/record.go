package lease

import (
	"fmt"
	"maps"
	"math"
	"strconv"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Holder returns the holder of a Lease. It returns "" if nobody holds the Lease.
func Holder(lease *coordinationv1.Lease) string {
	if lease == nil || lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// Duration returns the LeaseDuration in a Lease. It returns fallback if the Lease
// contains no positive LeaseDuration.
func Duration(lease *coordinationv1.Lease, fallback time.Duration) time.Duration {
	if s := lease.Spec.LeaseDurationSeconds; s != nil && *s > 0 {
		return time.Duration(*s) * time.Second
	}
	return fallback
}

// RenewTime returns the renewTime of a Lease in microseconds. It returns 0 if the Lease
// has no renewTime.
func RenewTime(lease *coordinationv1.Lease) int64 {
	if lease == nil || lease.Spec.RenewTime == nil {
		return 0
	}
	return lease.Spec.RenewTime.UnixMicro()
}

// NextRenewTime returns the renewTime of a new write, in microseconds. The parameter
// last is the renewTime of the previous write. elapsed is the time since
// that write, by the monotonic clock. now is the time by the wall clock.
//
// If now is in a later second than last, the result is now. If now is not in a later
// second, the result is last plus elapsed. This happens, for example, after the wall
// clock was set back. client-go compares whole seconds, and would not observe a renewal
// in the same second.
//
// If there was no previous write, last is 0 and elapsed has no meaning.
func NextRenewTime(last int64, elapsed time.Duration, now time.Time) int64 {
	const second = int64(time.Second / time.Microsecond)
	if last == 0 {
		return max(1, now.UnixMicro()) // the clock of a machine may show 1970 or an earlier year
	}
	if wall := now.UnixMicro(); wall/second > last/second {
		return wall
	}
	return max(last+1, last+elapsed.Microseconds())
}

// Version returns the resourceVersion of a Lease as a number. It returns 0 if the
// resourceVersion is missing, as with client-go's fakes, or if CheckVersion returns an
// error.
func Version(lease *coordinationv1.Lease) uint64 {
	if lease == nil {
		return 0
	}
	v, err := strconv.ParseUint(lease.ResourceVersion, 10, 64)
	if err != nil {
		return 0
	}
	return v
}

// CheckVersion returns an error if a Lease has a resourceVersion that is not a decimal
// number of at most 64 bits. Such a Lease must not be used, because its versions cannot
// be compared, and its term would have no fencing token.
func CheckVersion(lease *coordinationv1.Lease) error {
	if lease == nil || lease.ResourceVersion == "" {
		return nil
	}
	if _, err := strconv.ParseUint(lease.ResourceVersion, 10, 64); err != nil {
		return fmt.Errorf("leaderelection: resourceVersion of Lease %s/%s is not supported: %q, use an API server whose resourceVersions are decimal numbers of at most %d",
			lease.Namespace, lease.Name, lease.ResourceVersion, uint64(math.MaxUint64))
	}
	return nil
}

// SameRecord reports whether the Leases a and b have the same UID and the same spec.
// Other metadata is ignored, because somebody may edit the labels of a Lease.
func SameRecord(a, b *coordinationv1.Lease) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.UID == b.UID && specEqual(a, b)
}

// Transitions returns the leaseTransitions of a Lease. It returns 0 if the number is
// missing or negative.
func Transitions(lease *coordinationv1.Lease) int32 {
	if n := lease.Spec.LeaseTransitions; n != nil && *n >= 0 {
		return *n
	}
	return 0
}

// NextTransitions returns the leaseTransitions for the next claim of a Lease. It
// returns 0 if the next number would be too large or the current number is negative.
func NextTransitions(lease *coordinationv1.Lease) int32 {
	if lease == nil || lease.Spec.LeaseTransitions == nil {
		return 0
	}
	if n := *lease.Spec.LeaseTransitions; n >= 0 && n < math.MaxInt32 {
		return n + 1
	}
	return 0
}

// A Draft is the content that a claim, a renewal or a release writes into the Lease.
type Draft struct {
	Holder      string // "" means that the write releases the Lease
	Seconds     int32
	Acquired    time.Time
	Renewed     time.Time
	Transitions int32
	Labels      map[string]string
	Process     *Process // the process that writes; nil if it is not known
	Terminated  bool     // true if a claim is sent because the previous holder's process has ended
}

// Apply returns the Lease to send: a copy of base with the spec, the labels and the
// annotations of d. The copy keeps the UID and the resourceVersion of base. Therefore
// the API server refuses the write if the Lease has changed.
func (d Draft) Apply(base *coordinationv1.Lease) *coordinationv1.Lease {
	lease := base.DeepCopy()
	lease.Spec = coordinationv1.LeaseSpec{
		HolderIdentity:       &d.Holder,
		LeaseDurationSeconds: &d.Seconds,
		AcquireTime:          &metav1.MicroTime{Time: d.Acquired},
		RenewTime:            &metav1.MicroTime{Time: d.Renewed},
		LeaseTransitions:     &d.Transitions,
	}
	if len(d.Labels) > 0 {
		lease.Labels = maps.Clone(lease.Labels)
		if lease.Labels == nil {
			lease.Labels = map[string]string{}
		}
		maps.Copy(lease.Labels, d.Labels)
	}
	if lease.Annotations == nil {
		lease.Annotations = map[string]string{}
	}
	delete(lease.Annotations, ReleasedAnnotation)
	delete(lease.Annotations, ProcessAnnotation)
	if d.Process != nil && d.Holder != "" && HasRoom(lease) {
		lease.Annotations[ProcessAnnotation] = d.Process.encode(d.Holder, d.Renewed.UnixMicro())
	}
	claim := d.Renewed.Equal(d.Acquired) && d.Holder != ""
	switch {
	case !HasRoom(lease):
		// The Lease has no room for annotations. The election works without them.
		delete(lease.Annotations, SuccessorAnnotation)
		delete(lease.Annotations, TermsAnnotation)
	case d.Holder == "":
		lease.Annotations[ReleasedAnnotation] = releasedValue(d.Renewed.UnixMicro())
	case claim:
		lease.Annotations[SuccessorAnnotation] = Nomination{}.Encode(d.Acquired.UnixMicro())
		lease.Annotations[TermsAnnotation] = encodeHistory(base, d)
	}
	return lease
}
