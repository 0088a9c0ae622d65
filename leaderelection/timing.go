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

// maxWindow returns the longest trust window that is allowed for a LeaseDuration.
func maxWindow(leaseDuration time.Duration) time.Duration { return leaseDuration / 10 * 9 }

// Margin returns the time from the end of the trust window until another candidate may
// lead. The work must stop in this time. Margin is LeaseDuration - Window().
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
// sent. The timeout grows with unconfirmed. Therefore only dozens of requests overlap,
// even in a trust window of hours. The timeout ends no later than one attemptTimeout
// before the end of trust, because Timing.Outage promises a renewal at that time.
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

// longestPoll returns the longest pause between two reads of a candidate that uses
// client-go directly.
func (c Config) longestPoll() time.Duration {
	return c.RetryPeriod + time.Duration(clientJitterFactor*float64(c.RetryPeriod))
}

// silenceTimeout returns how long the observer waits for a newer observation before it
// reads the Lease. If watching is true, a watch is open, and the result is longestPoll,
// because the watch normally reports each renewal. If watching is false, the result is
// a random duration between RetryPeriod and longestPoll, as in client-go.
func (c Config) silenceTimeout(watching bool) time.Duration {
	longest := c.longestPoll()
	if watching {
		return longest
	}
	return c.RetryPeriod + rand.N(longest-c.RetryPeriod+1)
}

// A follower that is not the successor waits for a random claim delay before it claims
// a released Lease. Even minClaimDelay is long enough for the successor to claim the
// Lease, and for the watches of hundreds of followers to report this claim.
const (
	minClaimDelay = 200 * time.Millisecond
	maxClaimDelay = 500 * time.Millisecond
)

func claimDelay() time.Duration { return minClaimDelay + rand.N(maxClaimDelay-minClaimDelay) }

// claimRetryDelay returns the claim jitter, which is the random pause after a failed
// claim. After the pause, the elector reads the Lease and claims again. If failing is
// true, requests currently fail, and the pause is at least RetryPeriod. If failing is
// false, the claim failed because another candidate was faster, and the pause is short.
func (c Config) claimRetryDelay(failing bool) time.Duration {
	if failing {
		return c.RetryPeriod + rand.N(c.RetryPeriod/2+1)
	}
	return c.RetryPeriod/40 + rand.N(c.RetryPeriod/5+1)
}

// nominationDelay returns the random time from a renewal until a follower nominates
// itself.
func (c Config) nominationDelay() time.Duration { return c.nominationDelayOf(rand.Float64()) }

// nominationDelayOf returns the nomination delay for random, a random number from 0 to
// 1. Most numbers give a long delay. Therefore only one or two of hundreds of followers
// nominate themselves early. The other followers observe an early nomination before
// their own delay ends. The longest delay ends well before the next renewal, because a
// nomination that coincides with a renewal is refused.
func (c Config) nominationDelayOf(random float64) time.Duration {
	return c.RetryPeriod/20 + time.Duration(math.Pow(random, 0.125)*float64(c.RetryPeriod/2))
}

// minAgeGap returns the minimum age gap. A follower replaces a successor of the same
// priority only if the follower's process started later by more than this gap.
// campaigning is how long the follower has campaigned. The gap is short for a new
// replica, which therefore replaces an old replica at once. The gap is long for
// processes that started together hours ago. Therefore they do not replace each other.
func (c Config) minAgeGap(campaigning time.Duration) time.Duration {
	return (campaigning + c.RetryPeriod) / 16
}

// recentlyJoined reports whether a process has campaigned only for a short time. A
// recently joined process must become the successor soon, because a rolling update may
// soon stop the old replicas.
func (c Config) recentlyJoined(campaigning time.Duration) bool {
	return campaigning < 4*c.RetryPeriod
}

// trustCheckInterval returns the pause before the elector checks again whether trust
// has ended. remaining is how long trust still lasts. The pause is at most half of
// Margin, because timers stop while the machine sleeps and then fire late.
func (c Config) trustCheckInterval(remaining time.Duration) time.Duration {
	return min(remaining, c.Margin()/2)
}

// stopTimeAfterLoss returns how long the work may take to stop after the Lease was
// lost. sinceWrite is the time since the last confirmed write was sent. Other
// candidates may claim the Lease one LeaseDuration after that write. Normally the stop
// time ends a tenth of Margin before this claim, because the process needs time to
// exit. The stop time is at least half of Margin, because a process that was frozen
// needs time to notice the loss. It is at most Margin.
func (c Config) stopTimeAfterLoss(sinceWrite time.Duration) time.Duration {
	margin := c.Margin()
	return min(max(c.LeaseDuration-margin/10-sinceWrite, margin/2), margin)
}

