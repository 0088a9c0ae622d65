package explain

import (
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// This file holds the rules about what one Lease object, or a pair of them, means that
// package lease does not have, because an elector does not need them.

// defaultDuration stands for a LeaseDuration that is missing. Candidates use their own
// then, and this is the usual one.
const defaultDuration = 15 * time.Second

// durationOf returns the LeaseDuration that the holder published, or defaultDuration.
func durationOf(lease *coordinationv1.Lease) time.Duration {
	return leasestate.Duration(lease, defaultDuration)
}

// overdueAfter returns the age of a renewal at which the next one is overdue.
func overdueAfter(duration time.Duration) time.Duration { return duration * 2 / 3 }

// neverHeld reports whether a Lease without a holder has never had one.
func neverHeld(lease *coordinationv1.Lease) bool {
	return lease.Spec.AcquireTime == nil && lease.Spec.RenewTime == nil
}

// sameTerm reports whether a and b are held by the same holder in the same term.
func sameTerm(a, b *coordinationv1.Lease) bool {
	return a != nil && b != nil && a.UID == b.UID && leasestate.Holder(a) != "" && leasestate.Holder(a) == leasestate.Holder(b) &&
		apiequality.Semantic.DeepEqual(a.Spec.AcquireTime, b.Spec.AcquireTime)
}

// wasReleased reports whether the next state of a held Lease shows that the holder
// released it. A history with the end "expired" does not: the next holder wrote it.
func wasReleased(held, next *coordinationv1.Lease) bool {
	if next == nil || next.UID != held.UID {
		return false
	}
	if leasestate.Holder(next) == "" {
		return true
	}
	return slices.ContainsFunc(leasestate.History(next), func(t leasestate.Term) bool {
		return (t.End == leasestate.EndReleased || t.End == leasestate.EndUnannotated) && t.Acquired.Equal(held.Spec.AcquireTime)
	})
}

// successorOf returns the follower that the leader has nominated, "" if there is none.
func successorOf(lease *coordinationv1.Lease) string {
	nomination, _ := leasestate.NominationOf(lease)
	return nomination.Identity
}

// termsOf returns the recent terms, oldest first.
func termsOf(lease *coordinationv1.Lease) []Term {
	var terms []Term
	for _, t := range leasestate.History(lease) {
		terms = append(terms, Term{Holder: t.Holder, Acquired: t.Acquired.Time, Renewed: timeOf(t.Renewed), End: t.End})
	}
	return terms
}

// writerOf recognizes an Elector of package leaderelection by annotations that belong
// to the present state of the Lease.
func writerOf(lease *coordinationv1.Lease) Writer {
	_, nominates := leasestate.NominationOf(lease)
	w := Writer{Incumbent: nominates || leasestate.IsReleased(lease)}
	var newest *metav1.Time
	for _, entry := range lease.ManagedFields {
		if entry.FieldsV1 == nil || !strings.Contains(entry.FieldsV1.GetRawString(), `"f:renewTime"`) {
			continue
		}
		if newest == nil || entry.Time != nil && newest.Before(entry.Time) {
			w.FieldManager, newest = entry.Manager, entry.Time
		}
	}
	return w
}

// timeOf returns a time that can be encoded as JSON, or nil.
func timeOf(t *metav1.MicroTime) *time.Time {
	if t == nil || t.Year() < 0 || t.Year() >= 10000 {
		return nil
	}
	return &t.Time
}
