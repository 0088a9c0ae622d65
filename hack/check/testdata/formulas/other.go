package formulas

import (
	"math/rand/v2"
	"time"
)

const pause = 2 * time.Second / 3

func f(d time.Duration, seconds int32) {
	_ = rand.N(d)                            // want: rand.N belongs in timing.go
	_ = d / 4                                // want: the formula d / 4
	_ = d / 10 * 9                           // want: the formula d / 10 * 9
	_ = max(d, (3 * d))                      // want: the formula 3 * d
	_ = time.Duration(seconds) * time.Second // a conversion of units is permitted
	_ = int32(d / time.Second)               // a conversion of units is permitted
	_ = min(d, pause, 5*time.Second) + jitter(d)
}
