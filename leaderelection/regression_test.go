package leaderelection_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// Each test in this file reproduces a bug that was fixed. The comment of each test
// describes the behaviour before the fix.

// Regression test for this bug: a follower had observed the deletion of the Lease. Then
// etcd was restored from a backup that contained the Lease. The follower never claimed
// the Lease.
func TestElector_LeadsAfterARestoreThatBringsADeletedLeaseBack(t *testing.T) {
	withHarness(t, func(h *harness) {
		gone := h.start("gone")
		time.Sleep(5 * time.Second)
		follower := h.start("follower")
		time.Sleep(5 * time.Second)
		backup := h.server.Snapshot()
		gone.network.Cut(hang)
		gone.cancel()
		time.Sleep(5 * time.Second)
		_ = h.server.Delete("default", "my-app-leader")
		synctest.Wait() // the follower has observed the DELETED event
		h.server.Restore(backup)
		time.Sleep(10 * time.Minute)
		h.expectLeader(follower)
	})
}

// Regression test for this bug: Run returned too late if OnStoppedLeading blocked.
// Other candidates could already claim the Lease.
func TestElector_RunReturnsBeforeOthersMayClaimThoughOnStoppedLeadingBlocks(t *testing.T) {
	for _, early := range []bool{false, true} {
		withHarness(t, func(h *harness) {
			unblock := make(chan struct{})
			client := h.server.Client("slow")
			elector, err := leaderelection.New(config("slow"), client.Clientset(), leaderelection.Callbacks{
				OnStartedLeading: func(context.Context) {
					if !early {
						<-unblock
					}
				},
				OnStoppedLeading: func() { <-unblock }, // blocks, as if it waited for components to stop
			}, debugLogger)
			if err != nil {
				t.Fatal(err)
			}
			ran := make(chan error, 1)
			go func() { ran <- elector.Run(h.Context()) }()
			time.Sleep(21 * time.Second)
			follower := h.start("follower")
			client.Network().Cut(hang)
			err = <-ran
			if at := h.elapsed(); at > 35*time.Second {
				t.Errorf("early=%v: Run returned %v at %v, want at most 35 s, when others may claim; follower leads: %v", early, err, at, follower.IsLeader())
			}
			close(unblock)
		})
	}
}

// Regression test for this bug: the elector overlooked another holder if it observed
// that holder before the reply to its own claim arrived.
func TestElector_AForeignHolderSeenBeforeTheReplyToTheClaimEndsTheTerm(t *testing.T) {
	withHarness(t, func(h *harness) {
		r := h.newReplica("late", nil)
		r.network.Fail(403, 0, watches)
		r.network.DelayReplies(1500*time.Millisecond, writes)
		r.run()
		time.Sleep(50 * time.Millisecond)
		h.editLease(setHolder("foreign"))
		r.network.Heal() // the watch is opened and reports the foreign holder
		time.Sleep(1300 * time.Millisecond)
		if r.GetLeader() != "foreign" {
			t.Fatalf("GetLeader = %q, want foreign", r.GetLeader())
		}
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if r.IsLeader() || len(h.workingNow()) != 0 {
			t.Errorf("at %v: IsLeader = %v, %v work, GetLeader = %q; want false and none", h.elapsed(), r.IsLeader(), h.workingNow(), r.GetLeader())
		}
	})
}

// Regression test for this bug: after the deletion of the Lease, a second call of Run
// created the Lease too early. The previous holder might still work.
func TestElector_RunAgainRemembersTheHolderOfTheDeletedLease(t *testing.T) {
	withHarness(t, func(h *harness) {
		holder := h.start("holder")
		synctest.Wait()
		follower := h.start("follower")
		time.Sleep(21 * time.Second)
		holder.network.Cut(hang)
		_ = h.server.Delete("default", "my-app-leader")
		time.Sleep(6 * time.Second) // meanwhile, a read by the follower finds no Lease
		_ = follower.stop()
		follower.run()
		time.Sleep(2 * time.Second) // the harness fails the test if two replicas work
		if follower.IsLeader() {
			t.Errorf("the follower created the Lease within %v of the deletion", 6*time.Second)
		}
	})
}

