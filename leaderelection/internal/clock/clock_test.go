package clock

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestDrifted_OnlyWhenTheWallClockLeavesTheMonotonicClock(t *testing.T) {
	for _, tt := range []struct {
		name       string
		mono, wall time.Duration
		want       bool
	}{
		{"clocks agree", 10 * time.Second, 10 * time.Second, false},
		{"slewed by NTP", 10 * time.Second, 10*time.Second + 5*time.Millisecond, false},
		{"slept a minute", time.Second, 61 * time.Second, true},
		{"set back an hour", time.Second, time.Second - time.Hour, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := drifted(tt.mono, tt.wall); got != tt.want {
				t.Errorf("drifted(%v, %v) = %v, want %v", tt.mono, tt.wall, got, tt.want)
			}
		})
	}
}

func TestStamp_CountsSleepWhenTheClocksDisagree(t *testing.T) {
	now := time.Now()
	// The stamp was taken before the machine slept for 60 s. After the stamp, the wall
	// clock has advanced by 65 s, and the monotonic clock by 5 s.
	s := Stamp{at: now.Add(-5 * time.Second), wall: now.Add(-65 * time.Second).UnixNano(), asleep: sleptBefore(t) - time.Minute}
	if age := s.Age(now); age < 64*time.Second || age > 66*time.Second {
		t.Errorf("Age = %v, want 65 s: time asleep counts", age)
	}
	if (&Trust{Sent: s, Window: 12 * time.Second}).Remaining(now) > 0 {
		t.Error("trust survived a sleep that was longer than its window")
	}
}

func TestStamp_IgnoresAWallClockThatWasSet(t *testing.T) {
	now := time.Now()
	for _, jump := range []time.Duration{-time.Hour, time.Hour} {
		s := Stamp{at: now.Add(-5 * time.Second), wall: now.Add(-5*time.Second - jump).UnixNano(), asleep: sleptBefore(t)}
		if age := s.Age(now); age < 5*time.Second || age > 6*time.Second {
			t.Errorf("Age = %v after the wall clock was set by %v, want 5 s", age, jump)
		}
	}
}

func TestSlept_NeverRunsBackwards(t *testing.T) {
	if got := slept(time.Minute, time.Second); got != 0 {
		t.Errorf("slept = %v, want 0", got)
	}
}

func TestTrust_EndsExactlyWithItsWindow(t *testing.T) {
	now := time.Now()
	sent := Stamp{at: now, wall: now.UnixNano()}
	trust := &Trust{Sent: sent, Window: 12 * time.Second}
	if left := trust.Remaining(now.Add(12*time.Second - 1)); left != 1 {
		t.Errorf("Remaining = %v one nanosecond before the end", left)
	}
	if left := trust.Remaining(now.Add(12 * time.Second)); left > 0 {
		t.Errorf("Remaining = %v at the end, want none", left)
	}
	if left := (&Trust{Window: Forever}).Remaining(now.Add(1000 * time.Hour)); left != Forever {
		t.Errorf("Remaining = %v without a Lease, want Forever", left)
	}
}

// Regression test for this bug: with -race, the race detector sometimes crashed the
// program when several renewals were due at the same fake time.
func TestSleep_CreatesNoTimerForATimeThatIsPast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				for range 20000 {
					if err := Sleep(t.Context(), nil, 0); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
	})
}

func sleptBefore(t *testing.T) time.Duration {
	least, most := asleep()
	if least > most {
		t.Fatalf("the machine has slept at least %v and at most %v", least, most)
	}
	return least
}
