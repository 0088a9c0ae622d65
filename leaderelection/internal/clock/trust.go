package clock

import (
	"math"
	"time"
)

// Forever is the trust window of a leader that needs no Lease.
const Forever = time.Duration(math.MaxInt64)

// A Trust is the time window in which leadership is certain. A Trust is immutable,
// because IsLeader reads it without a lock. Each renewal creates a new Trust.
type Trust struct {
	Sent   Stamp         // the start of the trust window, when a request was sent
	Window time.Duration // the length W of the trust window; Forever if no Lease is used
}

// Remaining returns the time from now until trust ends. The result is zero or negative
// if trust has ended.
//
//	trustedUntil = sent + W
//
// Trust starts when the request is sent, not when the reply arrives.
func (t *Trust) Remaining(now time.Time) time.Duration {
	if t.Window == Forever {
		return Forever
	}
	return t.Window - t.Sent.Age(now)
}
