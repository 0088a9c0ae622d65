package leaderelection

import (
	"testing"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/clock"
)

// BenchmarkElector_IsLeader measures one call of IsLeader. Nearly all of the time is
// spent in time.Now. Benchmark_TimeNow measures time.Now alone.
//
//	go test -run '^$' -bench 'IsLeader|TimeNow' ./leaderelection
func BenchmarkElector_IsLeader(b *testing.B) {
	e := &Elector{}
	e.trust.Store(&clock.Trust{Sent: clock.Now(), Window: time.Hour})
	b.ReportAllocs()
	for b.Loop() {
		if !e.IsLeader() {
			b.Fatal("an hour of trust has ended")
		}
	}
}

func Benchmark_TimeNow(b *testing.B) {
	var now time.Time
	for b.Loop() {
		now = time.Now()
	}
	_ = now
}

func TestElector_IsLeaderAllocatesNothing(t *testing.T) {
	e := &Elector{}
	e.trust.Store(&clock.Trust{Sent: clock.Now(), Window: time.Hour})
	if n := testing.AllocsPerRun(100, func() { _ = e.IsLeader() }); n != 0 {
		t.Errorf("IsLeader allocates %v times, want 0", n)
	}
}
