package manager_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/manager"
)

// A slowWarmer stops warming up long after its context is done.
type slowWarmer struct {
	*worker
	warm *worker
}

func (w slowWarmer) Warmup(ctx context.Context) error { return w.warm.Start(ctx) }

// controller-runtime does not wait for the warm-up of a Runnable that it stops.
func TestStart_TheReleaseWaitsForWarmups(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		w := slowWarmer{newWorker(0), newWorker(2*leaseDuration + 100*time.Millisecond)} // not when it is looked at
		p := m.leader("a", forEver, w)
		<-w.warm.started
		p.cancel()
		<-w.warm.cancelled
		for !closed(w.warm.returned) {
			if p.stopped() || m.holder() != "a" {
				t.Fatalf("Start has returned: %v; the Lease is held by %q, while a Runnable of a warms up", p.stopped(), m.holder())
			}
			time.Sleep(leaseDuration / 4)
		}
		<-p.done
		if p.err != nil || m.holder() != "" {
			t.Errorf("Start returned %v with the Lease held by %q, want nil and nobody", p.err, m.holder())
		}
	})
}

func TestStart_AWarmupThatOutlastsTheGracePeriodKeepsTheLease(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		w := slowWarmer{newWorker(0), newWorker(time.Minute)}
		p := m.leader("a", time.Second, w)
		asked := time.Now()
		if err := p.stop(); !errors.Is(err, context.DeadlineExceeded) || time.Since(asked) != time.Second {
			t.Errorf("Start returned %v after %v, want that the grace period ran out", err, time.Since(asked))
		}
		for !closed(w.warm.returned) {
			if m.holder() != "a" {
				t.Fatalf("the Lease is held by %q while a Runnable of a warms up", m.holder())
			}
			time.Sleep(time.Second)
		}
		time.Sleep(leaseDuration)
	})
}

// The embedded Elector is run directly, not the Elector that NewElector returned. So no
// Run returns the error of the Runnable.
func TestLeaderOnly_FailManagerStepsDownIfTheEmbeddedElectorWasRun(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		p := m.make("a", crmanager.New, func(o *crmanager.Options) { o.LeaderElection = false })
		// The Manager is not started, so it does not stop its recorder.
		e, err := manager.NewElector(p, electorConfig("a"), leaderelection.Callbacks{}, leaderelection.WithEventRecorder(nil))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		run := begin(func() error { return e.Elector.Run(ctx) })
		member := leaderOnly(func(context.Context) error { return errors.New("out of order") }, manager.FailManager())(e)
		membership := begin(func() error { return member.Start(ctx) })
		state := await(t, e, func(s leaderelection.State) bool { return s.EndCause != nil })
		if !errors.Is(state.EndCause, leaderelection.ErrSteppedDown) {
			t.Errorf("the term ended for %v, want ErrSteppedDown", state.EndCause)
		}
		cancel()
		<-run.done
		<-membership.done
	})
}

func TestLeaderOnly_WithoutElectorOrRunnableStartFails(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		_, e := m.withElector("a", leaderelection.Callbacks{})
		for name, r := range map[string]crmanager.Runnable{
			"no elector":  manager.LeaderOnly(nil, newWorker(0)),
			"no runnable": manager.LeaderOnly(e, nil),
		} {
			if err := r.Start(t.Context()); err == nil {
				t.Errorf("%s: Start returned nil", name)
			}
		}
	})
}

func TestNewElector_ReturnsNoElectorIfItCannotBeAdded(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		p := m.make("a", crmanager.New, func(o *crmanager.Options) { o.LeaderElection = false })
		w := newWorker(time.Second)
		w.follows = true
		if err := p.Add(w); err != nil {
			t.Fatal(err)
		}
		start(t, p)
		<-w.started
		p.cancel()
		<-w.cancelled
		synctest.Wait()
		if e, err := manager.NewElector(p, electorConfig("a"), leaderelection.Callbacks{}); err == nil || e != nil {
			t.Errorf("NewElector returned %v and %v for a Manager that stops, want an error alone", e, err)
		}
	})
}
