package explain

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// SilenceTimeout is the time since the last contact after which contact counts as lost.
// If no event arrives, a caller must read the Lease within this time, because a watch
// without events may be broken.
const SilenceTimeout = 5 * time.Second

// Observed is the result of all observations of one Lease. It is immutable. The method
// With returns a new value.
type Observed struct {
	started   bool                  // true after the first observation
	lease     *coordinationv1.Lease // nil: the Lease does not exist
	since     time.Time             // when the current UID and spec of the Lease were first observed
	contact   time.Time             // the last time at which the Lease is known to have had this UID and spec
	changed   bool                  // true if a change was observed at the time since; false after the first observation, and after the first change since contact was lost
	interval  time.Duration         // the longest time between two consecutive observed renewals; 0 if fewer than two renewals were observed
	protected time.Time             // candidates that observed the Lease before its deletion do not claim it before this time
	deleted   bool                  // true if the Lease existed, and was then observed to be missing
	former    formerHolder
}

// A formerHolder is an earlier holder whose work may still run. No observation and no
// record in the Lease shows that this holder has released the Lease.
type formerHolder struct {
	identity string    // "" if there is no such holder
	until    time.Time // when the LeaseDuration of this holder ends
}

// With returns an Observed that contains o and one more observation. The parameter
// lease is the Lease that was observed, or nil if the Lease did not exist. The
// parameter observedAt is the time of the observation. Do not modify lease afterwards.
//
// Add the observations in the order in which the API server stored the states of the
// Lease. Also add observations of an unchanged Lease, because they show that there is
// contact.
func (o Observed) With(lease *coordinationv1.Lease, observedAt time.Time) Observed {
	return o.WithRead(lease, observedAt, observedAt)
}

// WithRead is like With, for the response to a read. The parameters sent and answered
// are the times at which the request was sent and the response arrived. The last
// contact is the time at which the request was sent, because the Lease may have changed
// before the response arrived.
func (o Observed) WithRead(lease *coordinationv1.Lease, sent, answered time.Time) Observed {
	if o.started && leasestate.SameRecord(o.lease, lease) {
		o.lease = lease // the metadata of the Lease may have changed
		if sent.After(o.contact) {
			o.contact = sent
		}
		return o
	}
	next := Observed{started: true, lease: lease, since: answered, contact: sent, protected: o.protected, former: o.former}
	next.changed = o.started && !o.ContactLost(answered)
	next.deleted = o.started && lease == nil
	switch {
	case !o.started:
	case sameTerm(o.lease, lease):
		next.interval = o.interval
		if o.changed {
			next.interval = max(o.interval, o.unrenewed(answered))
		}
	case leasestate.Holder(o.lease) != "":
		if lease == nil || lease.UID != o.lease.UID {
			duration := durationOf(o.lease)
			next.protected = o.since.Add(duration)
		}
		if until := o.expires(); until.After(answered) && !wasReleased(o.lease, lease) {
			next.former = formerHolder{identity: leasestate.Holder(o.lease), until: until}
		}
	}
	return next
}

// Changed reports whether the last change of the Lease was observed while there was
// contact. If Changed returns true, this machine's clock gives the age of the last
// renewal.
func (o Observed) Changed() bool { return o.changed }

// ContactLost reports whether SilenceTimeout has passed since the last contact. If
// ContactLost returns true, the current state of the Lease is not known.
func (o Observed) ContactLost(now time.Time) bool {
	return o.started && now.Sub(o.contact) >= SilenceTimeout
}

// expires returns the time at which the Lease expires if the holder does not renew the
// Lease any more.
func (o Observed) expires() time.Time {
	duration := durationOf(o.lease)
	age, _ := o.age()
	return o.contact.Add(duration - age)
}

// age returns how old the last renewal was at the last contact. If the renewal was
// observed as a change, age uses this machine's clock. Otherwise age uses the holder's
// clock. If known is false, neither clock gives the exact age, and the returned age is
// a lower limit.
func (o Observed) age() (age time.Duration, known bool) {
	renewed := timeOf(o.lease.Spec.RenewTime)
	switch {
	case o.changed:
		return o.unchangedFor(), true
	case renewed == nil || renewed.Sub(o.since) > maxSkew: // the renewTime does not help, because the holder may have died long ago
		return o.unchangedFor(), false
	default:
		return max(o.unchangedFor(), o.contact.Sub(*renewed)), true
	}
}

// unchangedFor returns how long the Lease had been unchanged at the last contact.
func (o Observed) unchangedFor() time.Duration { return max(0, o.contact.Sub(o.since)) }

// unrenewed returns the time from the previous renewal to a renewal that was observed
// at the time now. If contact was lost between the two renewals, unrenewed returns only
// the time until the last contact, because other renewals may have been missed.
func (o Observed) unrenewed(now time.Time) time.Duration {
	if o.ContactLost(now) {
		now = o.contact
	}
	return max(0, now.Sub(o.since))
}

// readAt returns when the Lease should be read if no event arrives before that time.
// This time is early enough to keep contact. It is also not later than the time at
// which a renewal becomes overdue or the Lease expires, because no event reports these
// changes.
func (o Observed) readAt() time.Time {
	due := o.contact.Add(SilenceTimeout / 2)
	if leasestate.Holder(o.lease) == "" {
		return due
	}
	duration := durationOf(o.lease)
	for _, age := range []time.Duration{overdueAfter(duration), duration} {
		if at := o.since.Add(age); at.After(o.contact) && at.Before(due) {
			due = at
		}
	}
	return due
}