// Regression test for this bug: a conflict ended a term although no other candidate had
// written the Lease. The API server had applied a write and returned 500 with
// Retry-After. client-go repeated the write and received 409.
func TestElector_AConflictAfterClientGosOwnRetryIsNoLoss(t *testing.T) {
	withHarness(t, func(h *harness) {
		h.server.Client("a").Deny("watch")
		var puts atomic.Int64
		elector := h.start("a", withRoundTrip(func(r *http.Request, next send) (*http.Response, error) {
			if r.Method != http.MethodPut {
				return next(r)
			}
			put := puts.Add(1)
			resp, err := next(r)
			if put == 3 && err == nil {
				resp.StatusCode, resp.Status = 500, "500 Internal Server Error"
				resp.Header.Set("Retry-After", "1")
			}
			return resp, err
		}))
		h.waitUntil(time.Second, elector.IsLeader)
		first, _ := elector.Term()
		time.Sleep(20 * time.Second)
		if term, ok := elector.Term(); term != first {
			t.Errorf("term %v was followed by %v (%v), want it to continue", first, term, ok)
		}
	})
}

// Regression test for this bug: OnStoppedLeading called StepDown, and StepDown waited
// for OnStoppedLeading. Run therefore never returned.
func TestElector_StepDownFromOnStoppedLeadingDoesNotWait(t *testing.T) {
	withHarness(t, func(h *harness) {
		var elector *leaderelection.Elector
		ctx, cancel := context.WithCancel(h.Context())
		stepDownCtx, cancelStepDown := context.WithCancel(h.Context())
		elector, err := leaderelection.New(config("a"), h.server.Client("a").Clientset(), leaderelection.Callbacks{
			OnStoppedLeading: func() { _ = elector.StepDown(stepDownCtx) },
		}, debugLogger)
		if err != nil {
			t.Fatal(err)
		}
		ran := make(chan error, 1)
		go func() { ran <- elector.Run(ctx) }()
		h.waitUntil(time.Second, elector.IsLeader)
		follower := h.start("follower")
		time.Sleep(time.Second)
		cancel()
		time.Sleep(10 * time.Minute)
		if !follower.IsLeader() {
			t.Errorf("the follower does not lead ten minutes later; %s holds the Lease", h.leaseHolder())
		}
		cancelStepDown()
		<-ran
	})
}

// Regression test for this bug: when a term ended during an outage, the elector logged
// that the requests succeeded again.
func TestElector_TheEndOfATermIsNoSignThatTheServerAnswers(t *testing.T) {
	withHarness(t, func(h *harness) {
		var lines lineHandler
		a := h.start("a", withLog(&lines))
		h.waitUntil(time.Second, a.IsLeader)
		a.network.Cut(hang)
		time.Sleep(5 * time.Minute)
		_ = a.stop()
		for _, line := range lines.all() {
			if strings.Contains(line, "succeeding again") {
				t.Errorf("logged during the outage: %s", line)
			}
		}
	})
}

// Regression test for this bug: the elector recognized only its last 64 renewals. If
// more renewals were pending, the term ended.
func TestElector_HundredsOfOverlappingRenewalsEndNoTerm(t *testing.T) {
	withHarness(t, func(h *harness) {
		r := h.start("a", withConfig(func(c *leaderelection.Config) {
			c.LeaseDuration, c.RenewDeadline = 1200*time.Second, 1000*time.Second
		}))
		time.Sleep(5 * time.Second)
		first, _ := r.Term()
		r.network.DelayRequests(300*time.Second, writes)
		r.network.DelayReplies(100*time.Millisecond, writes)
		r.network.DelayRequests(900*time.Second, leaderelectiontest.Verbs("get"))
		time.Sleep(5000 * time.Second)
		if term, _ := r.Term(); term != first {
			t.Errorf("term %v was followed by %v, because %v; events %v", first, term, r.cause, h.events)
		}
	})
}

