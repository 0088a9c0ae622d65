package leaderelection

import (
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"time"
)

// This file contains every formula that computes a duration, and every random delay.

// Window returns the trust window W. A successful renewal entitles its sender to work
// for W, counted from just before the renewal was sent.
//
//	W = min(RetryPeriod + RenewDeadline, 9/10 of LeaseDuration)
//
// Other candidates claim the Lease no sooner than LeaseDuration after they last
// observed a change of the Lease. That change happened after the renewal was sent.
// Therefore the work always has Margin, which is LeaseDuration - W, to stop. Zero
// durations in the Config mean the defaults.
func (c Config) Window() time.Duration {
	c = c.withDefaults()
	return min(c.RetryPeriod+c.RenewDeadline, maxWindow(c.LeaseDuration))
}

// maxWindow returns the longest trust window for a LeaseDuration.
func maxWindow(leaseDuration time.Duration) time.Duration { return leaseDuration / 10 * 9 }

// Margin returns how long the work has to stop if leadership could not be renewed,
// before another candidate may lead. It is LeaseDuration - Window().
func (c Config) Margin() time.Duration {
	return c.withDefaults().LeaseDuration - c.Window()
}

// attemptTimeout returns how long the elector waits for the reply to a write before it
// sends another write. Four attempts fit into the trust window even if each of them
// hangs.
func (c Config) attemptTimeout() time.Duration {
	return min(c.RetryPeriod, (c.Window()-c.RetryPeriod)/4)
}

// overlapTimeout returns how long the elector waits for the reply to a renewal before
// it sends another renewal. unconfirmed is the time since the last confirmed write was
// sent. The timeout grows with unconfirmed. Therefore even a trust window of hours has
// only dozens of overlapping requests. It does not grow beyond one attemptTimeout before
// the end of trust, because Timing.Outage promises a renewal at that time.
func (c Config) overlapTimeout(unconfirmed time.Duration) time.Duration {
	untilLast := c.Window() - c.attemptTimeout() - unconfirmed
	return max(c.attemptTimeout(), min(unconfirmed/16, untilLast))
}

// claimTimeout returns how long one attempt to claim may take, including the pause and
// the read after a failed claim.
func (c Config) claimTimeout() time.Duration {
	return max(c.Window(), c.attemptTimeout()+2*c.RetryPeriod+c.longestRead())
}

// longestRead returns the longest timeout of a read, and shortestRead the shortest. The
// timeout is shortestRead while the API server answers, and grows in an outage. A read
// that hangs must not delay the next read for long, even if RenewDeadline is long.
func (c Config) longestRead() time.Duration  { return max(time.Second, c.RenewDeadline/2) }
func (c Config) shortestRead() time.Duration { return min(c.longestRead(), 10*time.Second) }

// readTimeout returns the timeout of a read. sinceContact is the time since the API
// server last answered. The timeout grows with sinceContact. Therefore only dozens of
// reads are sent in a long outage.
func (c Config) readTimeout(sinceContact time.Duration) time.Duration {
	return min(max(c.shortestRead(), sinceContact/16), c.longestRead())
}

// longestPoll returns the longest time between two reads of a client-go candidate.
func (c Config) longestPoll() time.Duration {
	return c.RetryPeriod + time.Duration(clientJitterFactor*float64(c.RetryPeriod))
}

// silenceTimeout returns how long the observer waits for a newer observation before it
// reads the Lease. Without a watch this is a random time from RetryPeriod to
// longestPoll, as for client-go's polls. With a watch it is longestPoll, because the
// watch reports each renewal.
func (c Config) silenceTimeout(watching bool) time.Duration {
	longest := c.longestPoll()
	if watching {
		return longest
	}
	return c.RetryPeriod + rand.N(longest-c.RetryPeriod+1)
}

// A follower that is not the successor claims a released Lease only after a random
// claim delay. Within minClaimDelay the successor can claim the Lease, and the watches
// of hundreds of followers can report this claim.
const (
	minClaimDelay = 200 * time.Millisecond
	maxClaimDelay = 500 * time.Millisecond
)

func claimDelay() time.Duration { return minClaimDelay + rand.N(maxClaimDelay-minClaimDelay) }

// claimRetryDelay returns the claim jitter. This is the random pause after a failed
// claim, before the elector reads the Lease and claims again. The pause is short after
// a conflict. It is longer than RetryPeriod if failing is true, which means that
// requests fail.
func (c Config) claimRetryDelay(failing bool) time.Duration {
	if failing {
		return c.RetryPeriod + rand.N(c.RetryPeriod/2+1)
	}
	return c.RetryPeriod/40 + rand.N(c.RetryPeriod/5+1)
}

// nominationDelay returns the random time from a renewal until a follower nominates
// itself.
func (c Config) nominationDelay() time.Duration { return c.nominationDelayOf(rand.Float64()) }

