package sharding

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A referee checks every shard: at most one process works on it, and tokens only grow.
type referee struct {
	mu       sync.Mutex
	begin    time.Time
	working  map[int]string
	tokens   map[int]leaderelection.Token
	unserved map[int]time.Time // since when nobody works on a shard
	longest  time.Duration     // the longest time for which nobody worked on a shard
	gains    int
	gainsOf  map[int]int
	broken   []string
	trace    []string
	crashed  map[string]bool
}

func newReferee() *referee {
	return &referee{begin: time.Now(), working: map[int]string{}, tokens: map[int]leaderelection.Token{}, unserved: map[int]time.Time{}, crashed: map[string]bool{}, gainsOf: map[int]int{}}
}

func (r *referee) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.noteLocked(format, args...)
}

func (r *referee) noteLocked(format string, args ...any) {
	r.trace = append(r.trace, fmt.Sprintf("%9.3f ", time.Since(r.begin).Seconds())+fmt.Sprintf(format, args...))
}

func (r *referee) started(who string, h Hold) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.crashed[who] {
		return
	}
	r.noteLocked("%s works on %d, token %d", who, h.Shard, h.Token)
	r.gains++
	r.gainsOf[h.Shard]++
	if other, busy := r.working[h.Shard]; busy {
		r.broken = append(r.broken, fmt.Sprintf("%s works on shard %d while %s works on it", who, h.Shard, other))
	}
	if h.Token <= r.tokens[h.Shard] {
		r.broken = append(r.broken, fmt.Sprintf("%s works on shard %d with token %d, but token %d was used", who, h.Shard, h.Token, r.tokens[h.Shard]))
	}
	if since, known := r.unserved[h.Shard]; known {
		r.longest = max(r.longest, time.Since(since))
		delete(r.unserved, h.Shard)
	}
	r.working[h.Shard], r.tokens[h.Shard] = who, h.Token
}

func (r *referee) stopped(who string, shard int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.working[shard] == who {
		r.noteLocked("%s stopped on %d", who, shard)
		delete(r.working, shard)
		r.unserved[shard] = time.Now()
	}
}

func (r *referee) crash(who string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.noteLocked("%s crashes", who)
	r.crashed[who] = true
	for shard, w := range r.working {
		if w == who {
			delete(r.working, shard)
			r.unserved[shard] = time.Now()
		}
	}
}

func (r *referee) report(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.broken) > 0 {
		t.Errorf("%d violations, the first: %s", len(r.broken), r.broken[0])
	}
}

