package explain

import (
	"fmt"
	"time"

	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// skew is by how much a clock may be ahead of ours before that is noted, and its
// readings are not gone by any more. Clocks that are kept agree to far less than a
// second, and Leases are counted in whole seconds. One that is behind cannot be told
// from news that are late, so it is given more.
const skew = time.Second

func (a *Answer) held(s Seen) {
	duration, published := durationOf(s.lease)
	if !published {
		a.note("its LeaseDuration is missing: each candidate takes its own, which is supposed to be %v here", duration)
	}
	a.Leader, a.Since = holderOf(s.lease), timeOf(s.lease.Spec.AcquireTime)
	a.clocks(s)
	age, known := s.age()
	a.Certain = s.changed || s.heard.Sub(s.since) >= duration
	a.Renewal = &Renewal{Last: timeOf(s.lease.Spec.RenewTime), UnchangedSeconds: seconds(s.unchanged()),
		EverySeconds: seconds(s.every), LeaseDurationSeconds: seconds(duration)}
	if known {
		a.Renewal.AgeSeconds = new(seconds(age))
	}
	a.Claim = &Claim{From: s.expires(), Note: "if it is not renewed any more"}
	switch {
	case age >= duration:
		a.expired(duration, age)
	case !known:
		a.State, a.Claim = Held, nil
		a.because("no change was seen, and its renewTime does not tell whether %s is alive: it is missing or ahead of our clock; "+
			"to be certain watch for %v", name(a.Leader), duration)
	case age >= lateAfter(duration):
		a.State = Late
		a.because("%s has not renewed for %v of %v: it cannot reach the API server, may not update the Lease, or is gone",
			name(a.Leader), rounded(age), duration)
	default:
		a.State = Led
	}
}

func (a *Answer) expired(duration, age time.Duration) {
	a.State = Expired
	a.Claim.Note = fmt.Sprintf("by a candidate that has watched it for %v; one that starts now waits for that long first", duration)
	if !a.Certain {
		a.because("by its own clock %s has not renewed for %v, longer than its LeaseDuration (%v); if its clock is behind it may still lead: "+
			"to be certain watch for %[3]v", name(a.Leader), rounded(age), duration)
		return
	}
	a.because("%s has not renewed for %v, longer than its LeaseDuration (%v), and nobody else has claimed it: "+
		"no candidate runs, or none may update the Lease or reach the API server", name(a.Leader), rounded(age), duration)
	// Without an acquireTime the last term in the history is another one's.
	if last := len(a.Terms) - 1; last >= 0 && a.Since != nil && a.Terms[last].Acquired.Equal(*a.Since) {
		a.Terms[last].End, a.Terms[last].Renewed = leasestate.EndExpired, a.Renewal.Last
	}
}

// formerly notes who may be at work beside whom the Lease names.
func (a *Answer) formerly(s Seen) {
	if f := s.former; f.name != "" && f.name != holderOf(s.lease) && f.until.After(a.At) {
		a.note("%s was not seen to release it and may be at work until %s", name(f.name), clock(f.until))
	}
}

// age is how old the last renewal was when the Lease was heard of last: by our
// clock if that renewal was seen, or else by the holder's. If neither tells, it is
// at least that old.
func (s Seen) age() (age time.Duration, known bool) {
	last := timeOf(s.lease.Spec.RenewTime)
	switch {
	case s.changed:
		return s.unchanged(), true
	case last == nil || last.Sub(s.since) > skew: // he may have died at any time since
		return s.unchanged(), false
	default:
		return max(s.unchanged(), s.heard.Sub(*last)), true
	}
}

// unchanged is for how long the Lease is known to be as it is.
func (s Seen) unchanged() time.Duration { return max(0, s.heard.Sub(s.since)) }

// clocks notes what shows that the holder's clock is not ours. The times that are
// shown are by his.
func (a *Answer) clocks(s Seen) {
	renewed := timeOf(s.lease.Spec.RenewTime)
	if renewed == nil {
		a.note("it has no renewTime")
		renewed = &s.since
	}
	ahead, behind := renewed.Sub(s.since), s.since.Sub(*renewed)
	switch {
	case ahead > skew:
		a.note("its renewTime was %v ahead: the clock of %s or ours is wrong", rounded(ahead), name(a.Leader))
	case s.changed && behind > Patience:
		a.note("its renewTime was already %v old when it was seen: the clock of %s or ours is wrong, or the news was late", rounded(behind), name(a.Leader))
	case a.Since != nil && a.Since.Sub(s.since) > skew:
		a.note("its acquireTime was %v ahead: the clock of %s or ours is wrong", rounded(a.Since.Sub(s.since)), name(a.Leader))
	}
}
