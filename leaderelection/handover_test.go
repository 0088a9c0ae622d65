package leaderelection_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

func TestElector_HandsOverAtOnceAfterARelease(t *testing.T) {
	play(t, func(s *stage) {
		a, b := s.start("a"), s.start("b")
		time.Sleep(10 * time.Second)
		leader, follower := a, b
		if b.IsLeader() {
			leader, follower = b, a
		}
		s.expect(leader)
		if err := leader.stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
		s.expect(follower) // in the same instant: nothing was waited for
		s.wantCause(leader, leaderelection.ErrCancelled)
	})
}

func TestElector_ReleasesOnlyAfterTheWorkReturned(t *testing.T) {
	play(t, func(s *stage) {
		slow := s.start("slow", withWork(func(ctx context.Context) {
			<-ctx.Done()
			time.Sleep(time.Minute) // four LeaseDurations
		}))
		synctest.Wait()
		next := s.start("next")
		time.Sleep(5 * time.Second)
		slow.cancel()
		time.Sleep(59 * time.Second)
		if got := s.workers(); !slices.Equal(got, []string{"slow"}) || s.holder() != "slow" {
			t.Errorf("%v work and the Lease names %q while slow stops", got, s.holder())
		}
		if slow.IsLeader() {
			t.Error("IsLeader is true though the work's context is cancelled")
		}
		time.Sleep(time.Second)
		s.expect(next)
	})
}

func TestElector_AnIdleFollowerSendsNothingBesideItsWatch(t *testing.T) {
	play(t, func(s *stage) {
		leader := s.start("leader")
		synctest.Wait()
		s.start("follower")
		time.Sleep(30 * time.Second)
		gets, puts := s.server.Count("follower", "get"), s.server.Count("follower", "update")
		renewals := s.server.Count("leader", "update")
		time.Sleep(10 * time.Minute)
		if n := s.server.Count("follower", "get") - gets + s.server.Count("follower", "update") - puts; n != 0 {
			t.Errorf("the follower sent %d requests in ten minutes, want none", n)
		}
		if n := s.server.Count("leader", "update") - renewals; n < 299 || n > 301 {
			t.Errorf("the leader renewed %d times in ten minutes, want one in each RetryPeriod: 300", n)
		}
		if n := s.server.Count("leader", "get"); n > 1 {
			t.Errorf("the leader read the Lease %d times, want at most once, at its start", n)
		}
		s.expect(leader)
	})
}

func TestElector_DoesNotRenewRightAfterAcquiring(t *testing.T) {
	play(t, func(s *stage) {
		s.start("leader")
		time.Sleep(1999 * time.Millisecond)
		if n := s.server.Count("leader", "update"); n != 0 {
			t.Errorf("%d renewals before RetryPeriod had passed, want none", n)
		}
		time.Sleep(2 * time.Millisecond)
		if n := s.server.Count("leader", "update"); n != 1 {
			t.Errorf("%d renewals after RetryPeriod, want one", n)
		}
	})
}

func TestElector_FollowersOfACrashedLeaderClaimWhenTheRuleAllows(t *testing.T) {
	play(t, func(s *stage) {
		leader := s.start("leader")
		synctest.Wait()
		follower := s.start("follower")
		time.Sleep(21 * time.Second) // the last renewal is at 20 s
		leader.network.Cut(hang)
		took := s.until(time.Minute, follower.IsLeader)
		if want := 14 * time.Second; took < want || took > want+2*time.Millisecond {
			t.Errorf("the follower led %v after the crash, want 15 s after the last renewal: %v", took, want)
		}
		leader.stop()
	})
}

func TestElector_TheNewestFollowerIsHeir(t *testing.T) {
	play(t, func(s *stage) {
		leader := s.start("leader")
		synctest.Wait()
		followers := map[string]*replica{}
		for i, priority := range []int32{1, 5, 3} {
			name := fmt.Sprint("follower-", i)
			r := s.candidate(name, []leaderelection.Option{leaderelection.WithPriority(priority)})
			r.run()
			followers[name] = r
		}
		time.Sleep(10 * time.Second)
		for state := range leader.Changes(s.Context()) {
			if state.Successor != "follower-1" {
				t.Errorf("the heir is %q, want the one with the highest priority", state.Successor)
			}
			break
		}
		before := len(s.server.History())
		leader.stop()
		s.expect(followers["follower-1"])
		time.Sleep(time.Second)
		for _, w := range s.server.History()[before:] {
			if w.Client != "leader" && w.Client != "follower-1" && leaderelectiontest.Holder(w.After) == w.Client {
				t.Errorf("%s claimed the Lease, want it left to the heir", w.Client)
			}
		}
	})
}

