package clock

import (
	"sync/atomic"
	"time"
)

// heartbeatEpoch is the moment from which deadlines count, on the monotonic clock.
var heartbeatEpoch = time.Now()

// A Heartbeat is the deadline of a loop: the time by which the loop expects to start
// its next round. The zero Heartbeat has no deadline.
type Heartbeat struct {
	deadline atomic.Int64 // nanoseconds after heartbeatEpoch; 0: none
}

// Within sets the deadline to d from now. Forever clears it.
func (h *Heartbeat) Within(d time.Duration) {
	if d == Forever {
		h.Clear()
		return
	}
	h.deadline.Store(int64(time.Since(heartbeatEpoch) + max(0, d)))
}

// Clear removes the deadline: the loop waits for an event without a limit, or it does
// not run.
func (h *Heartbeat) Clear() { h.deadline.Store(0) }

// Overdue returns how long ago the deadline passed. It is zero or negative while the
// loop is on time.
func (h *Heartbeat) Overdue() time.Duration {
	deadline := h.deadline.Load()
	if deadline == 0 {
		return 0
	}
	return time.Since(heartbeatEpoch) - time.Duration(deadline)
}
