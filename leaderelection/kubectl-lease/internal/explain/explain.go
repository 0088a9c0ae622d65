package explain

import (
	"fmt"
	"math"
	"time"

	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// Explain returns the Report about a Lease. o contains the observations
// of the Lease, and now is the current time.
func Explain(o Observed, now time.Time) Report {
	r := Report{State: Unknown, Time: now, Certain: true}
	if o.started {
		r.LastContact = &o.contact
	}
	switch {
	case !o.started:
		r.setReason("the Lease has not been read yet")
		return r
	case o.lease == nil:
		r.setAbsent(o)
		r.noteFormerHolder(o)
		r.checkContact(o)
		return r
	}
	r.Lease = o.lease.Namespace + "/" + o.lease.Name
	r.ResourceVersion, r.LeaseTransitions = o.lease.ResourceVersion, leasestate.Transitions(o.lease)
	r.Writer = writerOf(o.lease)
	r.Successor = successorOf(o.lease)
	r.Terms = termsOf(o.lease)
	if leasestate.Holder(o.lease) == "" {
		r.setFree(o)
	} else {
		r.setHeld(o)
	}
	r.noteFormerHolder(o)
	r.checkContact(o)
	if o.lease.Spec.Strategy != nil {
		r.note("the API server chooses the leader (strategy %q): coordinated leader election", *o.lease.Spec.Strategy)
	}
	return r
}

// checkContact sets r.Certain to false and r.Claim to nil if contact is lost, because
// the Lease may have changed since the last contact.
func (r *Report) checkContact(o Observed) {
	if !o.ContactLost(r.Time) {
		return
	}
	r.ContactLost, r.Certain, r.Claim = true, false, nil
	r.setReason("no contact for %v, since %s: the API server cannot be reached, does not answer, or does not permit reading the Lease any more; "+
		"this report describes the Lease as it was then", rounded(r.Time.Sub(o.contact)), clock(o.contact))
}

func (r *Report) setAbsent(o Observed) {
	r.State, r.Claim = Absent, &Claim{From: o.since}
	r.setReason("there is no Lease: no candidate has run here yet, none may create it, or somebody has deleted it")
	if o.deleted {
		r.setReason("the Lease was deleted, at %s or shortly before, and nobody has created it again: no candidate runs, or none may create it", clock(o.since))
	}
	r.delayClaim(o)
}

func (r *Report) setFree(o Observed) {
	r.State, r.Claim = Free, &Claim{From: o.since}
	switch {
	case neverHeld(o.lease):
		r.State = Unused
		r.setReason("it has never had a holder: no candidate runs, or none may update it")
	case leasestate.IsReleased(o.lease):
		r.setReason("its leader stopped its work and released it, and nobody has claimed it since")
		if r.Successor != "" {
			r.Claim.Note = fmt.Sprintf("by the successor, %s; other candidates delay their claim by up to half a second", identity(r.Successor))
		}
	default:
		r.setReason("its leader released it or somebody removed the holder, and nobody has claimed it since")
		r.Claim.Note = "by client-go; an Elector of package leaderelection waits for one RetryPeriod more, because the work of the last leader may still run"
	}
	if t := timeOf(o.lease.Spec.RenewTime); t != nil && !o.changed && t.Before(o.since) {
		r.Claim.From = *t
	}
	r.delayClaim(o)
}

// delayClaim sets r.Claim to a later time if the Lease was deleted while it had a
// holder. Candidates that observed this holder do not claim the Lease before the
// holder's LeaseDuration has ended.
func (r *Report) delayClaim(o Observed) {
	if !o.protected.IsZero() && o.protected.After(r.Claim.From) {
		r.Claim = &Claim{From: o.protected, Note: "by candidates that observed the Lease before it was deleted; others may at once"}
	}
}

// setReason sets r.Reason and r.stableReason. stableReason contains the same
// text as the field Reason, but every duration in it is 0.
func (r *Report) setReason(format string, args ...any) {
	r.Reason, r.stableReason = fmt.Sprintf(format, args...), withoutDurations(format, args...)
}

func (r *Report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
	r.stableNotes = append(r.stableNotes, withoutDurations(format, args...))
}

func seconds(d time.Duration) float64 { return math.Round(d.Seconds()*1000) / 1000 }

// rounded rounds d for display. If d is at least one minute, it rounds to 1 s. If d is
// between one second and one minute, it rounds to 100 ms. If d is shorter, it rounds to
// 1 ms.
func rounded(d time.Duration) time.Duration {
	switch {
	case d >= time.Minute:
		return d.Round(time.Second)
	case d >= time.Second:
		return d.Round(100 * time.Millisecond)
	default:
		return d.Round(time.Millisecond)
	}
}
