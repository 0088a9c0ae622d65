package leaderelection

import "time"

// driftTolerance is by how much the wall clock may leave the monotonic one
// before the slow boot-time clock is asked whether the machine slept. A clock
// that is slewed by NTP stays well within it for the length of a Lease.
const driftTolerance = 10 * time.Millisecond

// elapsed is how much time passed by monotonic clock and in sleep. wall is what
// passed by the wall clock in the same time: as long as both agree, the machine
// did not sleep, and slept is not called.
func elapsed(mono, wall time.Duration, slept func() time.Duration) time.Duration {
	if drift := wall - mono; drift >= -driftTolerance && drift <= driftTolerance {
		return mono
	}
	return mono + max(0, slept())
}

// A stamp is the moment at which a write was sent.
type stamp struct {
	at     time.Time     // by wall and monotonic clock
	wall   int64         // at.UnixNano(), kept for speed
	asleep time.Duration // what the machine had slept by then
}

// stampNow is read before the request is sent. The sleep is read first, so that
// a sleep between the two readings counts as time passed.
func stampNow() stamp {
	slept := asleep()
	now := time.Now()
	return stamp{at: now, wall: now.UnixNano(), asleep: slept}
}

// age is how long ago the stamp was taken, sleep included.
func (s stamp) age(now time.Time) time.Duration {
	mono, wall := now.Sub(s.at), time.Duration(now.UnixNano()-s.wall)
	return elapsed(mono, wall, s.sleptSince)
}

func (s stamp) sleptSince() time.Duration { return asleep() - s.asleep }