func TestElector_AnHeirThatIsGoneCostsHalfASecond(t *testing.T) {
	for name, harm := range map[string]func(s *stage, heir *replica){
		"frozen, or cut off":   func(_ *stage, heir *replica) { heir.network.Cut(hang) },
		"its host is gone":     func(_ *stage, heir *replica) { heir.network.Cut(refuse) },
		"lost its rights":      func(_ *stage, heir *replica) { heir.network.Fail(http.StatusForbidden, 0, writes) },
		"died":                 func(_ *stage, heir *replica) { _ = heir.stop() },
		"was never one of us":  func(s *stage, _ *replica) { s.edit(entered("somebody")) },
		"is nonsense":          func(s *stage, _ *replica) { s.edit(annotated("heir, heir, heir")) },
		"slow by five seconds": func(_ *stage, heir *replica) { heir.network.DelayRequests(5*time.Second, writes) },
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(s *stage) {
				leader := s.start("leader")
				synctest.Wait()
				heir := s.candidate("heir", []leaderelection.Option{leaderelection.WithPriority(7)})
				heir.run()
				s.start("other")
				time.Sleep(9 * time.Second)
				if got := now(leader).Successor; got != "heir" {
					t.Fatalf("the heir is %q", got)
				}
				harm(s, heir)
				time.Sleep(time.Millisecond)
				leader.stop()
				s.until(501*time.Millisecond, func() bool { return len(s.workers()) == 1 })
			})
		})
	}
}

// entered names an heir for the term that is, as nobody does who may not.
func entered(identity string) func(*coordinationv1.Lease) {
	return func(l *coordinationv1.Lease) {
		annotated(fmt.Sprintf("%d 99 0 %s", l.Spec.AcquireTime.UnixMicro(), identity))(l)
	}
}

func annotated(value string) func(*coordinationv1.Lease) {
	return func(l *coordinationv1.Lease) {
		l.Annotations["incumbent.haproxy-template-ic.github.io/successor"] = value
	}
}

// A release wakes hundreds, to whom the watch tells late: it is the heir's claim
// that they must hear of, before they make one.
func TestElector_AReleaseMakesNoHerd(t *testing.T) {
	play(t, func(s *stage) {
		leader := s.start("leader")
		synctest.Wait()
		const late = 120 * time.Millisecond
		var claims atomic.Int64
		for i := range 100 {
			r := s.candidate(fmt.Sprintf("follower-%d", i), nil)
			r.network.DelayWatches(late)
			r.network.DelayRequests(10*time.Millisecond, writes, leaderelectiontest.When(func(q leaderelectiontest.Request) bool {
				if leaderelectiontest.Holder(q.Lease) == q.Client {
					claims.Add(1)
				}
				return true
			}))
			r.run()
		}
		time.Sleep(10 * time.Second)
		if n := claims.Load(); n != 0 {
			t.Fatalf("%d claims were sent while somebody led", n)
		}
		leader.stop()
		s.until(late+20*time.Millisecond, func() bool { return len(s.workers()) == 1 })
		time.Sleep(time.Second)
		if n := claims.Load(); n != 1 {
			t.Errorf("%d claims were sent, want the heir's alone", n)
		}
	})
}

// Who finds that another was faster waits for the leader's next renewal, though he
// outranks him. A new replica does not: the next old one is stopped in a moment.
func TestElector_OnlyANewcomerPushesOutWhoWasFaster(t *testing.T) {
	for name, tc := range map[string]struct {
		ago  time.Duration // that it joined
		want string        // heir before the next renewal
	}{
		"a newcomer": {time.Second, "follower"},
		"an old one": {time.Hour, "faster"},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(s *stage) {
				leader := s.start("leader")
				synctest.Wait()
				follower := s.candidate("follower", nil)
				follower.StartedAt(time.Now().Add(-time.Minute))
				follower.run()
				synctest.Wait()
				follower.JoinedAt(time.Now().Add(-tc.ago))
				time.Sleep(leaderelection.DefaultRetryPeriod / 40)
				s.edit(func(l *coordinationv1.Lease) {
					annotated(fmt.Sprintf("%d 0 0 faster", l.Spec.AcquireTime.UnixMicro()))(l)
				})
				time.Sleep(leaderelection.DefaultRetryPeriod * 9 / 10)
				if got := now(leader).Successor; got != tc.want {
					t.Errorf("before the next renewal the heir is %q, want %q", got, tc.want)
				}
				time.Sleep(leaderelection.DefaultRetryPeriod)
				if got := now(leader).Successor; got != "follower" {
					t.Errorf("after it the heir is %q, want the one who outranks the other", got)
				}
			})
		})
	}
}

