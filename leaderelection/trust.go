package leaderelection

import (
	"math"
	"time"
)

// forever is the window of a leader that needs no Lease, and what ValidFor
// answers then.
const forever = time.Duration(math.MaxInt64)

// A trust says from when and for how long leadership is certain. It is never
// changed, only replaced, so that IsLeader can read it without a lock.
type trust struct {
	sent   stamp         // before the write was sent that it rests on
	window time.Duration // W; forever without a Lease
}

// remaining is how long trust lasts from now; zero or less when it is over.
//
//	trustedUntil = sent + W
//
// It counts from before the request was sent, never from its reply.
func (t *trust) remaining(now time.Time) time.Duration {
	if t.window == forever {
		return forever
	}
	return t.window - t.sent.age(now)
}
