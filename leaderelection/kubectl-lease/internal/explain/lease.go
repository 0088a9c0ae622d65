package explain

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// The functions in this file interpret one Lease object, or compare two Lease objects.
// They are not in package internal/lease, because an elector does not need them.

// defaultDuration is used for a Lease without a LeaseDuration. Candidates then use the
// LeaseDuration of their own configuration. It is usually 15 s.
const defaultDuration = 15 * time.Second

// durationOf returns the LeaseDuration in the Lease, or defaultDuration if the Lease
// has no LeaseDuration.
func durationOf(lease *coordinationv1.Lease) time.Duration {
	return leasestate.Duration(lease, defaultDuration)
}

// overdueAfter returns how long after a renewal the next renewal becomes overdue. The
// parameter duration is the LeaseDuration.
func overdueAfter(duration time.Duration) time.Duration { return duration * 2 / 3 }

// neverHeld reports whether a Lease without a holder has never had a holder.
func neverHeld(lease *coordinationv1.Lease) bool {
	return lease.Spec.AcquireTime == nil && lease.Spec.RenewTime == nil
}

// sameTerm reports whether a and b are states of one Lease in the same term of the same
// holder.
func sameTerm(a, b *coordinationv1.Lease) bool {
	return a != nil && b != nil && a.UID == b.UID && leasestate.Holder(a) != "" && leasestate.Holder(a) == leasestate.Holder(b) &&
		apiequality.Semantic.DeepEqual(a.Spec.AcquireTime, b.Spec.AcquireTime)
}

// wasReleased reports whether a holder released its Lease. held is the
// last observed state of the Lease with this holder, and next is the state after it.
// wasReleased returns true in two cases: the next state has no holder, or its history
// records a release at the end of the holder's term.
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

// successorOf returns the identity of the follower that is nominated as successor. It
// returns "" if no follower is nominated.
func successorOf(lease *coordinationv1.Lease) string {
	nomination, _ := leasestate.NominationOf(lease)
	return nomination.Identity
}

// termsOf returns the recent terms in the Lease, oldest first.
func termsOf(lease *coordinationv1.Lease) []Term {
	var terms []Term
	for _, t := range leasestate.History(lease) {
		terms = append(terms, Term{Holder: t.Holder, Acquired: t.Acquired.Time, Renewed: timeOf(t.Renewed), End: t.End})
	}
	return terms
}

// writerOf returns the program that wrote the Lease. writerOf recognises an Elector of
// package leaderelection by annotations that match the current state of the Lease. The
// FieldManager of the result is the field manager under which renewTime was last
// written.
func writerOf(lease *coordinationv1.Lease) Writer {
	_, nominates := leasestate.NominationOf(lease)
	w := Writer{Incumbent: nominates || leasestate.IsReleased(lease)}
	var newest *metav1.Time
	for _, entry := range lease.ManagedFields {
		fields, err := json.Marshal(entry.FieldsV1) // works with all supported versions of apimachinery
		if err != nil || !strings.Contains(string(fields), `"f:renewTime"`) {
			continue
		}
		if newest == nil || entry.Time != nil && newest.Before(entry.Time) {
			w.FieldManager, newest = entry.Manager, entry.Time
		}
	}
	return w
}

// timeOf converts a time of a Lease. It returns nil if t is nil, or if the year of t
// cannot be encoded as JSON.
func timeOf(t *metav1.MicroTime) *time.Time {
	if t == nil || t.Year() < 0 || t.Year() >= 10000 {
		return nil
	}
	return &t.Time
}