// Regression test for this bug: while a shared watch was connecting over a slow
// connection, each follower restarted the watch. Therefore the watch was never opened.
func TestSharedWatch_ConnectsOverASlowConnection(t *testing.T) {
	withHarness(t, func(h *harness) {
		leaders := h.server.Client("leaders")
		followers := h.server.Client("followers")
		leadersWatch := leaderelection.NewSharedWatch(leaders.Clientset(), "default")
		followersWatch := leaderelection.NewSharedWatch(followers.Clientset(), "default")
		ctx, cancel := context.WithCancel(h.Context())
		var running sync.WaitGroup
		run := func(client *leaderelectiontest.Client, identity string, number int, shared *leaderelection.SharedWatch) *leaderelection.Elector {
			c := config(identity)
			c.LeaseName = fmt.Sprint("lease-", number)
			elector, err := leaderelection.New(c, client.Clientset(), leaderelection.Callbacks{}, debugLogger, leaderelection.WithSharedWatch(shared))
			if err != nil {
				t.Fatal(err)
			}
			running.Go(func() { _ = elector.Run(ctx) })
			return elector
		}
		const leases = 8
		for i := range leases {
			run(leaders, "leader", i, leadersWatch)
		}
		time.Sleep(time.Second)
		outage := followers.Network().Fail(503, 0, watches)
		followers.Network().DelayReplies(500*time.Millisecond, watches)
		follower := run(followers, "follower", 0, followersWatch)
		for i := 1; i < leases; i++ {
			run(followers, "follower", i, followersWatch)
		}
		time.Sleep(time.Minute)
		outage.Heal()
		time.Sleep(30 * time.Second)
		before := h.server.Count("followers", "watch")
		seconds := 0
		for range 300 {
			time.Sleep(time.Second)
			if follower.State().Watching {
				seconds++
			}
		}
		if seconds < 290 {
			t.Errorf("the watch was open for %d of 300 s, want 290 s; %d watches, %d gets", seconds, h.server.Count("followers", "watch")-before, h.server.Count("followers", "get"))
		}
		cancel()
		running.Wait()
	})
}

// Regression test for this bug: a second call of Run did not read the Lease at once,
// but only at the next poll.
func TestElector_RunAgainReadsTheLeaseAtOnce(t *testing.T) {
	withHarness(t, func(h *harness) {
		r := h.newReplica("a", nil)
		r.network.Fail(403, 0, watches)
		r.run()
		h.waitUntil(time.Second, r.IsLeader)
		time.Sleep(5 * time.Second)
		_ = r.stop()
		r.run()
		if took := h.waitUntil(time.Minute, r.IsLeader); took > 100*time.Millisecond {
			t.Errorf("it led after %v, want at most 100 ms, because the Lease is released", took)
		}
	})
}

// Regression test for this bug: Run waited for the replies to claims, although the
// connection was refused and no claim was sent.
func TestElector_StopsSoonThoughItsClaimsCouldNotBeSent(t *testing.T) {
	withHarness(t, func(h *harness) {
		leader := h.start("leader")
		synctest.Wait()
		r := h.start("follower")
		time.Sleep(5 * time.Second)
		leader.network.Cut(hang)
		r.network.Cut(refuse, writes)
		time.Sleep(30 * time.Second)
		before := time.Now()
		_ = r.stop()
		if time.Since(before) > 4*time.Second {
			t.Errorf("Run took %v to return, want at most 4 s", time.Since(before))
		}
	})
}

// Regression test for this bug: a late reply to the release of an earlier term changed
// the next term. In this test, the reply arrives long after the context of the request
// was cancelled.
func TestElector_ALateReplyToAReleaseDoesNotTouchTheNextTerm(t *testing.T) {
	withHarness(t, func(h *harness) {
		elector := h.start("a", withRoundTrip(func(r *http.Request, next send) (*http.Response, error) {
			release := false
			if r.Method == http.MethodPut {
				body, _ := r.GetBody()
				buf := make([]byte, 4096)
				n, _ := body.Read(buf)
				release = strings.Contains(string(buf[:n]), `"holderIdentity":""`)
			}
			resp, err := next(r)
			if release {
				time.Sleep(20 * time.Second)
			}
			return resp, err
		}))
		h.waitUntil(time.Second, elector.IsLeader)
		time.Sleep(5 * time.Second)
		_ = elector.StepDown(h.Context())
		h.waitUntil(time.Minute, elector.IsLeader)
		time.Sleep(10 * time.Second) // by now the late reply has arrived
		if !elector.IsLeader() {
			t.Error("the elector does not lead after the late reply")
		}
		h.editLease(setHolder("foreign"))
		synctest.Wait()
		if elector.IsLeader() {
			t.Error("the elector leads, though the Lease names a foreign holder")
		}
	})
}

