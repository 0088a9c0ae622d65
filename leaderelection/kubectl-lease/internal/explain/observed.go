package explain

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// SilenceTimeout is the time without contact after which contact counts as lost. A
// caller without news must read the Lease within that time: a silent watch may be a
// dead one.
const SilenceTimeout = 5 * time.Second

// Observed is everything that was observed of one Lease. It is a value: With returns
// the next one.
type Observed struct {
	started   bool                  // there was an observation
	lease     *coordinationv1.Lease // nil: the Lease does not exist
	since     time.Time             // when the present UID and spec were observed first
	contact   time.Time             // until when they are known to be unchanged
	changed   bool                  // a change was observed at since: neither the first observation nor the first one after lost contact
	interval  time.Duration         // the longest time between two consecutive renewals, 0 if none were observed
	protected time.Time             // until when candidates that observed the Lease before its deletion do not claim it
	deleted   bool                  // the Lease existed before it was found missing
	former    formerHolder
}

// A formerHolder may be at work though the Lease does not name it any more: it was not
// observed to release the Lease, and the Lease does not say that it did.
type formerHolder struct {
	identity string    // "": there is none
	until    time.Time // when its LeaseDuration ends
}

// With returns the observations with one more: the Lease was like that at that time;
// nil means that the Lease does not exist. The states must come in the order in which
// they were stored, and must not be modified afterwards. A state that was observed
// before proves that nothing has changed until then, and that there is contact.
func (o Observed) With(lease *coordinationv1.Lease, at time.Time) Observed {
	return o.WithRead(lease, at, at)
}

// WithRead is With for the answer to a read. An unchanged Lease was unchanged when the
// read was sent, but may have changed before the answer arrived.
func (o Observed) WithRead(lease *coordinationv1.Lease, sent, answered time.Time) Observed {
	if o.started && leasestate.SameRecord(o.lease, lease) {
		o.lease = lease // its metadata may be new
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

// Changed reports whether a change was observed, so that the age of the last renewal
// is known by this machine's clock.
func (o Observed) Changed() bool { return o.changed }

// ContactLost reports whether the last contact is SilenceTimeout ago or longer, so
// that the present state of the Lease is not known.
func (o Observed) ContactLost(now time.Time) bool {
	return o.started && now.Sub(o.contact) >= SilenceTimeout
}

// expires returns when the holder's LeaseDuration ends if it does not renew again.
func (o Observed) expires() time.Time {
	duration := durationOf(o.lease)
	age, _ := o.age()
	return o.contact.Add(duration - age)
}

// age returns how old the last renewal was at the last contact: by this machine's
// clock if the renewal was observed, otherwise by the holder's. If neither clock gives
// the age, it is at least the returned one.
func (o Observed) age() (age time.Duration, known bool) {
	renewed := timeOf(o.lease.Spec.RenewTime)
	switch {
	case o.changed:
		return o.unchangedFor(), true
	case renewed == nil || renewed.Sub(o.since) > maxSkew: // the holder may have died at any time since
		return o.unchangedFor(), false
	default:
		return max(o.unchangedFor(), o.contact.Sub(*renewed)), true
	}
}

// unchangedFor returns for how long the Lease is known to be unchanged.
func (o Observed) unchangedFor() time.Duration { return max(0, o.contact.Sub(o.since)) }

// unrenewed returns how long the Lease was not renewed, now that a renewal was
// observed. The time without contact does not count: there may have been renewals.
func (o Observed) unrenewed(now time.Time) time.Duration {
	if o.ContactLost(now) {
		now = o.contact
	}
	return max(0, now.Sub(o.since))
}

// readAt returns when the Lease should be read if there is no event until then: early
// enough to keep contact, and when its state changes without an event.
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
