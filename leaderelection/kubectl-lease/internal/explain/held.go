package explain

import (
	"fmt"
	"time"

	"k8s.io/utils/ptr"

	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// maxSkew is how far the holder's clock may be ahead of this machine's clock. If the
// holder's clock is further ahead, the Report contains a note, and does not rely on the
// times that the holder wrote. Synchronized clocks differ by far less than a second,
// and a LeaseDuration is a whole number of seconds.
//
// If the holder's clock is behind this machine's clock, the limit is SilenceTimeout,
// because the difference may also be the delay of an event.
const maxSkew = time.Second

func (r *Report) setHeld(o Observed) {
	duration := durationOf(o.lease)
	if leasestate.Duration(o.lease, 0) == 0 {
		r.note("its LeaseDuration is missing: each candidate uses its own, assumed to be %v here", duration)
	}
	r.Holder, r.Acquired = leasestate.Holder(o.lease), timeOf(o.lease.Spec.AcquireTime)
	r.noteClocks(o)
	age, known := o.age()
	r.Certain = o.changed || o.contact.Sub(o.since) >= duration
	r.Renewal = &Renewal{RenewTime: timeOf(o.lease.Spec.RenewTime), UnchangedSeconds: seconds(o.unchangedFor()),
		LongestIntervalSeconds: seconds(o.interval), LeaseDurationSeconds: seconds(duration)}
	if known {
		r.Renewal.AgeSeconds = ptr.To(seconds(age))
	}
	r.Claim = &Claim{From: o.expires(), Note: "if it is not renewed any more"}
	switch {
	case age >= duration:
		r.setExpired(duration, age)
	case !known:
		r.State, r.Claim = Unconfirmed, nil
		r.setReason("no change was observed, and its renewTime does not show whether %s is alive: it is missing or ahead of this machine's clock; "+
			"to be certain watch for %v", identity(r.Holder), duration)
	case age >= overdueAfter(duration):
		r.State = Overdue
		r.setReason("%s has not renewed for %v of %v: it cannot reach the API server, may not update the Lease, or is gone",
			identity(r.Holder), rounded(age), duration)
	default:
		r.State = Led
	}
}

func (r *Report) setExpired(duration, age time.Duration) {
	r.State = Expired
	r.Claim.Note = fmt.Sprintf("by a candidate that has watched it for %v; one that starts now waits for that long first", duration)
	if !r.Certain {
		r.setReason("by its own clock %s has not renewed for %v, longer than its LeaseDuration (%v); if its clock is behind it may still lead: "+
			"to be certain watch for %[3]v", identity(r.Holder), rounded(age), duration)
		return
	}
	r.setReason("%s has not renewed for %v, longer than its LeaseDuration (%v), and nobody else has claimed it: "+
		"no candidate runs, or none may update the Lease or reach the API server", identity(r.Holder), rounded(age), duration)
	// The last term in r.Terms is the term of an earlier holder if the Lease has no
	// acquireTime.
	if last := len(r.Terms) - 1; last >= 0 && r.Acquired != nil && r.Terms[last].Acquired.Equal(*r.Acquired) {
		r.Terms[last].End, r.Terms[last].Renewed = leasestate.EndExpired, r.Renewal.RenewTime
	}
}

// noteFormerHolder adds a note if the work of a former holder may still run.
func (r *Report) noteFormerHolder(o Observed) {
	if f := o.former; f.identity != "" && f.identity != leasestate.Holder(o.lease) && f.until.After(r.Time) {
		r.note("%s was not observed to release the Lease and may be at work until %s", identity(f.identity), clock(f.until))
	}
}

// noteClocks adds a note if the holder's clock differs from this machine's clock. The
// note is useful because the times in the Report come from the holder's clock.
func (r *Report) noteClocks(o Observed) {
	renewed := timeOf(o.lease.Spec.RenewTime)
	if renewed == nil {
		r.note("it has no renewTime")
		renewed = &o.since
	}
	ahead, behind := renewed.Sub(o.since), o.since.Sub(*renewed)
	switch {
	case ahead > maxSkew:
		r.note("its renewTime was %v ahead: the clock of %s or of this machine is wrong", rounded(ahead), identity(r.Holder))
	case o.changed && behind > SilenceTimeout:
		r.note("its renewTime was already %v old when it was observed: the clock of %s or of this machine is wrong, or the event arrived late", rounded(behind), identity(r.Holder))
	case r.Acquired != nil && r.Acquired.Sub(o.since) > maxSkew:
		r.note("its acquireTime was %v ahead: the clock of %s or of this machine is wrong", rounded(r.Acquired.Sub(o.since)), identity(r.Holder))
	}
}
