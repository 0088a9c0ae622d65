package manager_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/utils/ptr"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/manager"
)

const forEver = time.Duration(-1)

func TestStart_TheLeaseIsRenewedUntilAllHaveStopped_AndThenReleased(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		// The additional 100 ms ensure that the work does not end exactly when the loop
		// below reads the Lease.
		w := newWorker(3*leaseDuration + 100*time.Millisecond)
		p := m.leader("a", forEver, w)
		p.cancel()
		<-w.cancelled
		for !closed(w.returned) {
			if holder := m.holder(); holder != "a" {
				t.Fatalf("the Lease is held by %q while the work of a runs", holder)
			}
			if !p.elector().IsLeader() {
				t.Fatal("a does not lead any more while its work runs")
			}
			time.Sleep(leaseDuration / 4)
		}
		<-p.done
		if p.err != nil || m.holder() != "" {
			t.Errorf("Start returned %v with the Lease held by %q, want nil and no holder", p.err, m.holder())
		}
		p.logs.wantNoErrors(t)
	})
}

func TestStart_AGracePeriodThatRunsOutReleasesNothing(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		w := newWorker(time.Minute)
		p := m.leader("a", 5*time.Second, w)
		asked := time.Now()
		err := p.stop()
		if took := time.Since(asked); took != 5*time.Second {
			t.Errorf("Start returned after %v, want the grace period", took)
		}
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, leaderelection.ErrWorkStillRunning) {
			t.Errorf("Start returned %v, want DeadlineExceeded and ErrWorkStillRunning", err)
		}
		// A real process would exit now. Other candidates must not claim the Lease
		// until the work has returned.
		for !closed(w.returned) {
			time.Sleep(time.Second)
			if holder := m.holder(); holder != "a" {
				t.Fatalf("the Lease is held by %q while the work of a runs", holder)
			}
		}
		time.Sleep(10 * time.Second)
		if holder := m.holder(); holder != "a" {
			t.Errorf("the Lease is held by %q after the grace period had expired, want a until it expires", holder)
		}
	})
}

func TestStart_WithoutGraceReturnsAtOnceAndReleasesNothing(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		w := newWorker(5 * time.Second)
		p := m.leader("a", 0, w)
		asked := time.Now()
		if err := p.stop(); err != nil || time.Since(asked) != 0 {
			t.Errorf("Start returned %v after %v, want nil at once", err, time.Since(asked))
		}
		<-w.cancelled
		if time.Since(asked) != 0 {
			t.Errorf("the work was cancelled after %v, want at once", time.Since(asked))
		}
		<-w.returned
		time.Sleep(10 * time.Second)
		if holder := m.holder(); holder != "a" {
			t.Errorf("the Lease is held by %q, want a until it expires", holder)
		}
	})
}

func TestStart_OnLossEveryRunnableIsCancelledAtOnce_AlthoughOneIsSlowToStop(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		w, slow := newWorker(0), newWorker(time.Minute)
		slow.follows = true
		p := m.leader("a", forEver, w, slow)
		m.Client("a").Network().Cut(hang)
		cut := time.Now()
		<-w.cancelled
		lost := time.Now()
		if took := lost.Sub(cut); took > trustWindow {
			t.Errorf("the work was cancelled %v after the network was cut, want at most %v", took, trustWindow)
		}
		if !errors.Is(w.cause, leaderelection.ErrRenewalFailed) {
			t.Errorf("the work's context ended because of %v, want ErrRenewalFailed", w.cause)
		}
		<-p.done
		if took := time.Since(lost); took > margin*3/4 {
			t.Errorf("Start returned %v after the loss: others may claim after %v, and the process must exit before", took, margin)
		}
		for _, want := range []error{manager.ErrLeadershipLost, leaderelection.ErrRenewalFailed, leaderelection.ErrWorkStillRunning} {
			if !errors.Is(p.err, want) {
				t.Errorf("Start returned %v, want %v", p.err, want)
			}
		}
		<-slow.returned
	})
}

