package leaderelection_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

func TestElector_CallbacksArePairedAndOrdered(t *testing.T) {
	withHarness(t, func(h *harness) {
		a := h.start("a", withWork(func(context.Context) {})) // the work returns at once, but the term must continue
		time.Sleep(20 * time.Second)
		if !a.IsLeader() {
			t.Fatal("the term ended because OnStartedLeading returned")
		}
		a.stop()
		a.run()
		h.waitUntil(time.Minute, a.IsLeader)
		a.stop()
		want := []string{"a started", "a stopped", "a started", "a stopped"}
		if !slices.Equal(h.events, want) {
			t.Errorf("callbacks: %q, want %q", h.events, want)
		}
	})
}

func TestElector_NeverCallsOnStoppedLeadingWithoutATerm(t *testing.T) {
	withHarness(t, func(h *harness) {
		h.start("leader")
		synctest.Wait()
		follower := h.start("follower")
		time.Sleep(10 * time.Second)
		if err := follower.stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
		if slices.Contains(h.events, "follower stopped") {
			t.Errorf("callbacks: %q, want none of the follower", h.events)
		}
	})
}

func TestElector_GoexitOfTheWorkCountsAsReturn(t *testing.T) {
	withHarness(t, func(h *harness) {
		a := h.start("a", withWork(func(ctx context.Context) {
			<-ctx.Done()
			runtime.Goexit()
		}))
		time.Sleep(5 * time.Second)
		if err := a.stop(); err != nil || h.leaseHolder() != "" {
			t.Errorf("Run = %v and the Lease names %q, want a clean release", err, h.leaseHolder())
		}
	})
}

func TestElector_StopTimeoutEndsRunWithoutARelease(t *testing.T) {
	withHarness(t, func(h *harness) {
		unblock := make(chan struct{})
		defer close(unblock)
		r := h.start("slow", withWork(func(context.Context) { <-unblock }),
			withConfig(func(c *leaderelection.Config) { c.StopTimeout = 40 * time.Second }))
		time.Sleep(5 * time.Second)
		r.cancel()
		time.Sleep(39 * time.Second)
		if h.leaseHolder() != "slow" || len(h.workingNow()) != 1 {
			t.Error("the Lease was released before the work stopped")
		}
		<-r.ran
		if at := h.elapsed(); at != 45*time.Second {
			t.Errorf("Run returned at %v, want 45 s, after StopTimeout", at)
		}
		if !errors.Is(r.err, leaderelection.ErrWorkStillRunning) || h.leaseHolder() != "slow" {
			t.Errorf("Run = %v and the Lease names %q, want ErrWorkStillRunning and slow", r.err, h.leaseHolder())
		}
		if !slices.Contains(h.events, "slow stopped") {
			t.Error("OnStoppedLeading was not called")
		}
	})
}

func TestElector_AClaimThatSucceedsAfterCancellationIsReleasedWithoutWork(t *testing.T) {
	for name, delay := range map[string]time.Duration{"answered in the attempt": time.Second, "answered later": 5 * time.Second} {
		for _, lost := range []bool{false, true} {
			name := name
			if lost {
				name += ", the reply lost"
			}
			t.Run(name, func(t *testing.T) {
				withHarness(t, func(h *harness) {
					r := h.newReplica("late", nil)
					if lost {
						r.network.LoseReplies(hang, leaderelectiontest.Verbs("create"))
					}
					r.network.Fail(403, 0, leaderelectiontest.Verbs("watch")) // without a watch, no event confirms the claim
					r.network.DelayReplies(delay, leaderelectiontest.Verbs("create"))
					r.run()
					time.Sleep(500 * time.Millisecond)
					if h.leaseHolder() != "late" {
						t.Fatal("the server has not applied the claim yet")
					}
					if err := r.stop(); err != nil || h.leaseHolder() != "" {
						t.Errorf("Run = %v and the Lease names %q, want it released", err, h.leaseHolder())
					}
					if len(h.events) != 0 {
						t.Errorf("callbacks: %q, want none", h.events)
					}
				})
			})
		}
	}
}

func TestElector_ARefusedReleaseIsTriedAgain(t *testing.T) {
	withHarness(t, func(h *harness) {
		leader := h.start("leader")
		synctest.Wait()
		follower := h.start("follower")
		time.Sleep(5 * time.Second)
		leader.network.Fail(500, 0, leaderelectiontest.Verbs("update"), leaderelectiontest.Times(3))
		if err := leader.stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
		h.waitUntil(100*time.Millisecond, follower.IsLeader)
	})
}

func TestElector_WithoutReleaseOnCancelTheLeaseIsKept(t *testing.T) {
	withHarness(t, func(h *harness) {
		r := h.start("leader", withConfig(func(c *leaderelection.Config) { c.ReleaseOnCancel = false }))
		time.Sleep(5 * time.Second)
		if err := r.stop(); err != nil || h.leaseHolder() != "leader" || r.IsLeader() {
			t.Errorf("Run = %v, holder %q, IsLeader %v; want nil, leader and false", err, h.leaseHolder(), r.IsLeader())
		}
	})
}

