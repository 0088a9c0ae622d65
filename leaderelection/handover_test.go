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
	withHarness(t, func(h *harness) {
		a, b := h.start("a"), h.start("b")
		time.Sleep(10 * time.Second)
		leader, follower := a, b
		if b.IsLeader() {
			leader, follower = b, a
		}
		h.expectLeader(leader)
		if err := leader.stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
		h.expectLeader(follower) // in the same instant: nothing was waited for
		h.wantCause(leader, leaderelection.ErrCancelled)
	})
}

func TestElector_ReleasesOnlyAfterTheWorkReturned(t *testing.T) {
	withHarness(t, func(h *harness) {
		slow := h.start("slow", withWork(func(ctx context.Context) {
			<-ctx.Done()
			time.Sleep(time.Minute) // four LeaseDurations
		}))
		synctest.Wait()
		next := h.start("next")
		time.Sleep(5 * time.Second)
		slow.cancel()
		time.Sleep(59 * time.Second)
		if got := h.workingNow(); !slices.Equal(got, []string{"slow"}) || h.leaseHolder() != "slow" {
			t.Errorf("%v work and the Lease names %q while slow stops", got, h.leaseHolder())
		}
		if slow.IsLeader() {
			t.Error("IsLeader is true though the work's context is cancelled")
		}
		time.Sleep(time.Second)
		h.expectLeader(next)
	})
}

func TestElector_AnIdleFollowerSendsNothingBesideItsWatch(t *testing.T) {
	withHarness(t, func(h *harness) {
		leader := h.start("leader")
		synctest.Wait()
		h.start("follower")
		time.Sleep(30 * time.Second)
		gets, puts := h.server.Count("follower", "get"), h.server.Count("follower", "update")
		renewals := h.server.Count("leader", "update")
		time.Sleep(10 * time.Minute)
		if n := h.server.Count("follower", "get") - gets + h.server.Count("follower", "update") - puts; n != 0 {
			t.Errorf("the follower sent %d requests in ten minutes, want none", n)
		}
		if n := h.server.Count("leader", "update") - renewals; n < 299 || n > 301 {
			t.Errorf("the leader renewed %d times in ten minutes, want one in each RetryPeriod: 300", n)
		}
		if n := h.server.Count("leader", "get"); n > 1 {
			t.Errorf("the leader read the Lease %d times, want at most once, at its start", n)
		}
		h.expectLeader(leader)
	})
}

func TestElector_DoesNotRenewRightAfterAcquiring(t *testing.T) {
	withHarness(t, func(h *harness) {
		h.start("leader")
		time.Sleep(1999 * time.Millisecond)
		if n := h.server.Count("leader", "update"); n != 0 {
			t.Errorf("%d renewals before RetryPeriod had passed, want none", n)
		}
		time.Sleep(2 * time.Millisecond)
		if n := h.server.Count("leader", "update"); n != 1 {
			t.Errorf("%d renewals after RetryPeriod, want one", n)
		}
	})
}

func TestElector_AFollowerClaimsOneLeaseDurationAfterACrash(t *testing.T) {
	withHarness(t, func(h *harness) {
		leader := h.start("leader")
		synctest.Wait()
		follower := h.start("follower")
		time.Sleep(21 * time.Second) // the last renewal is at 20 s
		leader.network.Cut(hang)
		took := h.waitUntil(time.Minute, follower.IsLeader)
		if want := 14 * time.Second; took < want || took > want+2*time.Millisecond {
			t.Errorf("the follower led %v after the crash, want 15 s after the last renewal: %v", took, want)
		}
		leader.stop()
	})
}

