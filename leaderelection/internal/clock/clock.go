// Package clock measures time for an elector: time asleep counts, trust has an end,
// and a loop that stops moving is noticed.
package clock

import (
	"context"
	"errors"
	"time"
)

// driftTolerance is the difference between the wall clock and the monotonic clock
// above which the boot-time clock is read, because the machine may have slept. NTP
// slews a clock by far less in the time of one Lease.
const driftTolerance = 10 * time.Millisecond

// A Stamp is the moment at which a request was sent.
type Stamp struct {
	at     time.Time     // on the wall clock and the monotonic clock
	wall   int64         // at.UnixNano(), stored because IsLeader needs it often
	asleep time.Duration // the least time that the machine had slept since boot
}

// Now returns the stamp of this moment. Call it before the request is sent.
func Now() Stamp {
	// The sleep is read first. A suspend between the two readings then counts as time
	// that has passed.
	slept, _ := asleep()
	now := time.Now()
	return Stamp{at: now, wall: now.UnixNano(), asleep: slept}
}

// Time returns the moment as a time.Time.
func (s *Stamp) Time() time.Time { return s.at }

// Age returns the time from the stamp until now, including time asleep. While the
// wall clock and the monotonic clock agree, the machine did not sleep, and the
// boot-time clock is not read.
func (s *Stamp) Age(now time.Time) time.Duration {
	mono, wall := now.Sub(s.at), time.Duration(now.UnixNano()-s.wall)
	if !drifted(mono, wall) {
		return mono
	}
	_, most := asleep()
	return mono + slept(s.asleep, most)
}

// drifted reports whether two clocks measured different times between the same two
// moments.
func drifted(mono, wall time.Duration) bool {
	drift := wall - mono
	return drift < -driftTolerance || drift > driftTolerance
}

// slept returns the growth of the time asleep between two readings.
func slept(before, now time.Duration) time.Duration { return max(0, now-before) }

// ErrInterrupted is returned by Sleep when its interrupt channel was closed.
var ErrInterrupted = errors.New("the wait was interrupted")

// Sleep waits for d. It returns ErrInterrupted if interrupt is closed first, and the
// error of ctx if ctx ends first. interrupt may be nil. If d is zero or negative it
// creates no timer: in fake time the race detector of Go 1.26 crashes when several
// goroutines read timers that are due already.
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
