package leaderelection

import (
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"time"
)

// This file contains every formula of a duration and every random delay.

// Window returns the trust window W: how long after it was sent a successful renewal
// entitles its sender to work.
//
//	W = min(RetryPeriod + RenewDeadline, 9/10 of LeaseDuration)
//
// Other candidates claim no sooner than LeaseDuration after they last observed a
// change of the Lease, and that change happened after the renewal was sent. So the
// work always has Margin, LeaseDuration - W, to stop. Zero durations mean the defaults.
func (c Config) Window() time.Duration {
	c = c.withDefaults()
	return min(c.RetryPeriod+c.RenewDeadline, maxWindow(c.LeaseDuration))
}

// maxWindow returns the longest trust window of a LeaseDuration.
func maxWindow(leaseDuration time.Duration) time.Duration { return leaseDuration / 10 * 9 }

// Margin returns how long the work has to stop after leadership could not be renewed,
// before another candidate may lead: LeaseDuration - Window().
func (c Config) Margin() time.Duration {
	return c.withDefaults().LeaseDuration - c.Window()
}

// attemptTimeout returns how long one write is awaited before the next one overlaps
// it. Four attempts fit into the window even if each hangs.
func (c Config) attemptTimeout() time.Duration {
	return min(c.RetryPeriod, (c.Window()-c.RetryPeriod)/4)
}

// overlapTimeout returns how long a renewal is awaited if the last confirmed write was
// sent that long ago. In windows of minutes it grows, so that dozens of requests
// overlap and not thousands.
func (c Config) overlapTimeout(unconfirmed time.Duration) time.Duration {
	return max(c.attemptTimeout(), unconfirmed/16)
}

// claimTimeout returns how long one attempt to claim may take, including the read that
// follows a failed one.
func (c Config) claimTimeout() time.Duration {
	return max(c.Window(), c.attemptTimeout()+2*c.RetryPeriod+c.longestRead())
}

// longestRead bounds the timeout of a read, and shortestRead is the timeout outside of
// an outage. One request that hangs must not delay the next one for long, whatever
// RenewDeadline is.
func (c Config) longestRead() time.Duration  { return max(time.Second, c.RenewDeadline/2) }
func (c Config) shortestRead() time.Duration { return min(c.longestRead(), 10*time.Second) }

// readTimeout returns the timeout of a read if the API server last answered that long
// ago. In an outage it grows, so that dozens of requests are sent and not thousands.
func (c Config) readTimeout(sinceContact time.Duration) time.Duration {
	return min(max(c.shortestRead(), sinceContact/16), c.longestRead())
}

// longestPoll returns the longest time between two reads of a client-go candidate.
func (c Config) longestPoll() time.Duration {
	return c.RetryPeriod + time.Duration(clientJitterFactor*float64(c.RetryPeriod))
}

// silenceTimeout returns how long the observer waits for news of the Lease before it
// reads it. Without a watch this is a random time between RetryPeriod and longestPoll,
// as client-go polls. With a watch it is longestPoll, because the watch reports each
// renewal.
func (c Config) silenceTimeout(watching bool) time.Duration {
	longest := c.longestPoll()
	if watching {
		return longest
	}
	return c.RetryPeriod + rand.N(longest-c.RetryPeriod+1)
}

// A follower that is not the successor claims a released Lease after a random claim
// delay. It is long enough for the successor to claim, and for hundreds of watches to
// report that claim.
const (
	minClaimDelay = 200 * time.Millisecond
	maxClaimDelay = 500 * time.Millisecond
)

func claimDelay() time.Duration { return minClaimDelay + rand.N(maxClaimDelay-minClaimDelay) }

// claimRetryDelay returns the claim jitter: the random pause between a failed claim and
// the read that precedes the next one. It is short after a conflict, and longer than
// RetryPeriod while requests fail.
func (c Config) claimRetryDelay(failing bool) time.Duration {
	if failing {
		return c.RetryPeriod + rand.N(c.RetryPeriod/2+1)
	}
	return c.RetryPeriod/40 + rand.N(c.RetryPeriod/5+1)
}

