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

// A slowWarmer is a Runnable whose warm-up continues for a long time after its context
// is done.
type slowWarmer struct {
	*worker
	warm *worker
}

func (w slowWarmer) Warmup(ctx context.Context) error { return w.warm.Start(ctx) }

// controller-runtime itself does not wait for warm-ups: a Manager can stop while a
// Runnable is still warming up.
func TestStart_TheReleaseWaitsForWarmups(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		// The additional 100 ms ensure that the warm-up does not end exactly when the
		// loop below reads the Lease.
		w := slowWarmer{newWorker(0), newWorker(2*leaseDuration + 100*time.Millisecond)}
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
			t.Errorf("Start returned %v with the Lease held by %q, want nil and no holder", p.err, m.holder())
		}
	})
}

func TestStart_AWarmupThatOutlastsTheGracePeriodKeepsTheLease(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		w := slowWarmer{newWorker(0), newWorker(time.Minute)}
		p := m.leader("a", time.Second, w)
		asked := time.Now()
		if err := p.stop(); !errors.Is(err, context.DeadlineExceeded) || time.Since(asked) != time.Second {
			t.Errorf("Start returned %v after %v, want that the grace period expired", err, time.Since(asked))
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

// The test calls the method Run of the embedded leaderelection.Elector. This method
// does not return the errors of Runnables.
func TestLeaderOnly_FailManagerStepsDownIfTheEmbeddedElectorWasRun(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		p := m.make("a", crmanager.New, func(o *crmanager.Options) { o.LeaderElection = false })
		// This Elector has no event recorder, because the Manager is never started and
		// would not stop the recorder.
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
			t.Errorf("the term ended because of %v, want ErrSteppedDown", state.EndCause)
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
			t.Errorf("NewElector returned %v and %v for a Manager that stops, want only an error", e, err)
		}
	})
}
