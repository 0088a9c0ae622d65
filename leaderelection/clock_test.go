package leaderelection

import (
	"testing"
	"time"
)

func TestDrifted_OnlyWhenTheWallClockLeavesTheMonotonicOne(t *testing.T) {
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
	// A stamp taken 5 s ago, before the machine slept for a minute: the wall
	// clock moved by 65 s, the monotonic one by 5 s.
	s := stamp{at: now.Add(-5 * time.Second), wall: now.Add(-65 * time.Second).UnixNano(), asleep: sleptBefore(t) - time.Minute}
	if age := s.age(now); age < 64*time.Second || age > 66*time.Second {
		t.Errorf("age = %v, want 65 s: sleep counts", age)
	}
	if (&trust{sent: s, window: 12 * time.Second}).remaining(now) > 0 {
		t.Error("trust survived a sleep that was longer than its window")
	}
}

func TestStamp_IgnoresAWallClockThatWasSet(t *testing.T) {
	now := time.Now()
	for _, jump := range []time.Duration{-time.Hour, time.Hour} {
		s := stamp{at: now.Add(-5 * time.Second), wall: now.Add(-5*time.Second - jump).UnixNano(), asleep: sleptBefore(t)}
		if age := s.age(now); age < 5*time.Second || age > 6*time.Second {
			t.Errorf("age = %v after the wall clock was set by %v, want 5 s", age, jump)
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
	sent := stamp{at: now, wall: now.UnixNano()}
	tr := &trust{sent: sent, window: 12 * time.Second}
	if left := tr.remaining(now.Add(12*time.Second - 1)); left != 1 {
		t.Errorf("remaining = %v one nanosecond before the end", left)
	}
	if left := tr.remaining(now.Add(12 * time.Second)); left > 0 {
		t.Errorf("remaining = %v at the end, want none", left)
	}
	if left := (&trust{window: forever}).remaining(now.Add(1000 * time.Hour)); left != forever {
		t.Errorf("remaining = %v without a Lease, want for ever", left)
	}
}

// A process that was frozen answers rightly when it wakes, before any of its timers
// has fired: here there are none.
func TestElector_IsLeaderLooksAtTheClock(t *testing.T) {
	e := &Elector{work: &work{term: Term{Token: 7}}}
	sent := func(ago time.Duration) stamp {
		s := stampNow()
		s.at = s.at.Add(-ago)
		s.wall = s.at.UnixNano()
		return s
	}
	e.trust.Store(&trust{sent: sent(11 * time.Second), window: 12 * time.Second})
	if _, leads := e.Term(); !e.IsLeader() || e.ValidFor() <= 0 || !leads {
		t.Errorf("within the window: IsLeader = %t, ValidFor = %v, Term says %t", e.IsLeader(), e.ValidFor(), leads)
	}
	e.trust.Store(&trust{sent: sent(13 * time.Second), window: 12 * time.Second})
	if _, leads := e.Term(); e.IsLeader() || e.ValidFor() != 0 || leads {
		t.Errorf("after the window: IsLeader = %t, ValidFor = %v, Term says %t", e.IsLeader(), e.ValidFor(), leads)
	}
}

func sleptBefore(t *testing.T) time.Duration {
	least, most := asleep()
	if least > most {
		t.Fatalf("the machine has slept at least %v and at most %v", least, most)
	}
	return least
}
