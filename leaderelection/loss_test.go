package leaderelection_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// setHolder returns a manual edit of the Lease that sets its holder and its renewTime.
func setHolder(holder string) func(*coordinationv1.Lease) {
	return func(l *coordinationv1.Lease) {
		l.Spec.HolderIdentity = &holder
		l.Spec.RenewTime = &metav1.MicroTime{Time: time.Now()}
	}
}

func TestElector_StopsWhenTrustEndsWhateverFails(t *testing.T) {
	for name, cut := range map[string]func(*leaderelectiontest.Network){
		"requests hang":        func(n *leaderelectiontest.Network) { n.Cut(hang) },
		"requests are refused": func(n *leaderelectiontest.Network) { n.Cut(refuse) },
		"requests fail":        func(n *leaderelectiontest.Network) { n.Fail(500, 0) },
		"requests are throttled": func(n *leaderelectiontest.Network) {
			n.Fail(429, time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(h *harness) {
				leader := h.start("leader")
				time.Sleep(21 * time.Second) // the last renewal was sent at 20 s
				cut(leader.network)
				time.Sleep(11*time.Second - time.Nanosecond)
				h.expectLeader(leader)
				if v := leader.ValidFor(); v != time.Nanosecond {
					t.Errorf("ValidFor = %v one nanosecond before the end of trust", v)
				}
				time.Sleep(time.Nanosecond)
				if leader.IsLeader() {
					t.Error("IsLeader is true at the end of trust")
				}
				h.expectLeader(nil)
				h.wantCause(leader, leaderelection.ErrRenewalFailed)
			})
		})
	}
}

// The reply to a renewal takes nine seconds, and then the network is cut. The trust
// window must start when the renewal is sent, not when its reply arrives.
func TestElector_TrustCountsFromTheRequestNotFromItsReply(t *testing.T) {
	withHarness(t, func(h *harness) {
		leader := h.start("leader")
		time.Sleep(21 * time.Second)
		leader.network.DelayReplies(9 * time.Second)
		leader.network.StallWatches() // without a watch, no event confirms the renewal
		time.Sleep(10 * time.Second)  // the renewal that was sent at 22 s was answered at 31 s
		h.expectLeader(leader)
		leader.network.Heal()
		leader.network.Cut(hang)
		last := int64(0)
		for _, w := range h.server.History() {
			last = max(last, w.After.Spec.RenewTime.UnixMicro())
		}
		end := time.UnixMicro(last).Add(12 * time.Second)
		time.Sleep(time.Until(end))
		h.expectLeader(nil)
	})
}

func TestElector_SurvivesLostRepliesAndASlowServer(t *testing.T) {
	for name, inject := range map[string]func(*leaderelectiontest.Network){
		"replies are lost":   func(n *leaderelectiontest.Network) { n.LoseReplies(hang, leaderelectiontest.Verbs("update")) },
		"replies are broken": func(n *leaderelectiontest.Network) { n.LoseReplies(refuse, leaderelectiontest.Verbs("update")) },
		"requests take 3 s":  func(n *leaderelectiontest.Network) { n.DelayRequests(3 * time.Second) },
		"replies take 3 s":   func(n *leaderelectiontest.Network) { n.DelayReplies(3 * time.Second) },
		"replies lost, no events": func(n *leaderelectiontest.Network) {
			n.StallWatches()
			n.LoseReplies(hang, leaderelectiontest.Verbs("update"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(h *harness) {
				leader := h.start("leader")
				time.Sleep(5 * time.Second)
				first, _ := leader.Term()
				inject(leader.network)
				time.Sleep(5 * time.Minute)
				h.expectLeader(leader)
				if term, _ := leader.Term(); term != first {
					t.Errorf("term %v was followed by term %v, want it to continue", first, term)
				}
			})
		})
	}
}

func TestElector_AForeignHolderEndsTheTermAtOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		inject func(*harness)
		want   error
	}{
		"another holder":              {func(h *harness) { h.editLease(setHolder("foreign")) }, leaderelection.ErrOvertaken},
		"no holder":                   {func(h *harness) { h.editLease(setHolder("")) }, leaderelection.ErrOvertaken},
		"own identity, foreign write": {func(h *harness) { h.editLease(setHolder("leader")) }, leaderelection.ErrOvertaken},
		"empty spec":                  {func(h *harness) { h.editLease(func(l *coordinationv1.Lease) { l.Spec = coordinationv1.LeaseSpec{} }) }, leaderelection.ErrOvertaken},
		"deleted":                     {func(h *harness) { _ = h.server.Delete("default", "my-app-leader") }, leaderelection.ErrLeaseDeleted},
	} {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(h *harness) {
				leader := h.start("leader")
				time.Sleep(5 * time.Second)
				h.expectLeader(leader)
				before, _ := leader.Term()
				tt.inject(h)
				synctest.Wait()
				if after, _ := leader.Term(); after == before {
					t.Errorf("term %v continues, want it to end at once", after)
				}
				if name != "deleted" { // after the deletion of its own Lease, the leader may lead again at once
					h.expectLeader(nil)
				}
				h.wantCause(leader, tt.want)
			})
		})
	}
}