// A process is one member in a test.
type process struct {
	name   string
	group  *Group
	client *leaderelectiontest.Client
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

func (p *process) stop(t *testing.T) {
	t.Helper()
	p.cancel()
	<-p.done
	if p.err != nil {
		t.Errorf("Run of %s returned %v", p.name, p.err)
	}
}

// startProcess starts a member. Its work on each shard takes the given time to stop.
func startProcess(t *testing.T, server *leaderelectiontest.Server, r *referee, name string, config Config, stopTime func() time.Duration) *process {
	t.Helper()
	p := &process{name: name, client: server.Client(name), done: make(chan struct{})}
	config.Name, config.Namespace, config.Identity = "app", "default", name
	var err error
	p.group, err = New(&config, p.client.Clientset(), Callbacks{
		OnGained: func(ctx context.Context, h Hold) {
			if got, ok := HoldFromContext(ctx); !ok || got != h {
				t.Errorf("HoldFromContext = %v, %t", got, ok)
			}
			r.started(name, h)
			<-ctx.Done()
			time.Sleep(stopTime())
			r.stopped(name, h.Shard)
		},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(p.done)
		p.err = p.group.Run(ctx)
	}()
	return p
}

func at0() time.Duration { return 0 }

// spread returns how many shards each process owns.
func spread(all ...*process) (counts []int) {
	for _, p := range all {
		counts = append(counts, len(p.group.State().Owned))
	}
	return counts
}

func TestGroup_SpreadsMovesAndHandsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		r := newReferee()
		config := Config{Shards: 100}
		a := startProcess(t, server, r, "a", config, at0)
		time.Sleep(2 * time.Second)
		if got := spread(a); got[0] != 100 {
			t.Fatalf("a owns %d shards after 2s, want 100: %+v", got[0], a.group.State())
		}
		b, c := startProcess(t, server, r, "b", config, at0), startProcess(t, server, r, "c", config, at0)
		time.Sleep(5 * time.Second)
		got := spread(a, b, c)
		if slices.Sort(got); !slices.Equal(got, []int{33, 33, 34}) {
			t.Fatalf("spread %v after 5s, want 33, 33 and 34", got)
		}
		r.mu.Lock()
		gains := r.gains
		r.mu.Unlock()
		if gains != 166 {
			t.Errorf("%d gains, want 166: 100 grants and 66 moves", gains)
		}
		a.stop(t) // the coordinator leaves
		time.Sleep(5 * time.Second)
		got = spread(b, c)
		if !slices.Equal(got, []int{50, 50}) {
			t.Fatalf("spread %v, want 50 and 50", got)
		}
		r.mu.Lock()
		longest := r.longest
		r.mu.Unlock()
		if longest > 200*time.Millisecond {
			t.Errorf("a shard was unserved for %v, want at most 200ms without a fault", longest)
		}
		r.crash("b")
		b.client.Network().Cut(leaderelectiontest.Hang)
		b.cancel()
		time.Sleep(15500 * time.Millisecond)
		if got := spread(c); got[0] != 100 {
			t.Errorf("c owns %d shards 15.5s after b crashed, want 100", got[0])
		}
		b.client.Network().Heal()
		<-b.done
		c.stop(t)
		r.report(t)
	})
}

func TestEnter_HoldsTheShardUntilTheWorkLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		r := newReferee()
		config := Config{Names: []string{"red", "blue"}, DrainTimeout: 10 * time.Second}
		a := startProcess(t, server, r, "a", config, at0)
		time.Sleep(2 * time.Second)
		if !a.group.Owns("red") || !a.group.Owns("blue") || a.group.Owns("green") || a.group.Shard("green") != -1 {
			t.Fatalf("Owns: red %t, blue %t, green %t", a.group.Owns("red"), a.group.Owns("blue"), a.group.Owns("green"))
		}
		type key struct{}
		parent, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
		defer cancel()
		var leaves []func()
		var works []context.Context
		for _, name := range config.Names {
			for _, ctx := range []context.Context{parent, context.WithoutCancel(parent)} {
				work, leave, ok := a.group.Enter(ctx, name)
				if hold, found := HoldFromContext(work); !ok || !found || hold.Name != name || work.Value(key{}) != "value" {
					t.Fatalf("Enter(%s): %t, hold %+v", name, ok, hold)
				}
				works, leaves = append(works, work), append(leaves, leave)
			}
		}
		b := startProcess(t, server, r, "b", config, at0)
		time.Sleep(5 * time.Second)
		if n := len(b.group.State().Owned); n != 0 {
			t.Fatalf("b owns %d shards while a works on them", n)
		}
		if s := a.group.State(); len(s.Draining) != 1 || len(s.Owned) != 1 {
			t.Fatalf("%+v, want that one shard drains", s)
		}
		time.Sleep(10 * time.Second)
		ended := 0
		for _, work := range works {
			if work.Err() != nil {
				ended++
			}
		}
		if ended != 2 {
			t.Errorf("%d contexts are done after DrainTimeout, want the 2 of the shard that moves", ended)
		}
		leaves[0]() // a second call has no effect
		for _, leave := range leaves {
			leave()
		}
		time.Sleep(time.Second)
		if got := spread(a, b); !slices.Equal(got, []int{1, 1}) {
			t.Errorf("spread %v, want 1 and 1", got)
		}
		b.stop(t)
		a.stop(t)
		r.report(t)
	})
}

