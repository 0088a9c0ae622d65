package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// asleep returns how long the machine has slept since boot. Go's monotonic clock
// stops in sleep, and the boot-time clock does not. The thread may be descheduled
// between two readings, so the true value lies between least and most. A caller that
// counts from least to most never counts too little.
func asleep() (least, most time.Duration) {
	var before, mono, after unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &before) != nil ||
		unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) != nil ||
		unix.ClockGettime(unix.CLOCK_BOOTTIME, &after) != nil {
		return 0, 0
	}
	return time.Duration(before.Nano() - mono.Nano()), time.Duration(after.Nano() - mono.Nano())
}
