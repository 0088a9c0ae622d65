package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// asleep returns how long the machine has slept since boot. It is the difference
// between the boot-time clock, which continues during sleep, and Go's monotonic clock,
// which stops. The two clocks are not read at the same instant. Therefore asleep
// returns a lower bound, least, and an upper bound, most.
func asleep() (least, most time.Duration) {
	var before, mono, after unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &before) != nil ||
		unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) != nil ||
		unix.ClockGettime(unix.CLOCK_BOOTTIME, &after) != nil {
		return 0, 0
	}
	return time.Duration(before.Nano() - mono.Nano()), time.Duration(after.Nano() - mono.Nano())
}
