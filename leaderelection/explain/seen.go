package explain

import (
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"

	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// Patience is how long nothing may be heard of a Lease before contact counts as
// lost. Whoever has no news within that time must look: a silent watch may be a
// dead one.
const Patience = 5 * time.Second

// Seen is what was seen of one Lease. It is a value: After makes the next one.
type Seen struct {
	looked    bool
	lease     *coordinationv1.Lease // nil: there is none
	since     time.Time             // when UID and spec were first seen as they are
	heard     time.Time             // until when they are known to have stayed so
	changed   bool                  // there was a change at since, not the first look, nor the first one after contact was lost
	every     time.Duration         // the longest time between two renewals in a row, 0 if none were seen
	protected time.Time             // until when those who saw the Lease before it was deleted do not claim it
	deleted   bool                  // there was a Lease before there was none
	former    former                // who may be at work though the Lease does not name him any more
}

// A former holder was not seen to release the Lease, nor does it say that he has.
type former struct {
	name  string    // "": there is none
	until time.Time // his trust has run out by then
}

// After is what was seen once the Lease was found to be like that; nil if there is
// none. The states must come in the order in which they were stored, and must not
// be changed afterwards. One that was seen before says that nothing has changed
// until then, and that there is contact.
func (s Seen) After(lease *coordinationv1.Lease, at time.Time) Seen {
	return s.AfterRead(lease, at, at)
}

// AfterRead is the same for the answer to a read: a Lease that it shows unchanged
// was so when the read was sent, but maybe not any more when the answer came.
func (s Seen) AfterRead(lease *coordinationv1.Lease, sent, answered time.Time) Seen {
	if s.looked && same(s.lease, lease) {
		s.lease = lease // its metadata may be new
		if sent.After(s.heard) {
			s.heard = sent
		}
		return s
	}
	next := Seen{looked: true, lease: lease, since: answered, heard: sent, protected: s.protected, former: s.former}
	next.changed = s.looked && !s.Lost(answered)
	next.deleted = s.looked && lease == nil
	switch {
	case !s.looked:
	case sameTerm(s.lease, lease):
		next.every = s.every
		if s.changed {
			next.every = max(s.every, s.unrenewed(answered))
		}
	case holderOf(s.lease) != "":
		if lease == nil || lease.UID != s.lease.UID {
			duration, _ := durationOf(s.lease)
			next.protected = s.since.Add(duration)
		}
		if until := s.expires(); until.After(answered) && !wasReleased(s.lease, lease) {
			next.former = former{name: holderOf(s.lease), until: until}
		}
	}
	return next
}

// expires is when the holder's time runs out if he does not renew any more.
func (s Seen) expires() time.Time {
	duration, _ := durationOf(s.lease)
	age, _ := s.age()
	return s.heard.Add(duration - age)
}

// wasReleased reports whether the next state of a Lease that was held says that its
// holder has left it. A history that lets him lapse was written by one who took it.
func wasReleased(held, next *coordinationv1.Lease) bool {
	if next == nil || next.UID != held.UID {
		return false
	}
	if holderOf(next) == "" {
		return true
	}
	return slices.ContainsFunc(leasestate.History(next), func(t leasestate.Term) bool {
		return (t.End == leasestate.EndReleased || t.End == leasestate.EndUnannotated) && t.Acquired.Equal(held.Spec.AcquireTime)
	})
}

// unrenewed is for how long the Lease was not renewed, now that it was. What
// happened while there was no contact is not known.
func (s Seen) unrenewed(now time.Time) time.Duration {
	if s.Lost(now) {
		now = s.heard
	}
	return max(0, now.Sub(s.since))
}

// Changed reports whether the Lease was seen to change, so that its age is known.
func (s Seen) Changed() bool { return s.changed }

// Lost reports whether the Lease was not heard of for so long that nobody here
// knows what became of it.
func (s Seen) Lost(now time.Time) bool { return s.looked && now.Sub(s.heard) >= Patience }

// lookAt is when the Lease should be looked at if it is not heard of until then:
// in time to keep contact, and when its state changes though nothing happens.
func (s Seen) lookAt() time.Time {
	due := s.heard.Add(Patience / 2)
	if holderOf(s.lease) == "" {
		return due
	}
	duration, _ := durationOf(s.lease)
	for _, age := range []time.Duration{lateAfter(duration), duration} {
		if at := s.since.Add(age); at.After(s.heard) && at.Before(due) {
			due = at
		}
	}
	return due
}

// lateAfter is how old a renewal may be until the next one is overdue.
func lateAfter(duration time.Duration) time.Duration { return duration * 2 / 3 }

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