// The first attempt meets the leader's renewal, of which a watch tells late. It is
// made again, but not in step with the renewals.
func TestElector_BecomesHeirThoughItMeetsRenewals(t *testing.T) {
	for _, watching := range []bool{true, false} {
		for range 40 {
			play(t, func(s *stage) {
				leader := s.candidate("leader", nil)
				leader.network.DelayRequests(5 * time.Millisecond)
				leader.run()
				time.Sleep(10*time.Second + 950*time.Millisecond + rand.N(150*time.Millisecond))
				follower := s.candidate("follower", nil)
				follower.network.DelayRequests(5 * time.Millisecond)
				follower.network.DelayWatches(120 * time.Millisecond)
				if !watching {
					follower.network.Fail(http.StatusForbidden, 0, leaderelectiontest.Verbs("watch"))
				}
				follower.run()
				s.until(2*leaderelection.DefaultRetryPeriod, func() bool { return now(leader).Successor == "follower" })
				if n := s.server.Count("follower", "update"); n > 3 {
					t.Errorf("it took %d writes", n)
				}
			})
		}
	}
}

// A new replica becomes heir in place of one that is a few seconds older, however
// long its process took to join.
func TestElector_ANewReplicaIsHeirInPlaceOfAnOldOne(t *testing.T) {
	for _, warmup := range []time.Duration{0, time.Minute} {
		play(t, func(s *stage) {
			leader := s.start("leader")
			synctest.Wait()
			s.start("old")
			time.Sleep(5 * time.Second)
			if got := now(leader).Successor; got != "old" {
				t.Fatalf("the heir is %q, want the only one there is", got)
			}
			r := s.candidate("new", nil)
			time.Sleep(warmup)
			r.run()
			s.until(2*leaderelection.DefaultRetryPeriod, func() bool { return now(leader).Successor == "new" })
			time.Sleep(time.Minute)
			if got := now(leader).Successor; got != "new" {
				t.Errorf("a minute later the heir is %q, want the new one", got)
			}
		})
	}
}

// After a handover nobody is heir, and hundreds would be. Those that are of an age
// leave it to the first; if all outrank each other, one goes in each RetryPeriod.
func TestElector_OfHundredsFewAreRefusedAsHeirs(t *testing.T) {
	const crowd, handovers, late = 100, 4, 120 * time.Millisecond
	for name, tc := range map[string]struct {
		between time.Duration // the first that came up and the last
		most    int           // refused writes in a handover, on average
	}{
		"they came up within a minute": {time.Minute, 16},
		"they came up within a day":    {24 * time.Hour, 40},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(s *stage) {
				var refused atomic.Int64
				for i := range 1 + crowd {
					r := s.candidate(fmt.Sprintf("replica-%d", i), nil, withTrip(func(r *http.Request, next send) (*http.Response, error) {
						reply, err := next(r)
						if err == nil && reply.StatusCode == http.StatusConflict {
							refused.Add(1)
						}
						return reply, err
					}))
					r.StartedAt(time.Now().Add(-time.Hour - tc.between*time.Duration(i)/crowd))
					r.network.DelayWatches(late)
					r.run()
					synctest.Wait()
					r.JoinedAt(time.Now().Add(-time.Hour))
				}
				time.Sleep(5 * time.Second)
				before := refused.Load()
				for range handovers {
					for _, r := range s.cast {
						if r.IsLeader() {
							r.stop()
						}
					}
					time.Sleep(7 * time.Second)
				}
				if n := int(refused.Load()-before) / handovers; n > tc.most {
					t.Errorf("%d writes were refused in a handover, want %d at most", n, tc.most)
				}
				if len(s.workers()) != 1 {
					t.Errorf("at work: %v", s.workers())
				}
			})
		})
	}
}
