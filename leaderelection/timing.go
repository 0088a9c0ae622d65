package leaderelection

import (
	"fmt"
	"log/slog"
	"time"
)

// TolerateOutage gives the three durations of a Config whose leader survives each
// outage of the API server that lasts no longer than outage; see Timing.Outage.
// What one pays is the time without a leader after a crash: about a third more
// than outage. An outage below one second counts as one second.
//
//	config.LeaseDuration, config.RenewDeadline, config.RetryPeriod = leaderelection.TolerateOutage(60 * time.Second)
func TolerateOutage(outage time.Duration) (leaseDuration, renewDeadline, retryPeriod time.Duration) {
	outage = min(max(outage, time.Second), maxLeaseDuration/2)
	// Outage = W - RetryPeriod - attemptTimeout, and the latter is no more than
	// RetryPeriod: so W = outage + 2*RetryPeriod. A fifth of LeaseDuration is left
	// to stop in, as with the defaults.
	retryPeriod = min(outage/4, DefaultRetryPeriod)
	window := outage + 2*retryPeriod
	return roundUp(window*5/4, time.Second), window - retryPeriod, retryPeriod
}

// FailOverWithin gives the three durations of a Config whose leader is succeeded
// within limit after it crashed, by a follower that may watch the Lease; see
// Timing.Crash. What one pays are the outages of the API server that are survived:
// about half of limit. A limit below two and a half seconds counts as that.
func FailOverWithin(limit time.Duration) (leaseDuration, renewDeadline, retryPeriod time.Duration) {
	limit = min(max(limit, 2500*time.Millisecond), maxLeaseDuration)
	leaseDuration = (limit - mostHesitation).Truncate(time.Second)
	window := leaseDuration / 5 * 4
	retryPeriod = min(window/6, DefaultRetryPeriod)
	return leaseDuration, window - retryPeriod, retryPeriod
}

func roundUp(d, unit time.Duration) time.Duration { return (d + unit - 1).Truncate(unit) }

// A Timing is what follows from the durations of a Config. The time that requests
// take comes on top: milliseconds, as a rule.
type Timing struct {
	// Outage is how long the API server may be away without ending a term, at
	// whatever moment that begins. An outage longer than OutageEnds always ends it;
	// in between it depends on when the last renewal was.
	Outage, OutageEnds time.Duration

	// Stop is how long the work has to stop when leadership could not be renewed,
	// before anybody else may lead: it is Config.Margin.
	Stop time.Duration

	// Release is how long nobody leads, at most, once the work has stopped after a
	// cancel or StepDown and the Lease was released: no time at all if the heir is
	// there, half a second if it is gone. Without ReleaseOnCancel the Lease must run
	// out.
	Release time.Duration

	// Crash is how long nobody leads, at most, after a leader's process has died.
	Crash time.Duration

	// Partition is how long nobody leads, at most, from when a leader that is cut
	// off from the API server tells its work to stop.
	Partition time.Duration

	// Polling is what comes on top of Release, Crash and Partition if followers may
	// not watch the Lease: the longest time from one look to the next.
	Polling time.Duration
}

// mostHesitation is how long those hesitate at most who are not the heir.
const mostHesitation = 500 * time.Millisecond

// Timing answers what follows from the Config's durations. Zero durations mean
// the defaults. An election that is not enabled has no times: all are zero.
func (c Config) Timing() Timing {
	if !c.Enabled {
		return Timing{}
	}
	c = c.withDefaults()
	t := Timing{
		// The next renewal is sent RetryPeriod after the last one, and then one each
		// attemptTimeout: the last of these that may still succeed must find the
		// API server there.
		Outage:     c.Window() - c.RetryPeriod - c.attemptTimeout(),
		OutageEnds: c.Window(),
		Stop:       c.Margin(),
		Release:    mostHesitation,
		Crash:      c.LeaseDuration + mostHesitation,
		Partition:  c.Margin() + mostHesitation,
		Polling:    c.longestPoll(),
	}
	if !c.ReleaseOnCancel {
		t.Release = t.Crash
	}
	return t
}

// String says it in one sentence.
func (t Timing) String() string {
	return fmt.Sprintf("an outage of the API server is survived for %v, and no longer than %v; the work has %v to stop; "+
		"nobody leads for at most %v after a stop, %v after a crash, %v after a partition, and %v longer where the Lease may not be watched",
		t.Outage, t.OutageEnds, t.Stop, t.Release, t.Crash, t.Partition, t.Polling)
}

// LogValue makes a Timing a group of attributes.
func (t Timing) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Duration("outage", t.Outage), slog.Duration("outageEnds", t.OutageEnds), slog.Duration("stop", t.Stop),
		slog.Duration("release", t.Release), slog.Duration("crash", t.Crash), slog.Duration("partition", t.Partition),
		slog.Duration("polling", t.Polling))
}