func TestStart_OnLossItReturnsAsSoonAsAllHaveStopped(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		w := newWorker(100 * time.Millisecond)
		p := m.leader("a", forEver, w)
		m.give("somebody")
		<-w.cancelled
		stopAsked := time.Now()
		<-p.done
		if took := time.Since(stopAsked); took != 100*time.Millisecond {
			t.Errorf("Start returned %v after the loss, want 100ms", took)
		}
		if !errors.Is(p.err, manager.ErrLeadershipLost) || !errors.Is(p.err, leaderelection.ErrOvertaken) || errors.Is(p.err, leaderelection.ErrWorkStillRunning) {
			t.Errorf("Start returned %v, want ErrLeadershipLost for ErrOvertaken alone", p.err)
		}
		if holder := m.holder(); holder != "somebody" {
			t.Errorf("the Lease is held by %q after the loss, want it untouched", holder)
		}
	})
}

func TestStart_ALossDuringAGracefulStopIsNoticed(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		w, slow := newWorker(0), newWorker(time.Minute)
		// The inner Manager first stops the Runnables that do not need leader election,
		// such as the worker slow. It stops the worker w only after slow has returned.
		slow.follows = true
		p := m.leader("a", forEver, w, slow)
		p.cancel()
		<-slow.cancelled
		time.Sleep(10 * time.Second)
		if closed(w.cancelled) || !p.elector().IsLeader() {
			t.Fatal("the work was asked to stop before its turn")
		}
		m.give("somebody")
		<-w.cancelled
		if !errors.Is(w.cause, leaderelection.ErrOvertaken) {
			t.Errorf("the work's context ended because of %v, want ErrOvertaken", w.cause)
		}
		<-p.done
		if !errors.Is(p.err, manager.ErrLeadershipLost) || closed(slow.returned) {
			t.Errorf("Start returned %v, want ErrLeadershipLost while the slow one still runs", p.err)
		}
		<-slow.returned
	})
}

func TestStart_ARunnablesErrorStopsTheManagerAndIsReturned(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		failure, fails := errors.New("out of order"), make(chan error, 1)
		w, other := newWorker(0), newWorker(2*leaseDuration)
		w.fails = fails
		p := m.leader("a", forEver, w, other)
		fails <- failure
		<-other.cancelled
		time.Sleep(leaseDuration)
		if m.holder() != "a" {
			t.Error("the Lease was released while another Runnable had not stopped")
		}
		<-p.done
		if !errors.Is(p.err, failure) || m.holder() != "" {
			t.Errorf("Start returned %v with the Lease held by %q, want the Runnable's error and nobody", p.err, m.holder())
		}
	})
}

func TestStart_ARunnablesErrorIsReturnedAlsoIfTheGracePeriodRunsOut(t *testing.T) {
	for _, grace := range []time.Duration{0, time.Second} {
		runInMemory(t, func(t *testing.T, m memory) {
			failure, fails := errors.New("out of order"), make(chan error, 1)
			w, other := newWorker(0), newWorker(time.Minute)
			w.fails = fails
			p := m.leader("a", grace, w, other)
			fails <- failure
			<-p.done
			if !errors.Is(p.err, failure) || errors.Is(p.err, context.DeadlineExceeded) != (grace > 0) {
				t.Errorf("grace %v: Start returned %v, want the Runnable's error, and that of the grace period if there is one", grace, p.err)
			}
			<-other.returned
			time.Sleep(time.Minute)
		})
	}
}

func TestStart_SteppingDownStopsTheManagerAndReleases(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		w := newWorker(time.Second)
		p := m.leader("a", forEver, w)
		if err := stepDown(p.elector()); err != nil {
			t.Fatal(err)
		}
		if !closed(w.returned) || m.holder() != "" {
			t.Errorf("stepped down with the Lease held by %q and the work stopped: %v", m.holder(), closed(w.returned))
		}
		<-p.done
		if !errors.Is(p.err, leaderelection.ErrSteppedDown) || errors.Is(p.err, manager.ErrLeadershipLost) {
			t.Errorf("Start returned %v, want ErrSteppedDown", p.err)
		}
	})
}

func TestStart_SteppingDownDuringAGracefulStopReleasesOnlyAfterTheWork(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		w := newWorker(leaseDuration + 100*time.Millisecond)
		p := m.leader("a", forEver, w)
		p.cancel()
		<-w.cancelled
		down := begin(func() error { return stepDown(p.elector()) })
		for !closed(w.returned) {
			if holder := m.holder(); holder != "a" {
				t.Fatalf("the Lease is held by %q while the work of a runs", holder)
			}
			time.Sleep(leaseDuration / 4)
		}
		<-down.done
		<-p.done
		if down.err != nil || !errors.Is(p.err, leaderelection.ErrSteppedDown) || m.holder() != "" {
			t.Errorf("StepDown returned %v, Start %v; the Lease is held by %q", down.err, p.err, m.holder())
		}
	})
}

