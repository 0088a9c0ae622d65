package leaderelection

import (
	"time"

	"golang.org/x/sys/unix"
)

// asleep is how long the machine has slept since it was booted: Go's monotonic
// clock stands still in sleep, the boot-time clock does not. If the thread is
// put aside between the two readings, that time counts as sleep: milliseconds,
// against a margin of seconds.
func asleep() time.Duration {
	var mono, boot unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil {
		return 0
	}
	return time.Duration(boot.Nano() - mono.Nano())
}