func TestElector_AMetadataEditEndsNoTerm(t *testing.T) {
	withHarness(t, func(h *harness) {
		leader := h.start("leader")
		for range 20 {
			time.Sleep(time.Second)
			h.editLease(func(l *coordinationv1.Lease) { l.Labels = map[string]string{"at": time.Now().Format("150405")} })
		}
		h.expectLeader(leader)
		if lease, _ := h.server.Get("default", "my-app-leader"); lease.Labels["at"] == "" {
			t.Error("a renewal removed the label")
		}
	})
}

func TestElector_ADeletedLeaseIsNotClaimedEarly(t *testing.T) {
	withHarness(t, func(h *harness) {
		slow := h.start("slow", withWork(func(ctx context.Context) {
			<-ctx.Done()
			time.Sleep(2900 * time.Millisecond) // less than Margin
		}))
		synctest.Wait()
		follower := h.start("follower")
		time.Sleep(21 * time.Second)
		slow.network.Cut(hang) // the leader does not observe the deletion, and works until 32 s
		_ = h.server.Delete("default", "my-app-leader")
		took := h.waitUntil(time.Minute, follower.IsLeader)
		if took < 14*time.Second {
			t.Errorf("the follower led %v after the deletion, want it to wait until the deleted Lease has expired", took)
		}
		slow.cancel()
	})
}

func TestElector_LeadsAgainInANewTermAfterALoss(t *testing.T) {
	withHarness(t, func(h *harness) {
		leader := h.start("leader")
		time.Sleep(5 * time.Second)
		first, _ := leader.Term()
		leader.network.Cut(hang)
		time.Sleep(time.Minute)
		h.expectLeader(nil)
		leader.network.Heal()
		h.waitUntil(15*time.Second, leader.IsLeader)
		second, _ := leader.Term()
		if second.Token <= first.Token {
			t.Errorf("token %v after %v, want a greater token", second.Token, first.Token)
		}
	})
}

func TestElector_WorkThatDoesNotStopAfterALossEndsRun(t *testing.T) {
	withHarness(t, func(h *harness) {
		unblock := make(chan struct{})
		r := h.newReplica("slow", nil, withWork(func(context.Context) { <-unblock }))
		r.run()
		synctest.Wait()
		follower := h.start("follower")
		time.Sleep(21 * time.Second)
		r.network.Cut(hang)
		<-r.ran
		if at := h.elapsed(); at != 34700*time.Millisecond {
			t.Errorf("Run returned at %v, want 34.7 s, shortly before others may claim, at 35 s", at)
		}
		if !errors.Is(r.err, leaderelection.ErrWorkStillRunning) || !errors.Is(r.err, leaderelection.ErrRenewalFailed) {
			t.Errorf("Run = %v, want ErrWorkStillRunning and ErrRenewalFailed", r.err)
		}
		h.mu.Lock()
		stopped := len(h.events) == 2 && h.events[1] == "slow stopped"
		h.working = map[string]leaderelection.Term{} // prevents a failure of the harness; in production the process exits here
		h.mu.Unlock()
		if !stopped {
			t.Errorf("OnStoppedLeading was not called: %q", h.events)
		}
		if err := r.Run(h.Context()); !errors.Is(err, leaderelection.ErrWorkStillRunning) {
			t.Errorf("the second Run = %v, want ErrWorkStillRunning", err)
		}
		h.waitUntil(time.Second, follower.IsLeader)
		close(unblock)
		synctest.Wait()
		r.network.Heal()
		r.run()
		time.Sleep(time.Second)
		if r.stop() != nil {
			t.Errorf("Run after the work returned = %v, want nil", r.err)
		}
	})
}

func TestElector_ReportsARewoundHistoryAndLeadsAgain(t *testing.T) {
	withHarness(t, func(h *harness) {
		leader := h.start("leader")
		time.Sleep(5 * time.Second)
		backup := h.server.Snapshot()
		time.Sleep(time.Minute)
		h.server.Restore(backup)
		h.waitUntil(5*time.Second, func() bool { return !leader.IsLeader() })
		h.wantCause(leader, leaderelection.ErrHistoryRewound)
		h.waitUntil(time.Minute, leader.IsLeader)
	})
}

func TestElector_CancelsTheRequestsOfALostTerm(t *testing.T) {
	withHarness(t, func(h *harness) {
		var hanging atomic.Int32
		slow := withWork(func(ctx context.Context) {
			<-ctx.Done()
			time.Sleep(time.Second)
		})
		leader := h.start("a", slow, withRoundTrip(func(r *http.Request, next send) (*http.Response, error) {
			if r.Method != http.MethodPut {
				return next(r)
			}
			hanging.Add(1)
			defer hanging.Add(-1)
			<-r.Context().Done()
			return nil, r.Context().Err()
		}))
		h.waitUntil(time.Second, leader.IsLeader)
		time.Sleep(5 * time.Second)
		if hanging.Load() == 0 {
			t.Fatal("no renewal is in flight")
		}
		h.editLease(setHolder("foreign"))
		h.waitUntil(0, func() bool { return !leader.IsLeader() })
		if n := hanging.Load(); n != 0 {
			t.Errorf("%d renewals of the lost term are in flight, want none", n)
		}
	})
}
