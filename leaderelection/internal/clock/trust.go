package clock

import (
	"math"
	"time"
)

// Forever is the window of a leader that needs no Lease.
const Forever = time.Duration(math.MaxInt64)

// A Trust is the time for which leadership is certain. It is immutable: a renewal
// replaces it, so that IsLeader can read it without a lock.
type Trust struct {
	Sent   Stamp         // before the write was sent that the trust is based on
	Window time.Duration // W; Forever without a Lease
}

// Remaining returns how long trust lasts from now. It is zero or negative when trust
// is over.
//
//	trustedUntil = sent + W
//
// Trust counts from before the request was sent, never from its reply.
func (t *Trust) Remaining(now time.Time) time.Duration {
	if t.Window == Forever {
		return Forever
	}
	return t.Window - t.Sent.Age(now)
}
