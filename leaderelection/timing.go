package leaderelection

import (
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/clock"
)

// This file contains every formula that computes a duration.

// Window returns the trust window W. After a successful renewal, the leader may work
// for W. W starts just before the renewal is sent.
//
//	W = min(RetryPeriod + RenewDeadline, 9/10 of LeaseDuration)
//
// Other candidates wait for LeaseDuration after they have observed the renewal.
// Therefore the work has at least LeaseDuration - W to stop; see Margin. Zero durations
// in the Config mean the defaults.
func (c Config) Window() time.Duration {
	c = c.withDefaults()
	return min(c.RetryPeriod+c.RenewDeadline, maxWindow(c.LeaseDuration))
}

// maxWindow returns the longest trust window for the given LeaseDuration.
func maxWindow(leaseDuration time.Duration) time.Duration { return leaseDuration / 10 * 9 }

// Margin returns the time from the end of the trust window until another candidate may
// lead. The work must stop in this time. Margin returns LeaseDuration - Window(). Zero
// durations in the Config mean the defaults.
func (c Config) Margin() time.Duration {
	return c.withDefaults().LeaseDuration - c.Window()
}

// attemptTimeout returns how long the elector waits for the reply to a write before it
// sends another write. The timeout is short enough for four attempts in one trust
// window.
func (c Config) attemptTimeout() time.Duration {
	return min(c.RetryPeriod, (c.Window()-c.RetryPeriod)/4)
}

// overlapTimeout returns how long the elector waits for the reply to a renewal before
// it sends another renewal. unconfirmed is the time since the last
// confirmed write was sent. The timeout grows during an outage, which limits the number
// of pending requests. One more renewal is always sent at least one attemptTimeout
// before the trust window ends.
func (c Config) overlapTimeout(unconfirmed time.Duration) time.Duration {
	untilLast := c.Window() - c.attemptTimeout() - unconfirmed
	return max(c.attemptTimeout(), min(unconfirmed/16, untilLast))
}

// refusalPause returns the pause after a renewal that the server has refused. The
// parameter asked is the pause that the server asks for. held is the remaining time of the
// trust window. One more renewal is always sent before the trust window ends.
func (c Config) refusalPause(asked, held time.Duration) time.Duration {
	return min(asked, held-c.attemptTimeout())
}

// claimTimeout returns how long a claim may take, including the pause and the read
// after a failed claim.
func (c Config) claimTimeout() time.Duration {
	return max(c.Window(), c.attemptTimeout()+2*c.RetryPeriod+c.longestRead())
}

// longestRead returns the longest timeout of a read. shortestRead returns the shortest
// timeout of a read.
func (c Config) longestRead() time.Duration  { return max(time.Second, c.RenewDeadline/2) }
func (c Config) shortestRead() time.Duration { return min(c.longestRead(), 10*time.Second) }

// readTimeout returns the timeout of a read. sinceContact is the time
// since the API server last answered. The timeout grows during an outage, which limits
// the number of reads.
func (c Config) readTimeout(sinceContact time.Duration) time.Duration {
	return min(max(c.shortestRead(), sinceContact/16), c.longestRead())
}

// longestPoll returns the longest pause between two reads by client-go's elector.
func (c Config) longestPoll() time.Duration {
	return c.RetryPeriod + time.Duration(clientJitterFactor*float64(c.RetryPeriod))
}

// silenceTimeout returns how long the observer waits for a newer observation before it
// reads the Lease. If a watch is open, the timeout is longestPoll. If no watch is open,
// the timeout is a random duration between RetryPeriod and longestPoll, as in
// client-go.
func (c Config) silenceTimeout(watching bool) time.Duration {
	longest := c.longestPoll()
	if watching {
		return longest
	}
	return c.RetryPeriod + rand.N(longest-c.RetryPeriod+1)
}

// A follower that is not the successor waits for a random claim delay before it claims
// a released Lease. The successor normally claims the Lease within minClaimDelay.
const (
	minClaimDelay = 200 * time.Millisecond
	maxClaimDelay = 500 * time.Millisecond
)

func claimDelay() time.Duration { return minClaimDelay + rand.N(maxClaimDelay-minClaimDelay) }

// claimRetryDelay returns a random pause after a failed claim. failing is
// true if requests for the Lease currently fail. The pause is then at least
// RetryPeriod.
func (c Config) claimRetryDelay(failing bool) time.Duration {
	if failing {
		return c.RetryPeriod + rand.N(c.RetryPeriod/2+1)
	}
	return c.RetryPeriod/40 + rand.N(c.RetryPeriod/5+1)
}

// nominationDelay returns the random time that a follower waits after a renewal before
// it nominates itself.
func (c Config) nominationDelay() time.Duration { return c.nominationDelayOf(rand.Float64()) }

// nominationDelayOf returns the nomination delay for the parameter random, a random
// number from 0 to 1. Most numbers result in a long delay. Therefore only a few of
// hundreds of followers nominate themselves early, and the other followers observe
// these nominations.
func (c Config) nominationDelayOf(random float64) time.Duration {
	return c.RetryPeriod/20 + time.Duration(math.Pow(random, 0.125)*float64(c.RetryPeriod/2))
}

