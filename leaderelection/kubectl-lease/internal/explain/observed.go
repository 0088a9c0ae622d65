package explain

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// SilenceTimeout is the time after the last contact at which contact counts as lost. If
// no event of the watch arrives within this time, read the Lease, because the watch may
// be broken.
const SilenceTimeout = 5 * time.Second

// Observed is the result of all observations of one Lease. The methods With and
// WithRead do not change an Observed, but return a new one.
type Observed struct {
	started   bool                  // true after the first observation
	lease     *coordinationv1.Lease // nil: the Lease does not exist
	since     time.Time             // when the current UID and spec of the Lease were first observed
	contact   time.Time             // the last time at which the Lease is known to have had this UID and spec
	changed   bool                  // true if the last change was observed without a loss of contact
	interval  time.Duration         // the longest time between two consecutive observed renewals; 0 if fewer than two renewals were observed
	protected time.Time             // candidates that observed the Lease before its deletion do not claim it before this time
	deleted   bool                  // true if the Lease existed, and was then observed to be missing
	former    formerHolder
}

// A formerHolder is an earlier holder whose work may still run, because no release by
// this holder was observed.
type formerHolder struct {
	identity string    // "" if there is no such holder
	until    time.Time // when the LeaseDuration of this holder ends
}

// With adds an observation to o and returns the result. lease is the
// Lease that was observed, or nil if the Lease did not exist. Do not modify this Lease
// afterwards. observedAt is the time of the observation.
//
// Add the observations in the order in which the API server stored the states of the
// Lease. Also add observations of an unchanged Lease, because they show that there is
// contact.
func (o Observed) With(lease *coordinationv1.Lease, observedAt time.Time) Observed {
	return o.WithRead(lease, observedAt, observedAt)
}

// WithRead adds an observation to o, like With. Use it for the response to a read. The
// parameter sent is the time at which the request was sent. answered is
// the time at which the response arrived. The last contact is the time at which the
// request was sent, because the Lease may have changed before the response arrived.
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

// Changed reports whether the last change of the Lease was observed without a loss of
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
// observed as a change, this machine's clock gives the age. If the renewal was not
// observed as a change, its renewTime gives the age. The exception is a renewTime that
// is missing or too far ahead of this machine's clock. In this case the result known is
// false, and the result age is a lower limit.
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

// unrenewed returns the time since the last observed renewal. now is the
// current time. If contact is lost, unrenewed returns the time between the last observed
// renewal and the last contact, because a later renewal may have been missed.
func (o Observed) unrenewed(now time.Time) time.Duration {
	if o.ContactLost(now) {
		now = o.contact
	}
	return max(0, now.Sub(o.since))
}

// readAt returns when the Lease should be read if no event arrives before that time. A
// read at this time prevents a loss of contact. A read is also due when a renewal
// becomes overdue and when the Lease expires, because the API server sends no event at
// these times.
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
