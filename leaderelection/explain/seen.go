package explain

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
)

// Seen is what was seen of one Lease. It is a value: After makes the next one.
type Seen struct {
	looked    bool
	lease     *coordinationv1.Lease // nil: there is none
	since     time.Time             // when UID and spec were first seen as they are
	changed   bool                  // that was a change, not the first look
	every     time.Duration         // the longest time between two renewals in a row, 0 if none were seen
	protected time.Time             // until when a holder may be at work whom the Lease does not name any more
}

// After is what was seen once the Lease was found to be like that; nil if there is
// none. The states must come in the order in which they were stored, and must not
// be changed afterwards.
func (s Seen) After(lease *coordinationv1.Lease, at time.Time) Seen {
	next := Seen{looked: true, lease: lease, since: at, changed: s.looked, protected: s.protected}
	if !s.looked {
		return next
	}
	if same(s.lease, lease) {
		next.since, next.changed, next.every = s.since, s.changed, s.every
		return next
	}
	switch {
	case sameTerm(s.lease, lease):
		next.every = s.every
		if s.changed {
			next.every = max(s.every, at.Sub(s.since))
		}
	case s.lease != nil && (lease == nil || lease.UID != s.lease.UID) && holderOf(s.lease) != "":
		duration, _ := durationOf(s.lease)
		next.protected = s.since.Add(duration)
	}
	return next
}

// Changed reports whether the Lease was seen to change, so that its age is known.
func (s Seen) Changed() bool { return s.changed }

func same(a, b *coordinationv1.Lease) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.UID == b.UID && apiequality.Semantic.DeepEqual(a.Spec, b.Spec)
}

// sameTerm reports whether b is a renewal of a.
func sameTerm(a, b *coordinationv1.Lease) bool {
	return a != nil && b != nil && a.UID == b.UID && holderOf(a) != "" && holderOf(a) == holderOf(b) &&
		apiequality.Semantic.DeepEqual(a.Spec.AcquireTime, b.Spec.AcquireTime)
}

func holderOf(lease *coordinationv1.Lease) string {
	if lease == nil || lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// usualDuration is what candidates take for a LeaseDuration that is missing: their
// own, and that is hardly ever another.
const usualDuration = 15 * time.Second

// durationOf is the LeaseDuration that the Lease's holder published, and whether he
// did.
func durationOf(lease *coordinationv1.Lease) (time.Duration, bool) {
	if s := lease.Spec.LeaseDurationSeconds; s != nil && *s > 0 {
		return time.Duration(*s) * time.Second, true
	}
	return usualDuration, false
}