// If the work has not stopped in time, Run calls OnStoppedLeading and returns
// ErrWorkStillRunning. exitTime returns how long Run waits for OnStoppedLeading before
// it returns. The wait is short, because other candidates may claim the Lease soon.
func (c Config) exitTime() time.Duration { return c.Margin() / 20 }

// logFlushTime returns how long Run waits for a slow log handler before Run returns.
// traceFlushTime returns how long Run waits for slow Traces. Run waits equally long for
// a slow event recorder.
func (c Config) logFlushTime() time.Duration   { return c.Margin() / 40 }
func (c Config) traceFlushTime() time.Duration { return c.Margin() / 160 }

// releaseStepTime returns how long each step of a release may take. A step takes at
// most attemptTimeout, and ends no later than trustedUntil.
func (c Config) releaseStepTime(trustedUntil time.Time) time.Duration {
	return min(c.attemptTimeout(), time.Until(trustedUntil))
}

// releaseRetryDelay returns the pause between a refused release and the next attempt to
// release.
func (c Config) releaseRetryDelay(trustedUntil time.Time) time.Duration {
	return min(c.releaseStepTime(trustedUntil), c.RetryPeriod/4)
}

// When Run is cancelled while a claim is pending, it reads the Lease repeatedly to find
// out whether the claim succeeded. lateClaimPause returns the shortest pause between
// two of these reads.
func (c Config) lateClaimPause() time.Duration { return c.RetryPeriod / 8 }

// watchBackoff returns the first pause before a watch is opened again. watchJitter
// returns a random duration between half of pause and pause.
func (c Config) watchBackoff() time.Duration        { return c.RetryPeriod / 4 }
func watchJitter(pause time.Duration) time.Duration { return pause/2 + rand.N(pause/2+1) }

// Upper limits of dialTimeout and keepAliveInterval. They do not grow with the
// durations of the Config, because a dead connection does not recover if a client waits
// longer.
const (
	maxDialTimeout = 5 * time.Second
	maxKeepAlive   = 2 * time.Second
)

// dialTimeout returns how long a client may take to open a connection.
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
// not longer than outage; see Timing.Outage. After a crash, nobody leads for
// Timing.Crash, which is about 5/4 of a long outage. An outage of less than one second
// counts as one second.
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

// A Timing contains the times that result from a Config: how long an outage may last,
// and how long nobody leads after a failure. These times do not include the time that
// requests take, which is normally milliseconds.
type Timing struct {
	// A term survives each outage of the API server that is not longer than Outage. An
	// outage that is longer than OutageEnds always ends the term. If the length of an
	// outage is between Outage and OutageEnds, the result depends on when the last
	// renewal was sent.
	Outage, OutageEnds time.Duration

	// Stop is the time from the end of the trust window until another candidate may
	// lead. The work must stop in this time. Stop equals Config.Margin.
	Stop time.Duration

	// Release is the longest time for which nobody leads after a planned stop, which is
	// a cancelled context or a call of StepDown. The time starts when the Lease is
	// released. A successor normally leads after a few milliseconds. It takes longest
	// if the successor no longer exists. If ReleaseOnCancel is false, Release equals
	// Crash, because the Lease must expire.
	Release time.Duration

	// Crash is the longest time for which nobody leads after the leader's process has
	// died.
	Crash time.Duration

	// Partition is the longest time for which nobody leads if the leader cannot reach
	// the API server. The time starts when the trust window ends and the work is asked
	// to stop.
	Partition time.Duration

	// Polling is the longest time between two reads of a follower that may not watch
	// the Lease. If no follower may watch the Lease, add Polling to Release, Crash and
	// Partition.
	Polling time.Duration
}

// Timing returns the times that result from the Config. Zero durations in the Config
// mean the defaults. If the election is not enabled, all times are zero.
func (c Config) Timing() Timing {
	if !c.Enabled {
		return Timing{}
	}
	c = c.withDefaults()
	t := Timing{
		// The worst outage begins just before a renewal is sent, which is RetryPeriod
		// after the last confirmed write. Then another renewal is sent after each
		// attemptTimeout. Therefore the outage must end one attemptTimeout before the
		// trust window ends. At that time, one more renewal is sent; see
		// overlapTimeout.
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

// LogValue returns the Timing as a group of log attributes.
func (t Timing) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Duration("outage", t.Outage), slog.Duration("outageEnds", t.OutageEnds), slog.Duration("stop", t.Stop),
		slog.Duration("release", t.Release), slog.Duration("crash", t.Crash), slog.Duration("partition", t.Partition),
		slog.Duration("polling", t.Polling))
}
