package manager

import (
	"testing"
	"time"
)

func TestRestartBackoff_DoublesTheDelayUpToAMinuteUntilRecovery(t *testing.T) {
	now := time.Unix(1e9, 0)
	var b restartBackoff
	if d := b.delay(now); d != 0 {
		t.Errorf("before any failure: %v", d)
	}
	// fail simulates a group that runs for the duration uptime and then fails n times.
	// It returns the delay before the next start.
	fail := func(uptime time.Duration, n int) time.Duration {
		b.started(now)
		now = now.Add(uptime)
		for range n {
			b.failed(now)
		}
		return b.delay(now)
	}
	for i, want := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
		if d := fail(time.Second, i+1); int(d.Seconds()) != want { // several failures after one start count as one failure
			t.Errorf("after failure %d: %v, want %d s", i+1, d, want)
		}
	}
	if d := b.delay(now.Add(20 * time.Second)); d != 40*time.Second {
		t.Errorf("20 s later: %v, want 40s", d)
	}
	if d := b.delay(now.Add(time.Hour)); d != 0 {
		t.Errorf("an hour later: %v, want 0", d)
	}
	if d := fail(lastDelay, 1); d != firstDelay {
		t.Errorf("after a minute without a failure: %v, want %v", d, firstDelay)
	}
}
