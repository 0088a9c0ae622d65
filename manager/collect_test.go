package manager_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"
	crmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
	"github.com/haproxy-template-ic/incumbent/manager"
)

// awaitCollected runs the garbage collector until the wanted number of objects is
// collected.
func awaitCollected(t *testing.T, what string, collected *atomic.Int64, want int64) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); collected.Load() < want && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		runtime.GC()
	}
	if got := collected.Load(); got != want {
		t.Errorf("%s: %d were garbage collected, want %d", what, got, want)
	}
}

// A heavyRunnable is a Runnable of the size of a small cache.
type heavyRunnable struct{ data [1 << 20]byte }

func (h *heavyRunnable) Start(ctx context.Context) error {
	<-ctx.Done()
	h.data[0]++
	return nil
}

// A program can start a Manager for each of its clusters or tenants, and end it later.
// The metrics and the checks must not keep the Managers that have ended, because a
// Manager keeps its caches.
func TestObservability_KeepsNoManagerAlive(t *testing.T) {
	const many = 4
	server := leaderelectiontest.NewServer()
	t.Cleanup(server.Close)
	newManager := func(t *testing.T, lease string) crmanager.Manager {
		opts := managerOptions("collected", &logs{})
		opts.LeaderElectionID = lease
		mgr, err := manager.New(server.Client("a").Config(), opts, manager.WithoutRightsCheck())
		if err != nil {
			t.Fatal(err)
		}
		return mgr
	}
	plain := func(t *testing.T, lease string) crmanager.Manager {
		opts := managerOptions("collected", &logs{})
		opts.LeaderElection = false
		mgr, err := crmanager.New(server.Client("a").Config(), opts)
		if err != nil {
			t.Fatal(err)
		}
		config := electorConfig("a")
		config.LeaseNamespace, config.LeaseName = "collected", lease
		if _, err := manager.NewElector(mgr, config, leaderelection.Callbacks{}); err != nil {
			t.Fatal(err)
		}
		return mgr
	}
	stop := func(t *testing.T, mgr crmanager.Manager) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- mgr.Start(ctx) }()
		<-mgr.Elected()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	stepDown := func(t *testing.T, mgr crmanager.Manager) {
		done := make(chan error)
		go func() { done <- mgr.Start(t.Context()) }()
		<-mgr.Elected()
		if err := manager.ElectorOf(mgr).StepDown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, leaderelection.ErrSteppedDown) {
			t.Error(err)
		}
	}
	ways := map[string]struct {
		create func(t *testing.T, lease string) crmanager.Manager
		end    func(t *testing.T, mgr crmanager.Manager)
	}{
		"never-started": {newManager, func(*testing.T, crmanager.Manager) {}},
		"stopped":       {newManager, stop},
		"stepped-down":  {newManager, stepDown},
		"plain":         {plain, stop},
	}
	var checks []func(*http.Request) error
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			var collected atomic.Int64
			for i := range many {
				mgr := way.create(t, fmt.Sprintf("%s-%d", name, i))
				h := &heavyRunnable{}
				runtime.AddCleanup(h, func(n *atomic.Int64) { n.Add(1) }, &collected)
				if err := mgr.Add(h); err != nil {
					t.Fatal(err)
				}
				way.end(t, mgr)
				checks = append(checks, manager.Ready(mgr), manager.Live(mgr)) // in a program, an HTTP server keeps the checks
			}
			awaitCollected(t, name, &collected, many)
		})
	}
	runtime.KeepAlive(checks)

	families, err := crmetrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetValue() == "collected" && family.GetName() == "incumbent_leader_election_running" {
					t.Errorf("after all Managers have ended, %s has %v", family.GetName(), m.GetLabel())
				}
			}
		}
	}
	for name := range ways {
		for i := range many {
			manager.Metrics().Forget("collected", fmt.Sprintf("%s-%d", name, i))
		}
	}
}
