package leaderelection

import "time"

// driftTolerance is by how much the wall clock may leave the monotonic one
// before the slow boot-time clock is asked whether the machine slept. A clock
// that is slewed by NTP stays well within it for the length of a Lease.
const driftTolerance = 10 * time.Millisecond

// A stamp is the moment at which a write was sent.
type stamp struct {
	at     time.Time     // by wall and monotonic clock
	wall   int64         // at.UnixNano(), kept for speed
	asleep time.Duration // what the machine had slept by then, at least
}

// stampNow is read before the request is sent. The sleep is read first, so that
// a sleep between the two readings counts as time passed.
func stampNow() stamp {
	slept, _ := asleep()
	now := time.Now()
	return stamp{at: now, wall: now.UnixNano(), asleep: slept}
}

// age is how long ago the stamp was taken, sleep included. As long as the wall
// clock and the monotonic one agree on what has passed, the machine did not
// sleep.
func (s *stamp) age(now time.Time) time.Duration {
	mono, wall := now.Sub(s.at), time.Duration(now.UnixNano()-s.wall)
	if !drifted(mono, wall) {
		return mono
	}
	_, most := asleep()
	return mono + slept(s.asleep, most)
}

// drifted reports whether two clocks that were read twice, at the same moments,
// disagree on how much time lay between.
func drifted(mono, wall time.Duration) bool {
	drift := wall - mono
	return drift < -driftTolerance || drift > driftTolerance
}

// slept is by how much sleep grew between two readings.
func slept(before, now time.Duration) time.Duration { return max(0, now-before) }
