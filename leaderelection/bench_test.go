package leaderelection

import (
	"testing"
	"time"
)

// BenchmarkElector_IsLeader shows what a hot path pays to ask.
//
//	go test -run '^$' -bench IsLeader ./leaderelection
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

func TestElector_IsLeaderAllocatesNothing(t *testing.T) {
	e := &Elector{}
	e.trust.Store(&trust{sent: stampNow(), window: time.Hour})
	if n := testing.AllocsPerRun(100, func() { _ = e.IsLeader() }); n != 0 {
		t.Errorf("IsLeader allocates %v times, want 0", n)
	}
}
