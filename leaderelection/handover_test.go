package leaderelection_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
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
		h.expectLeader(follower) // the follower leads at once
		h.wantCause(leader, leaderelection.ErrCancelled)
	})
}

func TestElector_ReleasesOnlyAfterTheWorkReturned(t *testing.T) {
	withHarness(t, func(h *harness) {
		slow := h.start("slow", withWork(func(ctx context.Context) {
			<-ctx.Done()
			time.Sleep(time.Minute) // as long as four LeaseDurations
		}))
		synctest.Wait()
		next := h.start("next")
		time.Sleep(5 * time.Second)
		slow.cancel()
		time.Sleep(59 * time.Second)
		if got := h.workingNow(); !slices.Equal(got, []string{"slow"}) || h.leaseHolder() != "slow" {
			t.Errorf("%v work and %q holds the Lease, want slow while its work stops", got, h.leaseHolder())
		}
		if slow.IsLeader() {
			t.Error("IsLeader is true after the work's context was cancelled")
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
			t.Errorf("the leader read the Lease %d times, want at most one read, at its start", n)
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
		time.Sleep(21 * time.Second) // the last renewal was sent at 20 s
		leader.network.Cut(hang)
		took := h.waitUntil(time.Minute, follower.IsLeader)
		if want := 14 * time.Second; took < want || took > want+2*time.Millisecond {
			t.Errorf("the follower led %v after the crash, want %v: 15 s after the last renewal", took, want)
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
		if got := leader.State().Successor; got != "follower-1" {
			t.Errorf("the successor is %q, want the follower with the highest priority", got)
		}
		before := len(h.server.History())
		leader.stop()
		h.expectLeader(followers["follower-1"])
		time.Sleep(time.Second)
		for _, w := range h.server.History()[before:] {
			if w.Client != "leader" && w.Client != "follower-1" && leaderelectiontest.Holder(w.After) == w.Client {
				t.Errorf("%s claimed the Lease, want no claim but the successor's", w.Client)
			}
		}
	})
}

func TestElector_AMissingSuccessorDelaysAHandoverByHalfASecond(t *testing.T) {
	for name, inject := range map[string]func(h *harness, successor *replica){
		"frozen or cut off":    func(_ *harness, successor *replica) { successor.network.Cut(hang) },
		"its host is gone":     func(_ *harness, successor *replica) { successor.network.Cut(refuse) },
		"may not write":        func(_ *harness, successor *replica) { successor.network.Fail(http.StatusForbidden, 0, writes) },
		"stopped":              func(_ *harness, successor *replica) { _ = successor.stop() },
		"never existed":        func(h *harness, _ *replica) { h.editLease(nominated("nobody")) },
		"is malformed":         func(h *harness, _ *replica) { h.editLease(withAnnotation("successor, successor, successor")) },
		"slow by five seconds": func(_ *harness, successor *replica) { successor.network.DelayRequests(5*time.Second, writes) },
	} {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(h *harness) {
				leader := h.start("leader")
				synctest.Wait()
				successor := h.newReplica("successor", []leaderelection.Option{leaderelection.WithPriority(7)})
				successor.run()
				h.start("other")
				time.Sleep(9 * time.Second)
				if got := leader.State().Successor; got != "successor" {
					t.Fatalf("State.Successor = %q, want %q", got, "successor")
				}
				inject(h, successor)
				time.Sleep(time.Millisecond)
				leader.stop()
				h.waitUntil(501*time.Millisecond, func() bool { return len(h.workingNow()) == 1 })
			})
		})
	}
}

// nominated returns an edit of the Lease that makes identity the successor in the
// current term. No replica of these tests has this identity.
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

// The watches of a hundred followers are slow. After a release, only the successor may
// send a claim.
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
			t.Fatalf("%d claims were sent while the leader was active, want none", n)
		}
		leader.stop()
		h.waitUntil(late+20*time.Millisecond, func() bool { return len(h.workingNow()) == 1 })
		time.Sleep(time.Second)
		if n := claims.Load(); n != 1 {
			t.Errorf("%d claims were sent, want only the successor's", n)
		}
	})
}

// Another follower was nominated after the leader's last renewal. A follower that ranks
// higher must normally wait for the next renewal before it nominates itself. A recently
// joined follower must not wait.
func TestElector_OnlyARecentlyJoinedFollowerReplacesANewSuccessorAtOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		ago  time.Duration // the time since the follower joined
		want string        // the successor before the next renewal
	}{
		"recently joined": {time.Second, "follower"},
		"joined long ago": {time.Hour, "other"},
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
					withAnnotation(fmt.Sprintf("%d 0 0 other", l.Spec.AcquireTime.UnixMicro()))(l)
				})
				time.Sleep(leaderelection.DefaultRetryPeriod * 9 / 10)
				if got := leader.State().Successor; got != tc.want {
					t.Errorf("the successor before the next renewal is %q, want %q", got, tc.want)
				}
				time.Sleep(leaderelection.DefaultRetryPeriod)
				if got := leader.State().Successor; got != "follower" {
					t.Errorf("the successor after the next renewal is %q, want the follower, which ranks higher", got)
				}
			})
		})
	}
}