// firstNominationDelay returns the random time from the first observation of a new
// replica until it nominates itself. Its distribution is that of nominationDelay, so
// that few of many replicas that start at the same time are early.
func (c Config) firstNominationDelay() time.Duration {
	return time.Duration(math.Pow(rand.Float64(), 0.125) * float64(min(maxFirstNominationDelay, c.RetryPeriod/4)))
}

const maxFirstNominationDelay = 80 * time.Millisecond

// firstNominationPeriod returns how long after its first observation a replica does not
// wait for the next renewal before it nominates itself.
func (c Config) firstNominationPeriod() time.Duration { return c.RetryPeriod / 2 }

// slowRenewal returns the age of a renewTime from which on renewals are considered slow.
func (c Config) slowRenewal() time.Duration { return c.RetryPeriod * 3 / 2 }

// minAgeGap returns the minimum age gap between a follower and the successor. A
// follower replaces a successor of the same priority only if the follower started later
// by more than this gap. campaigning is how long the follower has
// campaigned. The gap grows with this time.
func (c Config) minAgeGap(campaigning time.Duration) time.Duration {
	return (campaigning + c.RetryPeriod) / 16
}

// recentlyJoined reports whether a follower has campaigned only for a short time.
func (c Config) recentlyJoined(campaigning time.Duration) bool {
	return campaigning < 4*c.RetryPeriod
}

// containerCheckDelay is the time between the two reads of its own pod with which a
// process learns its container. A status is normally outdated for less than a second.
const containerCheckDelay = 3 * time.Second

// These are the shortest and the longest pause between two attempts of a process to learn
// its container. containerLogDelay is how long the attempts fail before this is logged.
const (
	minContainerPause = 500 * time.Millisecond
	maxContainerPause = time.Minute
	containerLogDelay = 30 * time.Second
)

// nextContainerPause returns the pause after the next attempt.
func nextContainerPause(pause time.Duration) time.Duration { return min(2*pause, maxContainerPause) }

// trustCheckInterval returns the pause between two checks whether the trust window has
// ended. remaining is the remaining time of the trust window. The pause
// is at most half of Margin, because timers fire late if the machine sleeps.
func (c Config) trustCheckInterval(remaining time.Duration) time.Duration {
	return min(remaining, c.Margin()/2)
}

// stopTimeAfterLoss returns how long the work may take to stop after the Lease was
// lost. sinceWrite is the time since the last confirmed write was sent.
// The stop time normally ends a tenth of Margin before other candidates may claim the
// Lease. It is at least half of Margin and at most Margin.
func (c Config) stopTimeAfterLoss(sinceWrite time.Duration) time.Duration {
	margin := c.Margin()
	return min(max(c.LeaseDuration-margin/10-sinceWrite, margin/2), margin)
}

// exitTime returns how long Run waits for OnStoppedLeading if the work has not stopped
// in time. After this wait, Run returns ErrWorkStillRunning.
func (c Config) exitTime() time.Duration { return c.Margin() / 20 }

// logFlushTime returns how long Run waits for a slow log handler before Run returns.
// traceFlushTime returns how long Run waits for slow Traces and a slow event recorder.
func (c Config) logFlushTime() time.Duration   { return c.Margin() / 40 }
func (c Config) traceFlushTime() time.Duration { return c.Margin() / 160 }

// releaseStepTime returns how long each request of a release may take. The request must
// end before trustedUntil.
func (c Config) releaseStepTime(trustedUntil time.Time) time.Duration {
	return min(c.attemptTimeout(), time.Until(trustedUntil))
}

// releaseRetryDelay returns the pause after a failed release.
func (c Config) releaseRetryDelay(trustedUntil time.Time) time.Duration {
	return min(c.releaseStepTime(trustedUntil), c.RetryPeriod/4)
}

// stepDownTime returns how long StepDown waits for the work. The work may be waiting for
// the caller of StepDown. Therefore StepDown must return long before StopTimeout.
// hasDeadline is true if the context of StepDown has a deadline.
func (c Config) stepDownTime(hasDeadline bool) time.Duration {
	longest := c.RenewDeadline
	if hasDeadline {
		longest = clock.Forever
	}
	if c.StopTimeout > 0 {
		return min(longest, c.StopTimeout/2)
	}
	return longest
}

// longStop returns how long work may take to stop before Stuck reports the work, if
// there is no StopTimeout.
func (c Config) longStop() time.Duration { return 4 * c.LeaseDuration }

// longestBackoff returns how long an attempt waits for the rest of a response, which may
// be a response with Retry-After.
func (c Config) longestBackoff() time.Duration { return c.Window() / 2 }

// lateClaimTime returns how long Run may wait after it was cancelled to learn whether a
// pending claim succeeds. The wait is short even for a long Lease, because a process that
// is asked to stop is usually killed after 30 s.
func (c Config) lateClaimTime() time.Duration {
	longest := min(2*c.attemptTimeout(), maxLateClaimTime)
	if c.StopTimeout > 0 {
		return min(longest, c.StopTimeout)
	}
	return longest
}

