// Package clock measures time for an elector. It includes the time for which the
// machine sleeps, defines when trust ends, and detects a loop that no longer runs.
package clock

import (
	"context"
	"errors"
	"time"
)

// driftTolerance is the largest difference between the wall clock and the monotonic
// clock that Age ignores. If the difference is larger, the machine may have slept, and
// Age reads the boot-time clock.
const driftTolerance = 10 * time.Millisecond

// A Stamp is the time at which a request was sent.
type Stamp struct {
	at     time.Time     // a reading of both the wall clock and the monotonic clock
	wall   int64         // at.UnixNano(), stored to make IsLeader faster
	asleep time.Duration // the time that the machine had slept since boot, as a lower bound
}

// Now returns a Stamp of the current time. Call it before the request is sent.
func Now() Stamp {
	// Call asleep before time.Now. If the machine sleeps between the two calls, Age
	// includes this sleep.
	slept, _ := asleep()
	now := time.Now()
	return Stamp{at: now, wall: now.UnixNano(), asleep: slept}
}

// Time returns the stamp as a time.Time.
func (s *Stamp) Time() time.Time { return s.at }

// Age returns the time from the stamp until now, including the time for which the
// machine slept. Age reads the boot-time clock only if the wall clock and the monotonic
// clock differ.
func (s *Stamp) Age(now time.Time) time.Duration {
	mono, wall := now.Sub(s.at), time.Duration(now.UnixNano()-s.wall)
	if !drifted(mono, wall) {
		return mono
	}
	_, most := asleep()
	return mono + slept(s.asleep, most)
}

// drifted reports whether mono and wall differ by more than driftTolerance.
func drifted(mono, wall time.Duration) bool {
	drift := wall - mono
	return drift < -driftTolerance || drift > driftTolerance
}

// slept returns how long the machine slept between two calls of asleep. The parameters
// are the results of the two calls.
func slept(before, now time.Duration) time.Duration { return max(0, now-before) }

// ErrInterrupted is returned by Sleep if interrupt was closed.
var ErrInterrupted = errors.New("the wait was interrupted")

// Sleep waits for d. If interrupt is closed first, Sleep returns
// ErrInterrupted. If ctx is done first, Sleep returns the error of ctx. interrupt may
// be nil. If d is zero or negative, Sleep creates no timer, because of a bug in Go
// 1.26. In fake time, its race detector may crash on timers that are already due.
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