// Regression test for this bug: if the reply to a claim was lost, the candidate
// repeated the claim forever. The candidate held the Lease but never led.
func TestElector_AClaimWhoseReplyIsLostIsConfirmedByReadingItBack(t *testing.T) {
	noWatch := func(n *leaderelectiontest.Network) { n.Fail(403, 0, watches) }
	for name, inject := range map[string]func(*leaderelectiontest.Network){
		"reset, slow watch": func(n *leaderelectiontest.Network) {
			n.LoseReplies(refuse, writes)
			n.DelayWatches(50 * time.Millisecond)
		},
		"reset, no watch":     func(n *leaderelectiontest.Network) { n.LoseReplies(refuse, writes); noWatch(n) },
		"lost, no watch":      func(n *leaderelectiontest.Network) { n.LoseReplies(hang, writes); noWatch(n) },
		"504 after applying":  func(n *leaderelectiontest.Network) { n.FailReplies(504, writes); noWatch(n) },
		"after 3 s, no watch": func(n *leaderelectiontest.Network) { n.DelayReplies(3*time.Second, writes); noWatch(n) },
	} {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(h *harness) {
				r := h.newReplica("a", nil)
				inject(r.network)
				r.run()
				time.Sleep(time.Minute)
				if !r.IsLeader() {
					t.Errorf("%q holds the Lease, but a does not lead", h.leaseHolder())
				}
				r.network.Heal()
			})
		})
	}
}

// Regression test for this bug: the elector treated its own renewal as a write of
// another process. The connection had been reset, and the server applied the renewal
// after the elector had read the Lease.
func TestElector_ARenewalAppliedAfterItsReadBackIsRecognizedAsItsOwn(t *testing.T) {
	withHarness(t, func(h *harness) {
		var puts atomic.Int32
		elector := h.start("a", withRoundTrip(func(r *http.Request, next send) (*http.Response, error) {
			if r.Method != http.MethodPut {
				return next(r)
			}
			switch puts.Add(1) {
			case 3: // the server applies this renewal after 100 ms
				go func() {
					time.Sleep(100 * time.Millisecond)
					late := r.Clone(context.WithoutCancel(r.Context()))
					late.Body, _ = r.GetBody()
					if resp, err := next(late); err == nil {
						_ = resp.Body.Close()
					}
				}()
				return nil, syscall.ECONNRESET
			case 4: // the server never applies this renewal
				return nil, syscall.ECONNRESET
			default:
				return next(r)
			}
		}))
		h.waitUntil(time.Second, elector.IsLeader)
		first, _ := elector.Term()
		time.Sleep(20 * time.Second)
		if term, _ := elector.Term(); term != first {
			t.Errorf("term %v was followed by %v, want it to continue", first, term)
		}
	})
}

// Regression test for this bug: StepDown returned nil although the Lease was not
// released.
func TestElector_StepDownReportsThatTheLeaseWasNotReleased(t *testing.T) {
	withHarness(t, func(h *harness) {
		leader := h.start("leader")
		time.Sleep(21 * time.Second)
		leader.network.Fail(503, 0, leaderelectiontest.Verbs("update"))
		if err := leader.StepDown(h.Context()); !errors.Is(err, leaderelection.ErrNotReleased) {
			t.Errorf("StepDown = %v, want ErrNotReleased", err)
		}
		if h.leaseHolder() != "leader" {
			t.Errorf("the Lease names %q, want leader", h.leaseHolder())
		}
	})
}

// Regression test for this bug: the State of a follower contained the error of a claim
// that had failed long before.
func TestElector_AFollowersClaimErrorIsClearedWhenAnotherCandidateLeads(t *testing.T) {
	withHarness(t, func(h *harness) {
		a := h.newReplica("a", nil)
		a.network.Fail(503, 0, leaderelectiontest.Verbs("create", "update"))
		a.run()
		h.waitUntil(time.Minute, func() bool { return a.State().LastError != "" })
		b := h.start("b")
		h.waitUntil(time.Minute, b.IsLeader)
		time.Sleep(5 * time.Second)
		if lastError := a.State().LastError; lastError != "" {
			t.Errorf("LastError of a follower that does not write is %q, want none", lastError)
		}
	})
}

// Regression test for this bug: State contained a leader whose Lease had expired.
func TestElector_AStateNamesNoExpiredLeader(t *testing.T) {
	withHarness(t, func(h *harness) {
		leader := h.start("leader")
		time.Sleep(5 * time.Second)
		follower := h.start("follower")
		time.Sleep(5 * time.Second)
		follower.network.Cut(hang)
		time.Sleep(time.Minute)
		if got := follower.State().Leader; got != "" || got != follower.GetLeader() {
			t.Errorf("State.Leader = %q, GetLeader = %q; want both empty", got, follower.GetLeader())
		}
		h.expectLeader(leader)
	})
}