// The follower's watch is slow. Therefore the first nomination may conflict with a
// renewal. The follower must become the successor with at most three writes.
func TestElector_BecomesSuccessorDespiteConflictsWithRenewals(t *testing.T) {
	for _, watching := range []bool{true, false} {
		conflicts := 0
		for range 40 {
			withHarness(t, func(h *harness) {
				leader := h.newReplica("leader", nil)
				leader.network.DelayRequests(5 * time.Millisecond)
				leader.run()
				time.Sleep(11*time.Second + 850*time.Millisecond + rand.N(150*time.Millisecond)) // the leader renews after 12 s
				follower := h.newReplica("follower", nil)
				follower.network.DelayRequests(5 * time.Millisecond)
				follower.network.DelayWatches(120 * time.Millisecond)
				if !watching {
					follower.network.Fail(http.StatusForbidden, 0, leaderelectiontest.Verbs("watch"))
				}
				follower.run()
				h.waitUntil(2*leaderelection.DefaultRetryPeriod, func() bool { return leader.State().Successor == "follower" })
				n := h.server.Count("follower", "update")
				conflicts += n - 1
				if n > 3 {
					t.Errorf("the nomination took %d writes, want at most 3", n)
				}
			})
		}
		if conflicts == 0 {
			t.Errorf("no nomination conflicted with a renewal, so the test shows nothing (watching: %v)", watching)
		}
	}
}

// A new replica must replace a successor that is a few seconds older. The new process
// may need a minute before it campaigns.
func TestElector_ANewReplicaReplacesAnOldSuccessor(t *testing.T) {
	for _, warmup := range []time.Duration{0, time.Minute} {
		withHarness(t, func(h *harness) {
			leader := h.start("leader")
			synctest.Wait()
			h.start("old")
			time.Sleep(5 * time.Second)
			if got := leader.State().Successor; got != "old" {
				t.Fatalf("the successor is %q, want the only follower", got)
			}
			r := h.newReplica("new", nil)
			time.Sleep(warmup)
			r.run()
			h.waitUntil(2*leaderelection.DefaultRetryPeriod, func() bool { return leader.State().Successor == "new" })
			time.Sleep(time.Minute)
			if got := leader.State().Successor; got != "new" {
				t.Errorf("the successor is %q a minute later, want the new replica", got)
			}
		})
	}
}

// After a handover, a hundred followers may nominate themselves. Only a few of these
// nominations may conflict.
func TestElector_FewNominationsOfManyFollowersConflict(t *testing.T) {
	const followers, handovers, late = 100, 4, 120 * time.Millisecond
	for name, tc := range map[string]struct {
		spread time.Duration // time between the starts of the first and the last process
		most   int           // the average number of conflicts per handover must not exceed this
	}{
		"started within a minute": {time.Minute, 16},
		"started within a day":    {24 * time.Hour, 40},
	} {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(h *harness) {
				var conflicts atomic.Int64
				for i := range 1 + followers {
					r := h.newReplica(fmt.Sprintf("replica-%d", i), nil, withRoundTrip(func(r *http.Request, next send) (*http.Response, error) {
						reply, err := next(r)
						if err == nil && reply.StatusCode == http.StatusConflict {
							conflicts.Add(1)
						}
						return reply, err
					}))
					r.StartedAt(time.Now().Add(-time.Hour - tc.spread*time.Duration(i)/followers))
					r.network.DelayWatches(late)
					r.run()
					synctest.Wait()
					r.JoinedAt(time.Now().Add(-time.Hour))
				}
				time.Sleep(5 * time.Second)
				before := conflicts.Load()
				for range handovers {
					for _, r := range h.replicas {
						if r.IsLeader() {
							r.stop()
						}
					}
					time.Sleep(7 * time.Second)
				}
				if n := int(conflicts.Load()-before) / handovers; n > tc.most {
					t.Errorf("%d writes per handover had a conflict, want at most %d", n, tc.most)
				}
				if len(h.workingNow()) != 1 {
					t.Errorf("%v work, want one leader", h.workingNow())
				}
			})
		})
	}
}

// A rolling update may stop the leader 200 ms after a new replica has started. The new
// replica must be the successor by then, whether there was a successor or not.
func TestElector_ANewReplicaIsNominatedWithin100Milliseconds(t *testing.T) {
	for _, old := range []bool{false, true} {
		for range 40 {
			withHarness(t, func(h *harness) {
				leader := h.start("leader")
				h.waitUntil(time.Second, leader.IsLeader)
				if old {
					h.start("old")
				}
				time.Sleep(10*time.Second + rand.N(2*time.Second)) // at any time between two renewals
				h.start("new")
				h.waitUntil(100*time.Millisecond, func() bool { return leader.State().Successor == "new" })
			})
		}
	}
}

func TestElector_ARollingUpdateOfFastReplicasCostsOneHandover(t *testing.T) {
	for range 20 {
		withHarness(t, func(h *harness) {
			old := []*replica{h.start("old-0"), h.start("old-1"), h.start("old-2")}
			time.Sleep(time.Minute + rand.N(2*time.Second))
			rand.Shuffle(len(old), func(i, j int) { old[i], old[j] = old[j], old[i] })
			h.mu.Lock()
			h.events = nil
			h.mu.Unlock()
			for i, r := range old {
				h.start(fmt.Sprintf("new-%d", i))
				time.Sleep(200 * time.Millisecond) // the new replica is ready
				if err := r.stop(); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(5 * time.Second)
			starts := 0
			h.mu.Lock()
			defer h.mu.Unlock()
			for _, event := range h.events {
				if strings.HasSuffix(event, "started") {
					starts++
				}
			}
			if starts != 1 {
				t.Errorf("the update cost %d handovers: %q", starts, h.events)
			}
		})
	}
}