const maxLateClaimTime = 5 * time.Second

// releaseTime returns how long a release may take if StopTimeout has passed, so that at
// least one request is sent and answered.
func (c Config) releaseTime() time.Duration { return min(c.attemptTimeout(), DefaultRetryPeriod) }

// watchBackoff returns the first pause before a watch is opened again. watchJitter
// returns a random duration between pause/2 and pause.
func (c Config) watchBackoff() time.Duration        { return c.RetryPeriod / 4 }
func watchJitter(pause time.Duration) time.Duration { return pause/2 + rand.N(pause/2+1) }

// These are the upper limits of dialTimeout and keepAliveInterval.
const (
	maxDialTimeout = 5 * time.Second
	maxKeepAlive   = 2 * time.Second
)

// dialTimeout returns the timeout for opening a connection.
func (c Config) dialTimeout() time.Duration { return min(c.shortestRead(), maxDialTimeout) }

// keepAliveInterval returns the interval between keep-alives. The interval is a whole
// number of seconds, because the kernel accepts only whole seconds.
func (c Config) keepAliveInterval() time.Duration {
	return min(max(time.Second, (c.RenewDeadline/4).Truncate(time.Second)), maxKeepAlive)
}

// longLease is the LeaseDuration above which New logs a warning.
const longLease = 5 * time.Minute

// maxLeaseDuration is the largest duration that the API can store, because
// leaseDurationSeconds is an int32.
const maxLeaseDuration = (1<<31 - 1) * time.Second

// TolerateOutage returns LeaseDuration, RenewDeadline and RetryPeriod for a Config.
// With these durations, a term survives an outage of the API server that is not longer
// than the parameter outage. A longer outage requires a longer LeaseDuration, and
// nobody leads for about one LeaseDuration after a crash. See Timing. If outage is less
// than 1 s, TolerateOutage uses 1 s.
//
//	config.LeaseDuration, config.RenewDeadline, config.RetryPeriod = leaderelection.TolerateOutage(60 * time.Second)
func TolerateOutage(outage time.Duration) (leaseDuration, renewDeadline, retryPeriod time.Duration) {
	outage = min(max(outage, time.Second), maxLeaseDuration/2)
	// Timing.Outage is W - RetryPeriod - attemptTimeout, and attemptTimeout is at most
	// RetryPeriod. Therefore W = outage + 2*RetryPeriod is long enough. As with the
	// defaults, W is 4/5 of LeaseDuration.
	retryPeriod = min(outage/4, DefaultRetryPeriod)
	window := outage + 2*retryPeriod
	return roundUp(window*5/4, time.Second), window - retryPeriod, retryPeriod
}

// FailOverWithin returns LeaseDuration, RenewDeadline and RetryPeriod for a Config.
// With these durations, a follower leads within the parameter limit after a crash of
// the leader, if the follower may watch the Lease. See Timing.Crash. A term survives an
// outage of the API server of about half of limit. If limit is less than 2.5 s,
// FailOverWithin uses 2.5 s.
func FailOverWithin(limit time.Duration) (leaseDuration, renewDeadline, retryPeriod time.Duration) {
	limit = min(max(limit, 2500*time.Millisecond), maxLeaseDuration)
	leaseDuration = (limit - maxClaimDelay).Truncate(time.Second)
	window := leaseDuration / 5 * 4
	retryPeriod = min(window/6, DefaultRetryPeriod)
	return leaseDuration, window - retryPeriod, retryPeriod
}

// later returns the later one of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func roundUp(d, unit time.Duration) time.Duration { return (d + unit - 1).Truncate(unit) }

// A Timing contains the times that result from a Config. These times do not include the
// time that requests take, which is normally milliseconds.
type Timing struct {
	// Outage is the longest outage of the API server that a term always survives. A
	// term never survives an outage that is longer than OutageEnds. Whether a term
	// survives an outage between Outage and OutageEnds depends on when the last renewal
	// was sent.
	Outage, OutageEnds time.Duration

	// Stop is the time from the end of the trust window until another candidate may
	// lead. The work must stop in this time. Stop equals Config.Margin.
	Stop time.Duration

	// Release is the longest time for which nobody leads after the Lease was released.
	// A successor normally leads after a few milliseconds. If the successor no longer
	// exists, another follower leads after at most Release. If ReleaseOnCancel is
	// false, Release equals Crash, because the Lease must expire.
	Release time.Duration

	// Crash is the longest time for which nobody leads after the leader's process has
	// died. With WithProofOfDeath, the time is normally much shorter.
	Crash time.Duration

	// Partition is the longest time for which nobody leads if the leader cannot reach
	// the API server. The time starts when the trust window ends.
	Partition time.Duration

	// Polling is the longest time between two reads of the Lease by a follower without
	// the right to watch. If no follower has this right, add Polling to Release, Crash
	// and Partition.
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
		// The worst outage begins just before a renewal is sent, one RetryPeriod after
		// the last confirmed write. The last renewal is sent at least one
		// attemptTimeout before the trust window ends. The outage must end before this
		// renewal.
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