func TestGroup_ADeletedSlabWaitsForTheWorkOfItsOwners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		r := newReferee()
		config := Config{Shards: 10}
		var slow atomic.Int64 // longer than LeaseDuration, while the members' Leases are renewed
		slow.Store(int64(40 * time.Second))
		a := startProcess(t, server, r, "a", config, func() time.Duration { return time.Duration(slow.Load()) })
		b := startProcess(t, server, r, "b", config, at0)
		time.Sleep(5 * time.Second)
		if err := server.Delete("default", slabName("app", 0)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		if got := spread(a, b); !slices.Equal(got, []int{0, 0}) {
			t.Errorf("spread %v while work on the deleted slab runs, want no owners", got)
		}
		time.Sleep(12 * time.Second)
		if got := spread(a, b); !slices.Equal(got, []int{5, 5}) {
			t.Errorf("spread %v after the work has returned, want 5 and 5", got)
		}
		slow.Store(0)
		b.stop(t)
		a.stop(t)
		r.report(t)
	})
}

func TestGroup_TheNumberOfShardsOfTheTableCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		r := newReferee()
		a := startProcess(t, server, r, "a", Config{Shards: 10}, at0)
		time.Sleep(2 * time.Second)
		b := startProcess(t, server, r, "b", Config{Shards: 200}, at0)
		c := startProcess(t, server, r, "c", Config{Names: []string{"red"}}, at0)
		time.Sleep(5 * time.Second)
		if got := spread(a, b, c); !slices.Equal(got, []int{5, 5, 0}) || b.group.Shards() != 10 {
			t.Errorf("spread %v, and b uses %d shards, want 5, 5, 0 and 10", got, b.group.Shards())
		}
		a.stop(t)
		time.Sleep(5 * time.Second)
		if got := spread(b, c); !slices.Equal(got, []int{10, 0}) {
			t.Errorf("spread %v, want 10 and 0", got)
		}
		c.stop(t)
		b.stop(t)
		r.report(t)
	})
}

func TestGroup_RollingUpdateMovesEachShardAboutOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		r := newReferee()
		var old []*process
		for i := range 4 {
			old = append(old, startProcess(t, server, r, "old-"+string(rune('a'+i)), Config{Shards: 128, Generation: 1}, at0))
		}
		time.Sleep(10 * time.Second)
		r.mu.Lock()
		gains := map[int]int{}
		for shard, n := range r.gainsOf {
			gains[shard] = n
		}
		r.mu.Unlock()
		var fresh []*process
		for i := range old {
			fresh = append(fresh, startProcess(t, server, r, "new-"+string(rune('a'+i)), Config{Shards: 128, Generation: 2}, at0))
			time.Sleep(700 * time.Millisecond)
			old[i].stop(t)
			time.Sleep(3 * time.Second)
		}
		time.Sleep(5 * time.Second)
		if got := spread(fresh...); !slices.Equal(got, []int{32, 32, 32, 32}) {
			t.Errorf("spread %v, want 32 each", got)
		}
		var moves []int
		r.mu.Lock()
		for shard, n := range r.gainsOf {
			moves = append(moves, n-gains[shard])
		}
		longest := r.longest
		r.mu.Unlock()
		slices.Sort(moves)
		t.Logf("moves of a shard: median %d, most %d", moves[64], moves[127])
		if moves[64] > 1 || moves[127] > 2 {
			t.Errorf("moves of a shard: median %d, most %d, want 1 and 2", moves[64], moves[127])
		}
		if longest > 200*time.Millisecond {
			t.Errorf("a shard was unserved for %v", longest)
		}
		for _, p := range fresh {
			p.stop(t)
		}
		r.report(t)
	})
}

func TestGroup_AnIdleGroupOnlyRenews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		r := newReferee()
		var all []*process
		for i := range 5 {
			all = append(all, startProcess(t, server, r, fmt.Sprint("pod-", i), Config{Shards: 640}, at0))
		}
		time.Sleep(time.Minute)
		before := server.Count("", "")
		time.Sleep(time.Minute)
		// Each member renews its Lease each 2 s, and the coordinator renews its Lease.
		if n := server.Count("", "") - before; n > 6*31 {
			t.Errorf("%d requests in a minute, want at most %d", n, 6*31)
		}
		for _, p := range all {
			p.stop(t)
		}
		r.report(t)
	})
}