// nominationDelay returns how long after a renewal a follower nominates itself.
func (c Config) nominationDelay() time.Duration { return c.nominationDelayOf(rand.Float64()) }

// nominationDelayOf returns the nomination delay for a draw from 0 to 1. Few draws give
// a short delay: of hundreds of followers one or two go first, and the others observe
// the nomination that they would have to precede. The longest delay ends well before
// the next renewal, which would refuse the nomination.
func (c Config) nominationDelayOf(draw float64) time.Duration {
	return c.RetryPeriod/20 + time.Duration(math.Pow(draw, 0.125)*float64(c.RetryPeriod/2))
}

// minAgeGap returns by how much a process that began to campaign so long ago must be
// younger than the successor to replace it. A new replica replaces an old one at once.
// Processes that started together hours ago do not replace each other.
func (c Config) minAgeGap(campaigning time.Duration) time.Duration {
	return (campaigning + c.RetryPeriod) / 16
}

// recentlyJoined reports whether a process began to campaign so recently that it must
// become successor soon: in a rolling update, before the next old replica stops.
func (c Config) recentlyJoined(campaigning time.Duration) bool {
	return campaigning < 4*c.RetryPeriod
}

// trustCheckInterval returns how soon the end of trust is checked again. It is shorter
// than the remaining trust, because timers stop while the machine sleeps.
func (c Config) trustCheckInterval(remaining time.Duration) time.Duration {
	return min(remaining, c.Margin()/2)
}

// stopTimeAfterLoss returns how long the work may take to stop after the Lease was
// lost, if the last confirmed write was sent that long ago. It ends shortly before
// others may claim the Lease, one LeaseDuration after that write; a tenth of Margin is
// left for the process to exit. It is never more than Margin, and never less than half
// of it: a process that was frozen needs a moment to notice the loss.
func (c Config) stopTimeAfterLoss(sinceWrite time.Duration) time.Duration {
	margin := c.Margin()
	return min(max(c.LeaseDuration-margin/10-sinceWrite, margin/2), margin)
}

// exitTime returns how long OnStoppedLeading is awaited if the work has not stopped in
// time, because others may claim soon.
func (c Config) exitTime() time.Duration { return c.Margin() / 20 }

// logFlushTime returns how long Run waits for a slow log handler before it returns, and
// traceFlushTime how long for the traces and again for the event recorder.
func (c Config) logFlushTime() time.Duration   { return c.Margin() / 40 }
func (c Config) traceFlushTime() time.Duration { return c.Margin() / 160 }

// releaseStepTime returns how long each step of a release may take: as long as an
// attempt, and not beyond the end of trust.
func (c Config) releaseStepTime(trustedUntil time.Time) time.Duration {
	return min(c.attemptTimeout(), time.Until(trustedUntil))
}

// releaseRetryDelay returns the pause before a refused release is sent again.
func (c Config) releaseRetryDelay(trustedUntil time.Time) time.Duration {
	return min(c.releaseStepTime(trustedUntil), c.RetryPeriod/4)
}

// lateClaimPause returns the pause between a read for a late claim and the wait for its
// effects.
func (c Config) lateClaimPause() time.Duration { return c.RetryPeriod / 8 }

// watchBackoff returns the pause before an ended watch is opened again, and watchJitter
// spreads it.
func (c Config) watchBackoff() time.Duration        { return c.RetryPeriod / 4 }
func watchJitter(pause time.Duration) time.Duration { return pause/2 + rand.N(pause/2+1) }

// Limits for connections, however long an outage is tolerated: waiting longer does not
// repair a connection.
const (
	maxDialTimeout = 5 * time.Second
	maxKeepAlive   = 2 * time.Second
)

// dialTimeout returns how long opening a connection may take.
func (c Config) dialTimeout() time.Duration { return min(c.shortestRead(), maxDialTimeout) }