func TestElector_TheFollowerWithTheHighestPriorityIsSuccessor(t *testing.T) {
	withHarness(t, func(h *harness) {
		leader := h.start("leader")
		synctest.Wait()
		followers := map[string]*replica{}
		for i, priority := range []int32{1, 5, 3} {
			name := fmt.Sprint("follower-", i)
			r := h.newReplica(name, []leaderelection.Option{leaderelection.WithPriority(priority)})
			r.run()
			followers[name] = r
		}
		time.Sleep(10 * time.Second)
		for state := range leader.Changes(h.Context()) {
			if state.Successor != "follower-1" {
				t.Errorf("the heir is %q, want the one with the highest priority", state.Successor)
			}
			break
		}
		before := len(h.server.History())
		leader.stop()
		h.expectLeader(followers["follower-1"])
		time.Sleep(time.Second)
		for _, w := range h.server.History()[before:] {
			if w.Client != "leader" && w.Client != "follower-1" && leaderelectiontest.Holder(w.After) == w.Client {
				t.Errorf("%s claimed the Lease, want it left to the heir", w.Client)
			}
		}
	})
}

func TestElector_AMissingSuccessorDelaysAHandoverByHalfASecond(t *testing.T) {
	for name, inject := range map[string]func(h *harness, heir *replica){
		"frozen, or cut off":   func(_ *harness, heir *replica) { heir.network.Cut(hang) },
		"its host is gone":     func(_ *harness, heir *replica) { heir.network.Cut(refuse) },
		"lost its rights":      func(_ *harness, heir *replica) { heir.network.Fail(http.StatusForbidden, 0, writes) },
		"died":                 func(_ *harness, heir *replica) { _ = heir.stop() },
		"was never one of us":  func(h *harness, _ *replica) { h.editLease(nominated("somebody")) },
		"is nonsense":          func(h *harness, _ *replica) { h.editLease(withAnnotation("heir, heir, heir")) },
		"slow by five seconds": func(_ *harness, heir *replica) { heir.network.DelayRequests(5*time.Second, writes) },
	} {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(h *harness) {
				leader := h.start("leader")
				synctest.Wait()
				heir := h.newReplica("heir", []leaderelection.Option{leaderelection.WithPriority(7)})
				heir.run()
				h.start("other")
				time.Sleep(9 * time.Second)
				if got := stateOf(leader).Successor; got != "heir" {
					t.Fatalf("the heir is %q", got)
				}
				inject(h, heir)
				time.Sleep(time.Millisecond)
				leader.stop()
				h.waitUntil(501*time.Millisecond, func() bool { return len(h.workingNow()) == 1 })
			})
		})
	}
}

// entered names an heir for the term that is, as nobody does who may not.
func nominated(identity string) func(*coordinationv1.Lease) {
	return func(l *coordinationv1.Lease) {
		withAnnotation(fmt.Sprintf("%d 99 0 %s", l.Spec.AcquireTime.UnixMicro(), identity))(l)
	}
}

func withAnnotation(value string) func(*coordinationv1.Lease) {
	return func(l *coordinationv1.Lease) {
		l.Annotations["incumbent.haproxy-template-ic.github.io/successor"] = value
	}
}

// A release wakes hundreds, to whom the watch tells late: it is the heir's claim
// that they must hear of, before they make one.
func TestElector_OnlyTheSuccessorClaimsAfterARelease(t *testing.T) {
	withHarness(t, func(h *harness) {
		leader := h.start("leader")
		synctest.Wait()
		const late = 120 * time.Millisecond
		var claims atomic.Int64
		for i := range 100 {
			r := h.newReplica(fmt.Sprintf("follower-%d", i), nil)
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
		h.waitUntil(late+20*time.Millisecond, func() bool { return len(h.workingNow()) == 1 })
		time.Sleep(time.Second)
		if n := claims.Load(); n != 1 {
			t.Errorf("%d claims were sent, want the heir's alone", n)
		}
	})
}

// Who finds that another was faster waits for the leader's next renewal, though he
// outranks him. A new replica does not: the next old one is stopped in a moment.
func TestElector_OnlyARecentlyJoinedFollowerReplacesANewSuccessorAtOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		ago  time.Duration // that it joined
		want string        // heir before the next renewal
	}{
		"a newcomer": {time.Second, "follower"},
		"an old one": {time.Hour, "faster"},
	} {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(h *harness) {
				leader := h.start("leader")
				synctest.Wait()
				follower := h.newReplica("follower", nil)
				follower.StartedAt(time.Now().Add(-time.Minute))
				follower.run()
				synctest.Wait()
				follower.JoinedAt(time.Now().Add(-tc.ago))
				time.Sleep(leaderelection.DefaultRetryPeriod / 40)
				h.editLease(func(l *coordinationv1.Lease) {
					withAnnotation(fmt.Sprintf("%d 0 0 faster", l.Spec.AcquireTime.UnixMicro()))(l)
				})
				time.Sleep(leaderelection.DefaultRetryPeriod * 9 / 10)
				if got := stateOf(leader).Successor; got != tc.want {
					t.Errorf("before the next renewal the heir is %q, want %q", got, tc.want)
				}
				time.Sleep(leaderelection.DefaultRetryPeriod)
				if got := stateOf(leader).Successor; got != "follower" {
					t.Errorf("after it the heir is %q, want the one who outranks the other", got)
				}
			})
		})
	}
}

