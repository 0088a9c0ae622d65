package lease

import (
	"testing"
	"time"
)

// client-go compares whole seconds. If the renewTime stays in the same second, the
// Lease of a live leader looks expired to client-go.
func TestNextRenewTime_ReachesALaterSecondAfterOneSecond(t *testing.T) {
	start := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name string
		wall func(elapsed time.Duration) time.Duration // the time of the wall clock minus start
	}{
		{"right", func(e time.Duration) time.Duration { return e }},
		{"stopped", func(time.Duration) time.Duration { return 0 }},
		{"set back an hour", func(e time.Duration) time.Duration {
			if e > 10*time.Second {
				return e - time.Hour
			}
			return e
		}},
		{"set back at every renewal", func(e time.Duration) time.Duration { return -e }},
		{"set forward and back", func(e time.Duration) time.Duration {
			if e/time.Second%4 < 2 {
				return e + time.Hour
			}
			return e
		}},
		{"slow", func(e time.Duration) time.Duration { return e / 1000 }},
		{"before 1970", func(e time.Duration) time.Duration { return e/2 - 100*365*24*time.Hour }},
	} {
		for _, period := range []time.Duration{100 * time.Millisecond, time.Second, 2 * time.Second, 26 * time.Second} {
			t.Run(tt.name+" "+period.String(), func(t *testing.T) {
				last := start.UnixMicro()
				seen, changedAt := last/1e6, time.Duration(0)
				for elapsed := period; elapsed < 10*time.Minute; elapsed += period {
					next := NextRenewTime(last, period, start.Add(tt.wall(elapsed)))
					if next <= last {
						t.Fatalf("after %v: renewTime %d follows %d", elapsed, next, last)
					}
					if next/1e6 != seen {
						seen, changedAt = next/1e6, elapsed
					}
					if unseen := elapsed - changedAt; unseen > time.Second {
						t.Fatalf("after %v: client-go has seen no renewal for %v", elapsed, unseen)
					}
					last = next
				}
			})
		}
	}
}

func TestNextRenewTime_ReturnsToTheWallClock(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	last := now.Add(300 * time.Millisecond).UnixMicro() // the clock was set back by 300 ms
	next := NextRenewTime(last, 2*time.Second, now.Add(2*time.Second))
	if want := now.Add(2 * time.Second).UnixMicro(); next != want {
		t.Errorf("NextRenewTime = %d, want %d", next, want)
	}
}

// A machine without a battery for its clock starts in 1970. The first renewTime must not
// lie centuries ahead, because later renewTimes never return to the wall clock.
func TestNextRenewTime_TheFirstOneOfAClockThatIsNotSetIsNotAhead(t *testing.T) {
	for _, now := range []time.Time{time.Unix(0, 0), time.Unix(0, 5e8), time.Unix(-3600, 0), time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)} {
		first := NextRenewTime(0, now.Sub(time.Time{}), now)
		if first <= 0 || first > time.Second.Microseconds() {
			t.Errorf("at %v: NextRenewTime = %v, want a time in the first second of 1970", now, time.UnixMicro(first).UTC())
		}
	}
}
