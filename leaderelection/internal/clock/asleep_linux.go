package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// asleep returns how long the machine has slept since boot: the boot-time clock minus
// the monotonic clock. While the machine sleeps, only the boot-time clock advances. The
// two clocks cannot be read at the same instant. Therefore the results are a lower
// bound, least, and an upper bound, most.
func asleep() (least, most time.Duration) {
	var before, mono, after unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &before) != nil ||
		unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) != nil ||
		unix.ClockGettime(unix.CLOCK_BOOTTIME, &after) != nil {
		return 0, 0
	}
	return time.Duration(before.Nano() - mono.Nano()), time.Duration(after.Nano() - mono.Nano())
}
