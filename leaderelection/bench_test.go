package leaderelection

import (
	"testing"
	"time"
)

// BenchmarkElector_IsLeader shows what a hot path pays to ask. Nearly all of it is
// time.Now, which reads two clocks: the monotonic one alone would not know of a
// sleep. Benchmark_TimeNow is what that costs on the machine at hand.
//
//	go test -run '^$' -bench 'IsLeader|TimeNow' ./leaderelection
func BenchmarkElector_IsLeader(b *testing.B) {
	e := &Elector{}
	e.trust.Store(&trust{sent: stampNow(), window: time.Hour})
	b.ReportAllocs()
	for b.Loop() {
		if !e.IsLeader() {
			b.Fatal("an hour of trust has run out")
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
	e.trust.Store(&trust{sent: stampNow(), window: time.Hour})
	if n := testing.AllocsPerRun(100, func() { _ = e.IsLeader() }); n != 0 {
		t.Errorf("IsLeader allocates %v times, want 0", n)
	}
}
