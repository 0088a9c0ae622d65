package manager_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache/informertest"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/haproxy-template-ic/incumbent/manager"
)

// The tests in this file correspond to the tests that controller-runtime has for its
// own Manager.

func TestExpectations_ARunnableAddedToALeaderStartsAtOnce(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		p := m.leader("a", forEver, newWorker(0))
		w, everywhere := newWorker(0), newWorker(0)
		everywhere.follows = true
		for _, late := range []*worker{w, everywhere} {
			if err := p.Add(late); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if !closed(w.started) || !closed(everywhere.started) {
			t.Errorf("started: %v and %v", closed(w.started), closed(everywhere.started))
		}
	})
}

func TestExpectations_NothingCanBeAddedOnceItStops(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		p := m.leader("a", forEver, newWorker(time.Second))
		p.cancel()
		synctest.Wait()
		if err := p.Add(newWorker(0)); err == nil {
			t.Error("a Runnable could be added")
		}
		<-p.done
	})
}

func TestExpectations_ACancellationErrorOfARunnableIsIgnored(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		p := m.leader("a", forEver, crmanager.RunnableFunc(func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}))
		if err := p.stop(); err != nil {
			t.Errorf("Start returned %v", err)
		}
		p.logs.wantNoErrors(t)
	})
}

func TestExpectations_AWarmupThatFailsStopsTheManager(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		failure := errors.New("too cold")
		p := m.make("a", incumbent())
		if err := p.Add(coldRunnable{newWorker(0), failure}); err != nil {
			t.Fatal(err)
		}
		start(t, p)
		<-p.done
		if !errors.Is(p.err, failure) || m.holder() != "" {
			t.Errorf("Start returned %v with the Lease held by %q", p.err, m.holder())
		}
	})
}

type coldRunnable struct {
	crmanager.Runnable
	failure error
}

func (r coldRunnable) Warmup(context.Context) error { return r.failure }

func TestExpectations_BaseContextDerivesFromTheUsers(t *testing.T) {
	type key struct{}
	runInMemory(t, func(t *testing.T, m memory) {
		p := m.make("a", incumbent(), func(o *crmanager.Options) {
			o.BaseContext = func() context.Context { return context.WithValue(context.Background(), key{}, "mine") }
		})
		w := newWorker(0)
		if err := p.Add(w); err != nil {
			t.Fatal(err)
		}
		start(t, p)
		<-w.started
		if value := w.ctx.Value(key{}); value != "mine" {
			t.Errorf("the value is %v", value)
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestExpectations_AnAddressInUseIsAnErrorOfNew(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	opts := managerOptions("default", &logs{})
	opts.HealthProbeBindAddress = taken.Addr().String()
	if mgr, err := manager.New(&rest.Config{Host: "https://cluster.invalid"}, opts); err == nil || mgr != nil {
		t.Errorf("New returned %v and %v, want only an error", mgr, err)
	}
}

// A neighbour is a Runnable that has its own caches, such as a cluster.Cluster for
// access to a second cluster.
type neighbour struct {
	*worker
	caches cache.Cache
}

func (n neighbour) GetCache() cache.Cache { return n.caches }

func TestExpectations_ClustersStartBeforeAnythingThatLeads(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		p := m.make("a", incumbent())
		synced := make(chan struct{})
		n, w := neighbour{newWorker(0), &slowCaches{FakeInformers: &informertest.FakeInformers{}, synced: synced}}, newWorker(0)
		for _, r := range []crmanager.Runnable{w, n} {
			if err := p.Add(r); err != nil {
				t.Fatal(err)
			}
		}
		start(t, p)
		<-n.started
		synctest.Wait()
		if closed(p.Elected()) || m.Count("", "") > 0 {
			t.Fatalf("elected: %v, after %d requests, before the cluster's caches have synced", closed(p.Elected()), m.Count("", ""))
		}
		close(synced)
		<-w.started
		if err := p.stop(); err != nil {
			t.Error(err)
		}
		if !closed(n.returned) {
			t.Error("the cluster's Runnable still runs")
		}
	})
}

// slowCaches are caches that finish their synchronization when synced is
// closed.
type slowCaches struct {
	*informertest.FakeInformers
	synced <-chan struct{}
}

func (c *slowCaches) WaitForCacheSync(ctx context.Context) bool {
	select {
	case <-c.synced:
		return true
	case <-ctx.Done():
		return false
	}
}

func TestExpectations_ACacheThatCannotStartStopsTheManager(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		failure := errors.New("no cache")
		p := m.make("a", incumbent(), func(o *crmanager.Options) {
			o.NewCache = func(*rest.Config, cache.Options) (cache.Cache, error) {
				return &informertest.FakeInformers{Error: failure}, nil
			}
		})
		start(t, p)
		<-p.done
		if !errors.Is(p.err, failure) {
			t.Errorf("Start returned %v, want the cache's error", p.err)
		}
		if holder := m.holder(); holder != "" {
			t.Errorf("the Lease is held by %q", holder)
		}
	})
}

func TestExpectations_AContextThatIsDoneStartsNothing(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		p, w := m.make("a", incumbent()), newWorker(0)
		if err := p.Add(w); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.Start(ctx); err != nil || closed(w.started) || m.holder() != "" {
			t.Errorf("Start returned %v; work started: %v; the Lease is held by %q", err, closed(w.started), m.holder())
		}
	})
}
