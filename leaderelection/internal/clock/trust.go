package clock

import (
	"math"
	"time"
)

// Forever is the trust window of a leader that needs no Lease.
const Forever = time.Duration(math.MaxInt64)

// A Trust defines until when leadership is certain. A Trust is immutable. A renewal
// creates a new Trust. Therefore IsLeader can read a Trust without a lock.
type Trust struct {
	Sent   Stamp         // taken just before the last confirmed write was sent
	Window time.Duration // the trust window W; Forever without a Lease
}

// Remaining returns how long trust lasts, counted from now. The result is zero or
// negative if trust has ended.
//
//	trustedUntil = sent + W
//
// Trust starts just before the request is sent, not when the reply arrives.
func (t *Trust) Remaining(now time.Time) time.Duration {
	if t.Window == Forever {
		return Forever
	}
	return t.Window - t.Sent.Age(now)
}