// keepAliveInterval returns the interval of keep-alives in whole seconds, because the
// kernel counts them so.
func (c Config) keepAliveInterval() time.Duration {
	return min(max(time.Second, (c.RenewDeadline/4).Truncate(time.Second)), maxKeepAlive)
}

// longLease is a LeaseDuration above which New warns: nobody leads for that long after
// a crash.
const longLease = 5 * time.Minute

// maxLeaseDuration is the largest value of leaseDurationSeconds, an int32.
const maxLeaseDuration = (1<<31 - 1) * time.Second

// TolerateOutage returns the three durations of a Config whose leader keeps its term
// through each outage of the API server that lasts no longer than outage; see
// Timing.Outage. The price is the time without a leader after a crash: about a third
// more than outage. An outage below one second counts as one second.
//
//	config.LeaseDuration, config.RenewDeadline, config.RetryPeriod = leaderelection.TolerateOutage(60 * time.Second)
func TolerateOutage(outage time.Duration) (leaseDuration, renewDeadline, retryPeriod time.Duration) {
	outage = min(max(outage, time.Second), maxLeaseDuration/2)
	// Outage = W - RetryPeriod - attemptTimeout, and attemptTimeout is at most
	// RetryPeriod. So W = outage + 2*RetryPeriod. A fifth of LeaseDuration is left to
	// stop, as with the defaults.
	retryPeriod = min(outage/4, DefaultRetryPeriod)
	window := outage + 2*retryPeriod
	return roundUp(window*5/4, time.Second), window - retryPeriod, retryPeriod
}

// FailOverWithin returns the three durations of a Config whose leader is replaced
// within limit after it crashed, by a follower that may watch the Lease; see
// Timing.Crash. The price is the tolerated outage of the API server: about half of
// limit. A limit below 2.5 s counts as 2.5 s.
func FailOverWithin(limit time.Duration) (leaseDuration, renewDeadline, retryPeriod time.Duration) {
	limit = min(max(limit, 2500*time.Millisecond), maxLeaseDuration)
	leaseDuration = (limit - maxClaimDelay).Truncate(time.Second)
	window := leaseDuration / 5 * 4
	retryPeriod = min(window/6, DefaultRetryPeriod)
	return leaseDuration, window - retryPeriod, retryPeriod
}

func roundUp(d, unit time.Duration) time.Duration { return (d + unit - 1).Truncate(unit) }

// A Timing is what follows from the durations of a Config. The time of the requests
// comes on top, normally milliseconds.
type Timing struct {
	// Outage is how long the API server may be unreachable without ending a term,
	// whenever the outage begins. An outage longer than OutageEnds always ends the
	// term. In between it depends on the time of the last renewal.
	Outage, OutageEnds time.Duration

	// Stop is how long the work has to stop when leadership could not be renewed,
	// before another candidate may lead. It equals Config.Margin.
	Stop time.Duration

	// Release is how long nobody leads, at most, after the work has stopped because of
	// a cancel or StepDown and the Lease was released. With a successor this is a few
	// milliseconds; the bound is for a successor that is gone. Without ReleaseOnCancel
	// the Lease must expire.
	Release time.Duration

	// Crash is how long nobody leads, at most, after the leader's process has died.
	Crash time.Duration

	// Partition is how long nobody leads, at most, after a leader that cannot reach
	// the API server has asked its work to stop.
	Partition time.Duration

	// Polling comes on top of Release, Crash and Partition if the followers may not
	// watch the Lease. It is the longest time between two reads.
	Polling time.Duration
}

// Timing returns what follows from the Config's durations. Zero durations mean the
// defaults. All times are zero if the election is not enabled.
func (c Config) Timing() Timing {
	if !c.Enabled {
		return Timing{}
	}
	c = c.withDefaults()
	t := Timing{
		// The next renewal is sent RetryPeriod after the last one, and then one each
		// attemptTimeout. The API server must answer the last of these that can succeed.
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
