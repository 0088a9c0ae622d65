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
	play(t, func(s *stage) {
		a := s.start("a", withWork(func(context.Context) {})) // returns early: the term goes on
		time.Sleep(20 * time.Second)
		if !a.IsLeader() {
			t.Fatal("the term ended because OnStartedLeading returned")
		}
		a.stop()
		a.run()
		s.until(time.Minute, a.IsLeader)
		a.stop()
		want := []string{"a started", "a stopped", "a started", "a stopped"}
		if !slices.Equal(s.log, want) {
			t.Errorf("callbacks: %q, want %q", s.log, want)
		}
	})
}

func TestElector_NeverCallsOnStoppedLeadingWithoutATerm(t *testing.T) {
	play(t, func(s *stage) {
		s.start("leader")
		synctest.Wait()
		follower := s.start("follower")
		time.Sleep(10 * time.Second)
		if err := follower.stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
		if slices.Contains(s.log, "follower stopped") {
			t.Errorf("callbacks: %q", s.log)
		}
	})
}

func TestElector_GoexitOfTheWorkCountsAsReturn(t *testing.T) {
	play(t, func(s *stage) {
		a := s.start("a", withWork(func(ctx context.Context) {
			<-ctx.Done()
			runtime.Goexit()
		}))
		time.Sleep(5 * time.Second)
		if err := a.stop(); err != nil || s.holder() != "" {
			t.Errorf("Run = %v and the Lease names %q, want a clean release", err, s.holder())
		}
	})
}

func TestElector_StopTimeoutEndsRunWithoutARelease(t *testing.T) {
	play(t, func(s *stage) {
		let := make(chan struct{})
		defer close(let)
		r := s.start("stubborn", withWork(func(context.Context) { <-let }),
			withConfig(func(c *leaderelection.Config) { c.StopTimeout = 40 * time.Second }))
		time.Sleep(5 * time.Second)
		r.cancel()
		time.Sleep(39 * time.Second)
		if s.holder() != "stubborn" || len(s.workers()) != 1 {
			t.Error("the Lease was not kept while the work stopped")
		}
		<-r.ran
		if at := s.clock(); at != 45*time.Second {
			t.Errorf("Run returned at %v, want after StopTimeout: 45 s", at)
		}
		if !errors.Is(r.err, leaderelection.ErrWorkStillRunning) || s.holder() != "stubborn" {
			t.Errorf("Run = %v and the Lease names %q", r.err, s.holder())
		}
		if !slices.Contains(s.log, "stubborn stopped") {
			t.Error("OnStoppedLeading was not called")
		}
	})
}

func TestElector_AClaimWonAfterTheEndIsReleasedWithoutWork(t *testing.T) {
	for name, delay := range map[string]time.Duration{"answered in the attempt": time.Second, "answered later": 5 * time.Second} {
		for _, lost := range []bool{false, true} {
			name := name
			if lost {
				name += ", the reply lost"
			}
			t.Run(name, func(t *testing.T) {
				play(t, func(s *stage) {
					r := s.candidate("late", nil)
					if lost {
						r.network.LoseReplies(hang, leaderelectiontest.Verbs("create"))
					}
					r.network.Fail(403, 0, leaderelectiontest.Verbs("watch")) // or it would know at once
					r.network.DelayReplies(delay, leaderelectiontest.Verbs("create"))
					r.run()
					time.Sleep(500 * time.Millisecond)
					if s.holder() != "late" {
						t.Fatal("the claim was not applied yet")
					}
					if err := r.stop(); err != nil || s.holder() != "" {
						t.Errorf("Run = %v and the Lease names %q, want it released", err, s.holder())
					}
					if len(s.log) != 0 {
						t.Errorf("callbacks: %q, want none", s.log)
					}
				})
			})
		}
	}
}

func TestElector_ARefusedReleaseIsTriedAgain(t *testing.T) {
	play(t, func(s *stage) {
		leader := s.start("leader")
		synctest.Wait()
		follower := s.start("follower")
		time.Sleep(5 * time.Second)
		leader.network.Fail(403, 0, leaderelectiontest.Verbs("update"), leaderelectiontest.Times(3))
		if err := leader.stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
		s.until(100*time.Millisecond, follower.IsLeader)
	})
}

func TestElector_WithoutReleaseOnCancelTheLeaseIsKept(t *testing.T) {
	play(t, func(s *stage) {
		r := s.start("keeper", withConfig(func(c *leaderelection.Config) { c.ReleaseOnCancel = false }))
		time.Sleep(5 * time.Second)
		if err := r.stop(); err != nil || s.holder() != "keeper" || r.IsLeader() {
			t.Errorf("Run = %v, holder %q, IsLeader %v", err, s.holder(), r.IsLeader())
		}
	})
}

