//go:build !linux

package clock

import "time"

// asleep returns zero, because this operating system is not supported.
func asleep() (least, most time.Duration) { return 0, 0 }
