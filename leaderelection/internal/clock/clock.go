// Package clock measures time for an elector. It counts the time for which the machine
// sleeps, defines when trust ends, and detects a loop that no longer runs.
package clock

import (
	"context"
	"errors"
	"time"
)

// driftTolerance is the largest ignored difference between the durations that the wall
// clock and the monotonic clock measure. If the difference is larger, the machine may
// have slept, and Age reads the boot-time clock. Within one LeaseDuration, NTP adjusts
// the wall clock by much less.
const driftTolerance = 10 * time.Millisecond

// A Stamp is the time at which a request was sent.
type Stamp struct {
	at     time.Time     // a reading of both the wall clock and the monotonic clock
	wall   int64         // at.UnixNano(), stored because each call of IsLeader needs it
	asleep time.Duration // a lower bound of the time that the machine had slept since boot
}

// Now returns a Stamp of the current time. Call it before the request is sent.
func Now() Stamp {
	// Call asleep before time.Now. If the machine sleeps between the two calls, Age
	// counts this sleep.
	slept, _ := asleep()
	now := time.Now()
	return Stamp{at: now, wall: now.UnixNano(), asleep: slept}
}

// Time returns the stamp as a time.Time.
func (s *Stamp) Time() time.Time { return s.at }

// Age returns the time from the stamp until now, including the time for which the
// machine slept. If the wall clock and the monotonic clock agree, Age does not read the
// boot-time clock, because the machine did not sleep.
func (s *Stamp) Age(now time.Time) time.Duration {
	mono, wall := now.Sub(s.at), time.Duration(now.UnixNano()-s.wall)
	if !drifted(mono, wall) {
		return mono
	}
	_, most := asleep()
	return mono + slept(s.asleep, most)
}

// drifted reports whether the monotonic clock and the wall clock measured different
// durations for the same interval.
func drifted(mono, wall time.Duration) bool {
	drift := wall - mono
	return drift < -driftTolerance || drift > driftTolerance
}

// slept returns how long the machine slept between two calls of asleep. The parameters
// are the results of these calls.
func slept(before, now time.Duration) time.Duration { return max(0, now-before) }

// ErrInterrupted is returned by Sleep if the channel interrupt was closed.
var ErrInterrupted = errors.New("the wait was interrupted")

// Sleep waits for d. It returns ErrInterrupted if interrupt is closed before d has
// passed, and the error of ctx if ctx is done before d has passed. interrupt may be
// nil. If d is zero or negative, Sleep creates no timer. The reason is a bug: in fake
// time, the race detector of Go 1.26 crashes when several goroutines read timers that
// are already due.
func Sleep(ctx context.Context, interrupt <-chan struct{}, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-interrupt:
		return ErrInterrupted
	case <-ctx.Done():
		return ctx.Err()
	}
}
