package sharding

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// startLoneMember returns a member that owns all 10,000 shards.
func startLoneMember(tb testing.TB) *Group {
	server := leaderelectiontest.NewServer()
	g, err := New(&Config{Name: "app", Namespace: "default", Identity: "a", Shards: 10000}, server.Client("a").Clientset(), Callbacks{}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = g.Run(ctx)
	}()
	tb.Cleanup(func() { cancel(); <-done; server.Close() })
	for state := range g.Changes(tb.Context()) {
		if len(state.Owned) == 10000 {
			return g
		}
	}
	return nil
}

func BenchmarkNow(b *testing.B) {
	for b.Loop() {
		_ = time.Now()
	}
}

func BenchmarkOwns(b *testing.B) {
	g := startLoneMember(b)
	b.ReportAllocs()
	for b.Loop() {
		if !g.Owns("namespace/name") {
			b.Fatal("not owned")
		}
	}
}

func BenchmarkEnter(b *testing.B) {
	g := startLoneMember(b)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	for name, ctx := range map[string]context.Context{"background": context.Background(), "cancellable": ctx} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, leave, ok := g.Enter(ctx, "namespace/name")
				if !ok {
					b.Fatal("not owned")
				}
				leave()
			}
		})
	}
}

func TestOwns_AllocatesNothing(t *testing.T) {
	g := startLoneMember(t)
	if n := testing.AllocsPerRun(100, func() { g.Owns("namespace/name") }); n != 0 {
		t.Errorf("Owns allocates %v times", n)
	}
}

func ExampleNew_config() {
	_, err := New(&Config{Name: "app", Namespace: "default", Identity: "pod-1", Shards: 100_001}, nil, Callbacks{}, nil)
	fmt.Println(err)
	// Output: sharding: invalid configuration: Shards (100001) must be 1 to 100000
}