// nominationDelayOf returns the nomination delay for draw, a random number from 0 to 1.
// Most values of draw give a long delay. Of hundreds of followers, only one or two
// therefore nominate themselves early. The others observe that nomination before their
// own delay ends. The longest delay ends well before the next renewal, because a
// nomination that coincides with a renewal is refused.
func (c Config) nominationDelayOf(draw float64) time.Duration {
	return c.RetryPeriod/20 + time.Duration(math.Pow(draw, 0.125)*float64(c.RetryPeriod/2))
}

// minAgeGap returns the minimum age gap. A follower replaces a successor of the same
// priority only if the follower's process started later by more than this gap.
// campaigning is how long the follower has campaigned. The gap is short for a new
// replica, which therefore replaces an old replica at once. The gap is long for
// processes that started together hours ago. Therefore they do not replace each other.
func (c Config) minAgeGap(campaigning time.Duration) time.Duration {
	return (campaigning + c.RetryPeriod) / 16
}

// recentlyJoined reports whether a process has campaigned only for a short time. Such a
// process must become the successor soon, because in a rolling update the next old
// replica is about to stop.
func (c Config) recentlyJoined(campaigning time.Duration) bool {
	return campaigning < 4*c.RetryPeriod
}

// trustCheckInterval returns the time until the end of trust is checked again.
// remaining is the remaining trust. The interval is at most half of Margin, because
// timers stop while the machine sleeps.
func (c Config) trustCheckInterval(remaining time.Duration) time.Duration {
	return min(remaining, c.Margin()/2)
}

// stopTimeAfterLoss returns how long the work may take to stop after the Lease was
// lost. sinceWrite is the time since the last confirmed write was sent. Other
// candidates may claim the Lease one LeaseDuration after that write. The stop time ends
// a tenth of Margin earlier, because the process needs time to exit. The stop time is
// at most Margin. It is at least half of Margin, because a process that was frozen
// needs time to notice the loss.
func (c Config) stopTimeAfterLoss(sinceWrite time.Duration) time.Duration {
	margin := c.Margin()
	return min(max(c.LeaseDuration-margin/10-sinceWrite, margin/2), margin)
}

// exitTime returns how long the elector waits for OnStoppedLeading if the work has not
// stopped in time. The time is short, because other candidates may claim the Lease
// soon.
func (c Config) exitTime() time.Duration { return c.Margin() / 20 }

// logFlushTime returns how long Run waits for a slow log handler before Run returns.
// traceFlushTime returns how long Run waits for slow traces, and how long it then waits
// for a slow event recorder.
func (c Config) logFlushTime() time.Duration   { return c.Margin() / 40 }
func (c Config) traceFlushTime() time.Duration { return c.Margin() / 160 }

// releaseStepTime returns how long each step of a release may take. It is
// attemptTimeout, but ends at the latest at trustedUntil.
func (c Config) releaseStepTime(trustedUntil time.Time) time.Duration {
	return min(c.attemptTimeout(), time.Until(trustedUntil))
}

// releaseRetryDelay returns the pause between a refused release and the next attempt to
// release.
func (c Config) releaseRetryDelay(trustedUntil time.Time) time.Duration {
	return min(c.releaseStepTime(trustedUntil), c.RetryPeriod/4)
}

// lateClaimPause returns the pause after a read that looks for a late claim. In this
// pause, the elector ignores the changes that the read itself causes.
func (c Config) lateClaimPause() time.Duration { return c.RetryPeriod / 8 }

// watchBackoff returns the pause before a watch is opened again. watchJitter returns a
// random duration between half of pause and pause.
func (c Config) watchBackoff() time.Duration        { return c.RetryPeriod / 4 }
func watchJitter(pause time.Duration) time.Duration { return pause/2 + rand.N(pause/2+1) }

// Upper limits for connections. They do not grow with the durations of the Config,
// because a dead connection does not recover if a client waits longer.
const (
	maxDialTimeout = 5 * time.Second
	maxKeepAlive   = 2 * time.Second
)

// dialTimeout returns how long it may take to open a connection.
func (c Config) dialTimeout() time.Duration { return min(c.shortestRead(), maxDialTimeout) }

// keepAliveInterval returns the interval of keep-alives. It is a whole number of
// seconds, because the kernel accepts only whole seconds.
func (c Config) keepAliveInterval() time.Duration {
	return min(max(time.Second, (c.RenewDeadline/4).Truncate(time.Second)), maxKeepAlive)
}

// longLease is the LeaseDuration above which New logs a warning, because after a crash
// nobody leads for one LeaseDuration.
const longLease = 5 * time.Minute

// maxLeaseDuration is the largest duration that leaseDurationSeconds, an int32, can
// store.
const maxLeaseDuration = (1<<31 - 1) * time.Second

