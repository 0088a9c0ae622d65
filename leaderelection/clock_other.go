//go:build !linux

package leaderelection

import "time"

// asleep is not known here: time asleep is not counted.
func asleep() (least, most time.Duration) { return 0, 0 }
