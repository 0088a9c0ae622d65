package leaderelection

import (
	"testing"
	"time"
)

// Of hundreds who draw, few have entered themselves by the time that a late watch
// tells of the first; and nobody meets the leader's next renewal.
func TestLeisure_LetsFewOfHundredsGoFirst(t *testing.T) {
	const crowd, late = 500, 120 * time.Millisecond
	c := Config{RetryPeriod: DefaultRetryPeriod}
	pause := func(i int) time.Duration { return c.leisure((float64(i) + 0.5) / crowd) }
	first, together := pause(0), 0
	for i := range crowd {
		if pause(i) < first+late {
			together++
		}
	}
	if together > 10 {
		t.Errorf("%d of %d enter themselves within %v", together, crowd, late)
	}
	if last := c.leisure(1); last > c.RetryPeriod*6/10 {
		t.Errorf("somebody waits for %v of %v", last, c.RetryPeriod)
	}
}