func TestElector_StepDownHandsOverAndFollows(t *testing.T) {
	withHarness(t, func(h *harness) {
		leader := h.start("leader", withConfig(func(c *leaderelection.Config) { c.ReleaseOnCancel = false }))
		synctest.Wait()
		follower := h.start("follower")
		time.Sleep(5 * time.Second)
		if err := follower.StepDown(h.Context()); !errors.Is(err, leaderelection.ErrNotLeading) {
			t.Errorf("StepDown of a follower = %v, want ErrNotLeading", err)
		}
		if err := leader.StepDown(h.Context()); err != nil {
			t.Errorf("StepDown = %v", err)
		}
		h.expectLeader(follower)
		h.wantCause(leader, leaderelection.ErrSteppedDown)
		follower.stop()
		h.waitUntil(3*time.Second, leader.IsLeader) // the cooldown is over, because the follower has led
	})
}

func TestElector_StepDownAloneLeadsAgainAfterOneLeaseDuration(t *testing.T) {
	withHarness(t, func(h *harness) {
		r := h.start("alone")
		time.Sleep(5 * time.Second)
		if err := r.StepDown(h.Context()); err != nil {
			t.Error(err)
		}
		if took := h.waitUntil(time.Minute, r.IsLeader); took < 15*time.Second || took > 16*time.Second {
			t.Errorf("it led again after %v, want one LeaseDuration: 15 s", took)
		}
	})
}

func TestElector_StepDownFromTheWorkDoesNotWait(t *testing.T) {
	withHarness(t, func(h *harness) {
		var r *replica
		answered := make(chan error, 1)
		r = h.newReplica("a", nil, withWork(func(ctx context.Context) {
			answered <- r.StepDown(ctx)
			<-ctx.Done()
		}))
		r.run()
		if err := <-answered; err != nil {
			t.Errorf("StepDown = %v", err)
		}
		h.expectLeader(nil)
	})
}

func TestElector_TheContextOfStepDownBoundsOnlyTheWait(t *testing.T) {
	withHarness(t, func(h *harness) {
		r := h.start("slow", withWork(func(ctx context.Context) { <-ctx.Done(); time.Sleep(30 * time.Second) }))
		time.Sleep(5 * time.Second)
		ctx, cancel := context.WithTimeout(h.Context(), time.Second)
		defer cancel()
		if err := r.StepDown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("StepDown = %v, want DeadlineExceeded", err)
		}
		time.Sleep(30 * time.Second)
		h.expectLeader(nil)
		if h.leaseHolder() != "" {
			t.Errorf("the Lease names %q, want it released", h.leaseHolder())
		}
	})
}

// A slowContext is a context whose method Value takes a millisecond.
type slowContext struct{ context.Context }

func (c slowContext) Value(key any) any {
	time.Sleep(time.Millisecond)
	return c.Context.Value(key)
}

// Regression test for this bug: StepDown sometimes returned before the release if the
// work stopped very fast.
func TestElector_StepDownWaitsForAReleaseThatStartsAtOnce(t *testing.T) {
	withHarness(t, func(h *harness) {
		r := h.start("a", withWork(func(context.Context) {}))
		h.waitUntil(time.Second, r.IsLeader)
		r.network.DelayRequests(time.Second, writes)
		if err := r.StepDown(slowContext{h.Context()}); err != nil {
			t.Errorf("StepDown = %v", err)
		}
		if h.leaseHolder() != "" {
			t.Errorf("the Lease names %q, want it released", h.leaseHolder())
		}
	})
}

func TestElector_RunTwiceIsRefused(t *testing.T) {
	withHarness(t, func(h *harness) {
		r := h.start("a")
		time.Sleep(time.Second)
		if err := r.Run(h.Context()); !errors.Is(err, leaderelection.ErrAlreadyRunning) {
			t.Errorf("Run = %v, want ErrAlreadyRunning", err)
		}
		h.expectLeader(r)
	})
}

// HeldFor must stay positive while the work stops, although the context of the work is
// already cancelled.
func TestElector_HeldForIsPositiveWhileTheWorkStops(t *testing.T) {
	withHarness(t, func(h *harness) {
		finish := make(chan struct{})
		a := h.newReplica("a", nil, withWork(func(context.Context) { <-finish }))
		if held := a.HeldFor(); held != 0 {
			t.Errorf("HeldFor = %v before the first term, want 0", held)
		}
		a.run()
		h.waitUntil(time.Second, a.IsLeader)
		a.cancel()
		for range 60 {
			time.Sleep(time.Second)
			if held := a.HeldFor(); held <= 0 || held > 12*time.Second || a.ValidFor() != 0 {
				t.Fatalf("HeldFor = %v and ValidFor = %v while the work stops, want (0, 12 s] and 0", held, a.ValidFor())
			}
		}
		a.network.Cut(refuse)
		time.Sleep(12 * time.Second)
		if held := a.HeldFor(); held != 0 {
			t.Errorf("HeldFor = %v after 12 s without a renewal, want 0", held)
		}
		a.network.Heal()
		close(finish)
		<-a.ran
	})
}