func TestElector_StepDownHandsOverAndFollows(t *testing.T) {
	play(t, func(s *stage) {
		leader := s.start("leader", withConfig(func(c *leaderelection.Config) { c.ReleaseOnCancel = false }))
		synctest.Wait()
		follower := s.start("follower")
		time.Sleep(5 * time.Second)
		if err := follower.StepDown(s.Context()); !errors.Is(err, leaderelection.ErrNotLeading) {
			t.Errorf("StepDown of a follower = %v", err)
		}
		if err := leader.StepDown(s.Context()); err != nil {
			t.Errorf("StepDown = %v", err)
		}
		s.expect(follower)
		s.wantCause(leader, leaderelection.ErrSteppedDown)
		follower.stop()
		s.until(3*time.Second, leader.IsLeader) // it has seen another leader: it campaigns again
	})
}

func TestElector_StepDownAloneLeadsAgainAfterOneLeaseDuration(t *testing.T) {
	play(t, func(s *stage) {
		r := s.start("alone")
		time.Sleep(5 * time.Second)
		if err := r.StepDown(s.Context()); err != nil {
			t.Error(err)
		}
		if took := s.until(time.Minute, r.IsLeader); took < 15*time.Second || took > 16*time.Second {
			t.Errorf("it led again after %v, want one LeaseDuration", took)
		}
	})
}

func TestElector_StepDownFromTheWorkDoesNotWait(t *testing.T) {
	play(t, func(s *stage) {
		var r *replica
		answered := make(chan error, 1)
		r = s.candidate("a", nil, withWork(func(ctx context.Context) {
			answered <- r.StepDown(ctx)
			<-ctx.Done()
		}))
		r.run()
		if err := <-answered; err != nil {
			t.Errorf("StepDown = %v", err)
		}
		s.expect(nil)
	})
}

func TestElector_TheContextOfStepDownBoundsOnlyTheWait(t *testing.T) {
	play(t, func(s *stage) {
		r := s.start("slow", withWork(func(ctx context.Context) { <-ctx.Done(); time.Sleep(30 * time.Second) }))
		time.Sleep(5 * time.Second)
		ctx, cancel := context.WithTimeout(s.Context(), time.Second)
		defer cancel()
		if err := r.StepDown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("StepDown = %v, want the end of its context", err)
		}
		time.Sleep(30 * time.Second)
		s.expect(nil)
		if s.holder() != "" {
			t.Errorf("the Lease names %q, want it released", s.holder())
		}
	})
}

// A slowContext takes a moment to tell what it carries.
type slowContext struct{ context.Context }

func (c slowContext) Value(key any) any {
	time.Sleep(time.Millisecond)
	return c.Context.Value(key)
}

// Now and then it took the stop that it had asked for itself for one that was under
// way before, and did not wait.
func TestElector_StepDownWaitsThoughTheStopIsFaster(t *testing.T) {
	play(t, func(s *stage) {
		r := s.start("a", withWork(func(context.Context) {}))
		s.until(time.Second, r.IsLeader)
		r.network.DelayRequests(time.Second, writes)
		if err := r.StepDown(slowContext{s.Context()}); err != nil {
			t.Errorf("StepDown = %v", err)
		}
		if s.holder() != "" {
			t.Errorf("the Lease names %q, want it released", s.holder())
		}
	})
}

func TestElector_RunTwiceIsRefused(t *testing.T) {
	play(t, func(s *stage) {
		r := s.start("a")
		time.Sleep(time.Second)
		if err := r.Run(s.Context()); !errors.Is(err, leaderelection.ErrAlreadyRunning) {
			t.Errorf("Run = %v, want ErrAlreadyRunning", err)
		}
		s.expect(r)
	})
}

// The Lease is held until it is released, whatever the work was told.
func TestElector_HeldForGoesOnWhileTheWorkStops(t *testing.T) {
	play(t, func(s *stage) {
		finish := make(chan struct{})
		a := s.candidate("a", nil, withWork(func(context.Context) { <-finish }))
		if held := a.HeldFor(); held != 0 {
			t.Errorf("HeldFor is %v before the first term", held)
		}
		a.run()
		s.until(time.Second, a.IsLeader)
		a.cancel()
		for range 60 {
			time.Sleep(time.Second)
			if held := a.HeldFor(); held <= 0 || held > 12*time.Second || a.ValidFor() != 0 {
				t.Fatalf("the work stops: HeldFor is %v, ValidFor %v", held, a.ValidFor())
			}
		}
		a.network.Cut(refuse)
		time.Sleep(12 * time.Second)
		if held := a.HeldFor(); held != 0 {
			t.Errorf("it could not be renewed: HeldFor is %v", held)
		}
		a.network.Heal()
		close(finish)
		<-a.ran
	})
}