// A follower must stop at once, because it has no Lease to release.
func TestStart_AFollowerThatCannotReachTheAPIServerStopsAtOnce(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		m.Client("a").Network().Cut(hang)
		p := m.make("a", incumbent(manager.WithIdentity("a")))
		start(t, p)
		time.Sleep(leaseDuration)
		asked := time.Now()
		if err := p.stop(); err != nil || time.Since(asked) > retryPeriod {
			t.Errorf("Start returned %v after %v, want nil at once", err, time.Since(asked))
		}
	})
}

func TestStart_AFollowerThatIsStoppedStartsNothing(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		leader := m.leader("a", forEver, newWorker(0))
		w, slow := newWorker(0), newWorker(2*leaseDuration)
		slow.follows = true
		p := m.make("b", incumbent(manager.WithIdentity("b")))
		for _, r := range []crmanager.Runnable{w, slow} {
			if err := p.Add(r); err != nil {
				t.Fatal(err)
			}
		}
		start(t, p)
		<-slow.started
		synctest.Wait()
		p.cancel()
		<-slow.cancelled
		if !manager.GateIsShut(p.Manager) {
			t.Error("it can still be elected")
		}
		// The leader releases the Lease while the follower is still stopping. The
		// follower must not claim the Lease.
		if err := leader.stop(); err != nil {
			t.Error(err)
		}
		for !closed(slow.returned) {
			if m.holder() != "" {
				t.Fatalf("the Lease is held by %q, which does not want it any more", m.holder())
			}
			time.Sleep(retryPeriod)
		}
		<-p.done
		if p.err != nil || closed(w.started) || closed(p.Elected()) {
			t.Errorf("Start returned %v; work started: %v, elected: %v", p.err, closed(w.started), closed(p.Elected()))
		}
		p.logs.wantNoErrors(t)
	})
}

func TestStart_ALateWinStartsNothingAndIsReleased(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		// Start waits for at most 500 ms for a claim that may have been applied.
		m.Client("a").Network().DelayReplies(400 * time.Millisecond)
		m.Client("a").Network().DelayWatches(400 * time.Millisecond)
		w := newWorker(0)
		p := m.make("a", incumbent(manager.WithIdentity("a")))
		if err := p.Add(w); err != nil {
			t.Fatal(err)
		}
		start(t, p)
		for m.holder() != "a" {
			time.Sleep(10 * time.Millisecond)
		}
		if err := p.stop(); err != nil || closed(w.started) || m.holder() != "" {
			t.Errorf("Start returned %v; work started: %v, the Lease is held by %q", err, closed(w.started), m.holder())
		}
	})
}

func TestStart_ASecondCallIsRefused(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		w := newWorker(0)
		p := m.leader("a", forEver, w)
		if err := p.Start(t.Context()); err == nil {
			t.Error("the second Start returned nil")
		}
		if closed(w.cancelled) || !p.elector().IsLeader() {
			t.Error("the second Start disturbed the first")
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
		if err := p.Start(t.Context()); err == nil {
			t.Error("Start after the end returned nil")
		}
	})
}

func TestStart_AnIdentityInUseStopsTheManager(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		m.leader("a", forEver, newWorker(0))
		duplicate := m.make("a", incumbent(manager.WithIdentity("a")), func(o *crmanager.Options) { o.GracefulShutdownTimeout = ptr.To(time.Second) })
		stuck := newWorker(time.Minute)
		stuck.follows = true
		if err := duplicate.Add(stuck); err != nil {
			t.Fatal(err)
		}
		start(t, duplicate)
		<-duplicate.done
		if !errors.Is(duplicate.err, leaderelection.ErrIdentityInUse) || !errors.Is(duplicate.err, context.DeadlineExceeded) {
			t.Errorf("Start returned %v, want ErrIdentityInUse, and that the grace period expired", duplicate.err)
		}
		<-stuck.returned
	})
}

func TestStart_ReleaseCanBeTurnedOff(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		p := m.make("a", incumbent(manager.WithIdentity("a"), manager.WithoutRelease()))
		start(t, p)
		<-p.Elected()
		if err := p.stop(); err != nil || m.holder() != "a" {
			t.Errorf("Start returned %v with the Lease held by %q, want nil and a", err, m.holder())
		}
	})
}
