package clock

import (
	"sync/atomic"
	"time"
)

// heartbeatEpoch is the zero point of all deadlines.
var heartbeatEpoch = time.Now()

// A Heartbeat is the deadline by which a loop must start its next iteration. The zero
// Heartbeat has no deadline.
type Heartbeat struct {
	deadline atomic.Int64 // nanoseconds after heartbeatEpoch; 0 means no deadline
}

// Within sets the deadline to d from now. If d is Forever, Within removes the deadline.
func (h *Heartbeat) Within(d time.Duration) {
	if d == Forever {
		h.Clear()
		return
	}
	h.deadline.Store(int64(time.Since(heartbeatEpoch) + max(0, d)))
}

// Clear removes the deadline. Call Clear when the loop stops, or when the loop waits
// for an event without a time limit.
func (h *Heartbeat) Clear() { h.deadline.Store(0) }

// Overdue returns the time since the deadline passed. The result is zero if there is no
// deadline. The result is negative if the deadline has not passed.
func (h *Heartbeat) Overdue() time.Duration {
	deadline := h.deadline.Load()
	if deadline == 0 {
		return 0
	}
	return time.Since(heartbeatEpoch) - time.Duration(deadline)
}
