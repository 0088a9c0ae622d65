package formulas

import (
	"math/rand/v2"
	"time"
)

func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d*9/10) }
