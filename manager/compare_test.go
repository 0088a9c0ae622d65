package manager_test

import (
	"errors"
	"testing"
	"time"

	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/haproxy-template-ic/incumbent/manager"
)

// both runs scenario with two Managers: a Manager of controller-runtime,
// and a Manager that New returned. kept must be false with the Manager of
// controller-runtime and true with the Manager of New.
func both(t *testing.T, scenario func(t *testing.T, m memory, create newManager) (kept bool)) {
	t.Helper()
	for _, tc := range []struct {
		name   string
		create newManager
		keeps  bool
	}{{"controller-runtime", controllerRuntime, false}, {"incumbent", incumbent(), true}} {
		t.Run(tc.name, func(t *testing.T) {
			runInMemory(t, func(t *testing.T, m memory) {
				if kept := scenario(t, m, tc.create); kept != tc.keeps {
					t.Errorf("the promise was kept: %v, want %v", kept, tc.keeps)
				}
			})
		})
	}
}

// leaderOf creates a Manager with create, starts the Manager, and waits
// until the Manager leads.
func (m memory) leaderOf(create newManager, grace time.Duration, runnables ...crmanager.Runnable) *process {
	m.t.Helper()
	p := m.make("a", create, func(o *crmanager.Options) { o.GracefulShutdownTimeout = &grace })
	for _, r := range runnables {
		if err := p.Add(r); err != nil {
			m.t.Fatal(err)
		}
	}
	start(m.t, p)
	<-p.Elected()
	return p
}

func TestBoth_TheLeaseIsHeldWhileWorkRuns_AlthoughTheGracePeriodExpired(t *testing.T) {
	both(t, func(t *testing.T, m memory, create newManager) bool {
		w := newWorker(time.Minute)
		p := m.leaderOf(create, time.Second, w)
		_ = p.stop()
		kept := true
		for !closed(w.returned) {
			kept = kept && m.holder() != ""
			time.Sleep(time.Second)
		}
		// Wait until all goroutines of the simulated process have ended. A real process
		// would exit now.
		time.Sleep(time.Minute)
		return kept
	})
}

func TestBoth_ALossDuringAGracefulStopReachesTheWork(t *testing.T) {
	both(t, func(t *testing.T, m memory, create newManager) bool {
		w, slow := newWorker(0), newWorker(time.Minute)
		slow.follows = true
		p := m.leaderOf(create, forEver, w, slow)
		p.cancel()
		<-slow.cancelled
		m.give("somebody")
		time.Sleep(leaseDuration)
		kept := closed(w.cancelled)
		<-slow.returned
		<-p.done
		return kept
	})
}

func TestBoth_AnotherHolderEndsTheWorkAtOnce(t *testing.T) {
	both(t, func(t *testing.T, m memory, create newManager) bool {
		w := newWorker(0)
		p := m.leaderOf(create, forEver, w)
		m.give("somebody")
		time.Sleep(retryPeriod)
		kept := closed(w.cancelled)
		<-p.done
		return kept
	})
}

func TestBoth_ALossIsDistinguishableFromOtherErrors(t *testing.T) {
	both(t, func(t *testing.T, m memory, create newManager) bool {
		p := m.leaderOf(create, forEver, newWorker(0))
		m.Client("a").Network().Cut(hang)
		<-p.done
		if p.err == nil {
			t.Error("Start returned nil after a loss")
		}
		return errors.Is(p.err, manager.ErrLeadershipLost)
	})
}
