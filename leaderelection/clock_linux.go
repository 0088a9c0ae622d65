package leaderelection

import (
	"time"

	"golang.org/x/sys/unix"
)

// asleep is how long the machine has slept since it was booted: Go's monotonic
// clock stands still in sleep, the boot-time clock does not. The thread may be
// put aside between two readings, so the truth lies between least and most: who
// counts from the one to the other never counts too little.
func asleep() (least, most time.Duration) {
	var before, mono, after unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &before) != nil ||
		unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) != nil ||
		unix.ClockGettime(unix.CLOCK_BOOTTIME, &after) != nil {
		return 0, 0
	}
	return time.Duration(before.Nano() - mono.Nano()), time.Duration(after.Nano() - mono.Nano())
}