// Regression test for this bug: after a conflict, the elector waited for a read that
// hung. The elector should have continued, because the watch had already reported the
// new Lease.
func TestElector_AHungReadAfterAFailedClaimDelaysNothing(t *testing.T) {
	withHarness(t, func(h *harness) {
		seconds := int32(1)
		if _, err := h.server.Put(&coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "my-app-leader"},
			Spec:       coordinationv1.LeaseSpec{HolderIdentity: ptr.To("foreign"), LeaseDurationSeconds: &seconds},
		}); err != nil {
			t.Fatal(err)
		}
		r := h.newReplica("a", nil)
		r.network.DelayRequests(100*time.Millisecond, writes, leaderelectiontest.Once())
		r.network.Cut(hang, leaderelectiontest.Verbs("get"))
		r.run()
		time.Sleep(1050 * time.Millisecond) // the first claim of the replica is pending
		h.editLease(setHolder("another"))
		if took := h.waitUntil(10*time.Second, r.IsLeader); took > 2*time.Second {
			t.Errorf("it led %v after another claim with a LeaseDuration of %d s, want at most 2 s", took, seconds)
		}
	})
}

// Regression test for this bug: an elector with a RenewDeadline of hours had thousands
// of pending requests in an outage.
func TestElector_RequestsThatHangForHoursAreFew(t *testing.T) {
	withHarness(t, func(h *harness) {
		r := h.start("a", withConfig(func(c *leaderelection.Config) {
			c.LeaseDuration, c.RenewDeadline = 4*time.Hour, 3*time.Hour
		}))
		time.Sleep(5 * time.Second)
		var sent atomic.Int64
		r.network.Cut(hang, leaderelectiontest.When(func(leaderelectiontest.Request) bool { sent.Add(1); return true }))
		time.Sleep(2 * time.Hour)
		if n := sent.Load(); n > 400 {
			t.Errorf("%d requests were sent in a two-hour outage, want at most 400", n)
		}
		h.expectLeader(r)
	})
}

// Regression test for this bug: the elector treated manual edits of the Lease as writes
// of a second process. The Lease still named an earlier process with the same identity.
func TestElector_EditsOfALeftOverRecordAreNoDuplicateIdentity(t *testing.T) {
	withHarness(t, func(h *harness) {
		earlier := h.start("pod-0")
		time.Sleep(5 * time.Second)
		earlier.network.Cut(hang)
		earlier.cancel()
		<-earlier.ran
		client := h.server.Client("next process")
		elector, err := leaderelection.New(config("pod-0"), client.Clientset(), leaderelection.Callbacks{}, debugLogger)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(h.Context())
		ran := make(chan error)
		go func() { ran <- elector.Run(ctx) }()
		for seconds := int32(20); seconds < 25; seconds++ {
			time.Sleep(time.Second)
			_ = h.server.Edit("default", "my-app-leader", func(l *coordinationv1.Lease) { l.Spec.LeaseDurationSeconds = &seconds })
		}
		time.Sleep(time.Minute)
		if !elector.IsLeader() {
			t.Error("the next process does not lead")
		}
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// Regression test for this bug: Run read the Lease in a busy loop. A candidate had been
// stopped while its claim was pending, and the claim was applied after a restore of the
// database.
func TestElector_StopsWithoutABusyLoopAfterALateClaimInARewoundHistory(t *testing.T) {
	withHarness(t, func(h *harness) {
		backup := h.server.Snapshot()
		other := h.start("other")
		time.Sleep(20 * time.Second)
		late := h.start("late")
		time.Sleep(time.Second)
		other.network.Cut(hang)
		_ = h.server.Delete("default", "my-app-leader")
		synctest.Wait() // the second replica has observed the DELETED event
		readFault := late.network.Cut(hang, leaderelectiontest.Verbs("get", "list", "watch"))
		late.network.LoseReplies(hang, leaderelectiontest.Verbs("create"))
		h.server.Restore(backup)
		for h.server.Count("late", "create") == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		late.cancel()
		time.Sleep(3 * time.Second) // the elector has stopped waiting for the reply
		readFault.Heal()
		before := h.server.Count("late", "get")
		time.Sleep(time.Minute) // with a busy loop, fake time would not advance
		<-late.ran
		if n := h.server.Count("late", "get") - before; n > 60 {
			t.Errorf("%d reads of the Lease in a minute, want at most 60", n)
		}
	})
}