// The first attempt meets the leader's renewal, of which a watch tells late. It is
// made again, but not in step with the renewals.
func TestElector_BecomesSuccessorDespiteConflictsWithRenewals(t *testing.T) {
	for _, watching := range []bool{true, false} {
		for range 40 {
			withHarness(t, func(h *harness) {
				leader := h.newReplica("leader", nil)
				leader.network.DelayRequests(5 * time.Millisecond)
				leader.run()
				time.Sleep(10*time.Second + 950*time.Millisecond + rand.N(150*time.Millisecond))
				follower := h.newReplica("follower", nil)
				follower.network.DelayRequests(5 * time.Millisecond)
				follower.network.DelayWatches(120 * time.Millisecond)
				if !watching {
					follower.network.Fail(http.StatusForbidden, 0, leaderelectiontest.Verbs("watch"))
				}
				follower.run()
				h.waitUntil(2*leaderelection.DefaultRetryPeriod, func() bool { return stateOf(leader).Successor == "follower" })
				if n := h.server.Count("follower", "update"); n > 3 {
					t.Errorf("it took %d writes", n)
				}
			})
		}
	}
}

// A new replica becomes heir in place of one that is a few seconds older, however
// long its process took to join.
func TestElector_ANewReplicaReplacesAnOldSuccessor(t *testing.T) {
	for _, warmup := range []time.Duration{0, time.Minute} {
		withHarness(t, func(h *harness) {
			leader := h.start("leader")
			synctest.Wait()
			h.start("old")
			time.Sleep(5 * time.Second)
			if got := stateOf(leader).Successor; got != "old" {
				t.Fatalf("the heir is %q, want the only one there is", got)
			}
			r := h.newReplica("new", nil)
			time.Sleep(warmup)
			r.run()
			h.waitUntil(2*leaderelection.DefaultRetryPeriod, func() bool { return stateOf(leader).Successor == "new" })
			time.Sleep(time.Minute)
			if got := stateOf(leader).Successor; got != "new" {
				t.Errorf("a minute later the heir is %q, want the new one", got)
			}
		})
	}
}

// After a handover nobody is heir, and hundreds would be. Those that are of an age
// leave it to the first; if all outrank each other, one goes in each RetryPeriod.
func TestElector_FewNominationsOfManyFollowersConflict(t *testing.T) {
	const crowd, handovers, late = 100, 4, 120 * time.Millisecond
	for name, tc := range map[string]struct {
		between time.Duration // the first that came up and the last
		most    int           // refused writes in a handover, on average
	}{
		"they came up within a minute": {time.Minute, 16},
		"they came up within a day":    {24 * time.Hour, 40},
	} {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(h *harness) {
				var refused atomic.Int64
				for i := range 1 + crowd {
					r := h.newReplica(fmt.Sprintf("replica-%d", i), nil, withRoundTrip(func(r *http.Request, next send) (*http.Response, error) {
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
					for _, r := range h.replicas {
						if r.IsLeader() {
							r.stop()
						}
					}
					time.Sleep(7 * time.Second)
				}
				if n := int(refused.Load()-before) / handovers; n > tc.most {
					t.Errorf("%d writes were refused in a handover, want %d at most", n, tc.most)
				}
				if len(h.workingNow()) != 1 {
					t.Errorf("at work: %v", h.workingNow())
				}
			})
		})
	}
}