// TolerateOutage returns LeaseDuration, RenewDeadline and RetryPeriod for a Config. A
// leader with these durations keeps its term in each outage of the API server that is
// not longer than outage; see Timing.Outage. After a crash, nobody leads for about 4/3
// of outage. An outage of less than one second counts as one second.
//
//	config.LeaseDuration, config.RenewDeadline, config.RetryPeriod = leaderelection.TolerateOutage(60 * time.Second)
func TolerateOutage(outage time.Duration) (leaseDuration, renewDeadline, retryPeriod time.Duration) {
	outage = min(max(outage, time.Second), maxLeaseDuration/2)
	// Timing.Outage is W - RetryPeriod - attemptTimeout, and attemptTimeout is at most
	// RetryPeriod. Therefore W = outage + 2*RetryPeriod suffices. A fifth of
	// LeaseDuration remains for the work to stop, as with the defaults.
	retryPeriod = min(outage/4, DefaultRetryPeriod)
	window := outage + 2*retryPeriod
	return roundUp(window*5/4, time.Second), window - retryPeriod, retryPeriod
}

// FailOverWithin returns LeaseDuration, RenewDeadline and RetryPeriod for a Config.
// With these durations, a follower that may watch the Lease replaces a crashed leader
// within limit; see Timing.Crash. A term survives outages of the API server of up to
// about half of limit. A limit of less than 2.5 s counts as 2.5 s.
func FailOverWithin(limit time.Duration) (leaseDuration, renewDeadline, retryPeriod time.Duration) {
	limit = min(max(limit, 2500*time.Millisecond), maxLeaseDuration)
	leaseDuration = (limit - maxClaimDelay).Truncate(time.Second)
	window := leaseDuration / 5 * 4
	retryPeriod = min(window/6, DefaultRetryPeriod)
	return leaseDuration, window - retryPeriod, retryPeriod
}

func roundUp(d, unit time.Duration) time.Duration { return (d + unit - 1).Truncate(unit) }

// A Timing contains the effects of the durations of a Config. The time that requests
// take, normally milliseconds, is not included.
type Timing struct {
	// Outage is how long the API server may be unreachable without ending a term, even
	// if the outage begins at the worst moment. An outage longer than OutageEnds always
	// ends the term. Whether an outage between Outage and OutageEnds ends the term
	// depends on when the last renewal was sent.
	Outage, OutageEnds time.Duration

	// Stop is how long the work has to stop if leadership could not be renewed, before
	// another candidate may lead. It equals Config.Margin.
	Stop time.Duration

	// Release is the longest time for which nobody leads after a cancelled context or
	// StepDown stopped the work and the Lease was released. If there is a successor,
	// the time is a few milliseconds. Release is the bound for a successor that no
	// longer exists. If ReleaseOnCancel is false, Release equals Crash, because the
	// Lease must expire.
	Release time.Duration

	// Crash is the longest time for which nobody leads after the leader's process has
	// died.
	Crash time.Duration

	// Partition is the longest time for which nobody leads if the leader cannot reach
	// the API server. The time starts when the leader has asked its work to stop.
	Partition time.Duration

	// Polling is the longest time between two reads. If the followers may not watch the
	// Lease, add Polling to Release, Crash and Partition.
	Polling time.Duration
}

// Timing returns the effects of the Config's durations. Zero durations mean the
// defaults. If the election is not enabled, all times are zero.
func (c Config) Timing() Timing {
	if !c.Enabled {
		return Timing{}
	}
	c = c.withDefaults()
	t := Timing{
		// The worst outage begins just before a renewal is sent, which is RetryPeriod
		// after the last confirmed write. Then another renewal is sent after each
		// attemptTimeout. Therefore the outage must end one attemptTimeout before the
		// trust window ends, where overlapTimeout also places a renewal.
		Outage:     c.Window() - c.RetryPeriod - c.attemptTimeout(),
		OutageEnds: c.Window(),
		Stop:       c.Margin(),
		Release:    maxClaimDelay,
		Crash:      c.LeaseDuration + maxClaimDelay,
		Partition:  c.Margin() + maxClaimDelay,
		Polling:    c.longestPoll(),
	}
	if !c.ReleaseOnCancel {
		t.Release = t.Crash
	}
	return t
}

// String returns the Timing as one sentence.
func (t Timing) String() string {
	return fmt.Sprintf("a term survives an outage of the API server of %v, and never one longer than %v; the work has %v to stop; "+
		"nobody leads for at most %v after a stop, %v after a crash, %v after a partition, and %v longer if the Lease may not be watched",
		t.Outage, t.OutageEnds, t.Stop, t.Release, t.Crash, t.Partition, t.Polling)
}

// LogValue returns the Timing as a group of attributes.
func (t Timing) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Duration("outage", t.Outage), slog.Duration("outageEnds", t.OutageEnds), slog.Duration("stop", t.Stop),
		slog.Duration("release", t.Release), slog.Duration("crash", t.Crash), slog.Duration("partition", t.Partition),
		slog.Duration("polling", t.Polling))
}
