package leaderelection_test

import (
	"context"
	"errors"
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

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// Each test here shows a bug that was found and mended. It stays, so that the bug
// does not come back.

// etcd restored to a backup in which the Lease exists, after its deletion was seen.
func TestElector_LeadsAfterARestoreThatBringsADeletedLeaseBack(t *testing.T) {
	play(t, func(s *stage) {
		gone := s.start("gone")
		time.Sleep(5 * time.Second)
		follower := s.start("follower")
		time.Sleep(5 * time.Second)
		backup := s.server.Snapshot()
		gone.network.Cut(hang)
		gone.cancel()
		time.Sleep(5 * time.Second)
		_ = s.server.Delete("default", "my-app-leader")
		synctest.Wait() // the follower has seen the DELETED event
		s.server.Restore(backup)
		time.Sleep(10 * time.Minute)
		s.expect(follower)
	})
}

// Run returns at once, before others may claim, though OnStoppedLeading blocks.
func TestElector_RunReturnsBeforeOthersMayClaimThoughOnStoppedLeadingBlocks(t *testing.T) {
	for _, early := range []bool{false, true} {
		play(t, func(s *stage) {
			let := make(chan struct{})
			client := s.server.Client("stubborn")
			elector, err := leaderelection.New(config("stubborn"), client.Clientset(), leaderelection.Callbacks{
				OnStartedLeading: func(context.Context) {
					if !early {
						<-let
					}
				},
				OnStoppedLeading: func() { <-let }, // waits for the components to stop
			}, debugLogger)
			if err != nil {
				t.Fatal(err)
			}
			ran := make(chan error, 1)
			go func() { ran <- elector.Run(s.Context()) }()
			time.Sleep(21 * time.Second)
			follower := s.start("follower")
			client.Network().Cut(hang)
			err = <-ran
			if at := s.clock(); at > 35*time.Second {
				t.Errorf("early=%v: Run returned %v at %v, others may claim from 35 s; follower leads: %v", early, err, at, follower.IsLeader())
			}
			close(let)
		})
	}
}

// A foreign holder that was seen before the reply to our claim came.
func TestElector_AForeignHolderSeenBeforeTheReplyToTheClaimEndsTheTerm(t *testing.T) {
	play(t, func(s *stage) {
		r := s.candidate("late", nil)
		r.network.Fail(403, 0, watches)
		r.network.DelayReplies(1500*time.Millisecond, writes)
		r.run()
		time.Sleep(50 * time.Millisecond)
		s.edit(giveTo("stranger"))
		r.network.Heal() // the watch is opened anew and tells of the stranger
		time.Sleep(1300 * time.Millisecond)
		if r.GetLeader() != "stranger" {
			t.Fatalf("GetLeader = %q", r.GetLeader())
		}
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if r.IsLeader() || len(s.workers()) != 0 {
			t.Errorf("at %v: IsLeader %v, %v work, GetLeader %q", s.clock(), r.IsLeader(), s.workers(), r.GetLeader())
		}
	})
}

func TestElector_RunAgainRemembersWhoHeldTheDeletedLease(t *testing.T) {
	play(t, func(s *stage) {
		holder := s.start("holder")
		synctest.Wait()
		follower := s.start("follower")
		time.Sleep(21 * time.Second)
		holder.network.Cut(hang)
		_ = s.server.Delete("default", "my-app-leader")
		time.Sleep(6 * time.Second) // a look has found nothing: that has no version
		_ = follower.stop()
		follower.run()
		time.Sleep(2 * time.Second) // the harness fails if two work
		if follower.IsLeader() {
			t.Errorf("it created the Lease within %v of the deletion", 6*time.Second)
		}
	})
}

// A write that was applied, answered by 500 and Retry-After (as the API server does when etcd answers too late), and sent
// again by client-go itself: the 409 does not say that it was not applied.
func TestElector_AConflictAfterClientGosOwnRetryIsNoLoss(t *testing.T) {
	play(t, func(s *stage) {
		s.server.Client("a").Deny("watch")
		puts := 0
		elector := s.start("a", withTrip(func(r *http.Request, next send) (*http.Response, error) {
			if r.Method != http.MethodPut {
				return next(r)
			}
			puts++
			resp, err := next(r)
			if puts == 3 && err == nil {
				resp.StatusCode, resp.Status = 500, "500 Internal Server Error"
				resp.Header.Set("Retry-After", "1")
			}
			return resp, err
		}))
		s.until(time.Second, elector.IsLeader)
		first, _ := elector.Term()
		time.Sleep(20 * time.Second)
		if term, ok := elector.Term(); term != first {
			t.Errorf("term %v became %v (%v)", first, term, ok)
		}
	})
}

// StepDown from OnStoppedLeading.
func TestElector_StepDownFromOnStoppedLeadingDoesNotWait(t *testing.T) {
	play(t, func(s *stage) {
		var elector *leaderelection.Elector
		ctx, cancel := context.WithCancel(s.Context())
		give, giveUp := context.WithCancel(s.Context())
		elector, err := leaderelection.New(config("a"), s.server.Client("a").Clientset(), leaderelection.Callbacks{
			OnStoppedLeading: func() { _ = elector.StepDown(give) },
		}, debugLogger)
		if err != nil {
			t.Fatal(err)
		}
		ran := make(chan error, 1)
		go func() { ran <- elector.Run(ctx) }()
		s.until(time.Second, elector.IsLeader)
		follower := s.start("follower")
		time.Sleep(time.Second)
		cancel()
		time.Sleep(10 * time.Minute)
		if !follower.IsLeader() {
			t.Errorf("ten minutes later nobody leads, and %s goes on being renewed", s.holder())
		}
		giveUp()
		<-ran
	})
}

// The end of a term during an outage is no sign that the server answers again.
func TestElector_TheEndOfATermIsNoSignThatTheServerAnswers(t *testing.T) {
	play(t, func(s *stage) {
		var lines lineHandler
		client := s.server.Client("a")
		elector, err := leaderelection.New(config("a"), client.Clientset(), leaderelection.Callbacks{}, lines.logger())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(s.Context())
		ran := make(chan error, 1)
		go func() { ran <- elector.Run(ctx) }()
		s.until(time.Second, elector.IsLeader)
		client.Network().Cut(hang)
		time.Sleep(5 * time.Minute)
		cancel()
		<-ran
		for _, line := range lines.all() {
			if strings.Contains(line, "reached again") {
				t.Errorf("in an outage that never ended: %s", line)
			}
		}
	})
}

// More than 64 overlapping renewals.
func TestElector_HundredsOfOverlappingRenewalsLoseNothing(t *testing.T) {
	play(t, func(s *stage) {
		r := s.start("a", withConfig(func(c *leaderelection.Config) {
			c.LeaseDuration, c.RenewDeadline = 1200*time.Second, 1000*time.Second
		}))
		time.Sleep(5 * time.Second)
		first, _ := r.Term()
		r.network.DelayRequests(300*time.Second, writes)
		r.network.DelayReplies(100*time.Millisecond, writes)
		r.network.DelayRequests(900*time.Second, leaderelectiontest.Verbs("get"))
		time.Sleep(5000 * time.Second)
		if term, _ := r.Term(); term != first {
			t.Errorf("term %v became %v: %v; log %v", first, term, r.cause, s.log)
		}
	})
}

// A shared watch that takes a moment to connect.
func TestSharedWatch_ComesUpThoughItTakesAMomentToConnect(t *testing.T) {
	play(t, func(s *stage) {
		leaders := s.server.Client("leaders")
		followers := s.server.Client("followers")
		shared := leaderelection.NewSharedWatch(followers.Clientset(), "default")
		sharedL := leaderelection.NewSharedWatch(leaders.Clientset(), "default")
		ctx, cancel := context.WithCancel(s.Context())
		var wg sync.WaitGroup
		run := func(client *leaderelectiontest.Client, id, name string, sh *leaderelection.SharedWatch) *leaderelection.Elector {
			c := config(id)
			c.LeaseName = name
			e, err := leaderelection.New(c, client.Clientset(), leaderelection.Callbacks{}, debugLogger, leaderelection.WithSharedWatch(sh))
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() { _ = e.Run(ctx) })
			return e
		}
		const n = 8
		var es []*leaderelection.Elector
		for i := range n {
			run(leaders, "l", "lease-"+string(rune('a'+i%26))+string(rune('a'+i/26)), sharedL)
		}
		time.Sleep(time.Second)
		outage := followers.Network().Fail(503, 0, watches)
		followers.Network().DelayReplies(500*time.Millisecond, watches)
		for i := range n {
			es = append(es, run(followers, "f", "lease-"+string(rune('a'+i%26))+string(rune('a'+i/26)), shared))
		}
		time.Sleep(time.Minute)
		outage.Heal()
		time.Sleep(30 * time.Second)
		before := s.server.Count("followers", "watch")
		up := 0
		for range 300 {
			time.Sleep(time.Second)
			for st := range es[0].Changes(s.Context()) {
				if st.Watching {
					up++
				}
				break
			}
		}
		if up < 290 {
			t.Errorf("the watch was up for %d of 300 s; %d watches, %d gets", up, s.server.Count("followers", "watch")-before, s.server.Count("followers", "get"))
		}
		cancel()
		wg.Wait()
	})
}

// Run again looks at once.
func TestElector_RunAgainLooksAtOnce(t *testing.T) {
	play(t, func(s *stage) {
		r := s.candidate("a", nil)
		r.network.Fail(403, 0, watches)
		r.run()
		s.until(time.Second, r.IsLeader)
		time.Sleep(5 * time.Second)
		_ = r.stop()
		r.run()
		if took := s.until(time.Minute, r.IsLeader); took > 100*time.Millisecond {
			t.Errorf("it led after %v, though the Lease is free", took)
		}
	})
}

// Claims that could not even be sent need not be waited for.
func TestElector_StopsSoonThoughItsClaimsCouldNotBeSent(t *testing.T) {
	play(t, func(s *stage) {
		leader := s.start("leader")
		synctest.Wait()
		r := s.start("follower")
		time.Sleep(5 * time.Second)
		leader.network.Cut(hang)
		r.network.Cut(refuse, writes)
		time.Sleep(30 * time.Second)
		before := time.Now()
		_ = r.stop()
		if time.Since(before) > 4*time.Second {
			t.Errorf("Run took %v to return", time.Since(before))
		}
	})
}

// The reply to a release of an earlier term (a transport that is slow to notice the end of its context).
func TestElector_ALateReplyToAReleaseDoesNotTouchTheNextTerm(t *testing.T) {
	play(t, func(s *stage) {
		elector := s.start("a", withTrip(func(r *http.Request, next send) (*http.Response, error) {
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
		s.until(time.Second, elector.IsLeader)
		time.Sleep(5 * time.Second)
		_ = elector.StepDown(s.Context())
		s.until(time.Minute, elector.IsLeader)
		time.Sleep(10 * time.Second) // the late reply has come
		if !elector.IsLeader() {
			t.Error("does not lead")
		}
		s.edit(giveTo("stranger"))
		synctest.Wait()
		if elector.IsLeader() {
			t.Error("a foreign holder is overlooked")
		}
	})
}

func TestElector_AClaimWhoseReplyIsLostIsProvenByReadingItBack(t *testing.T) {
	noWatch := func(n *leaderelectiontest.Network) { n.Fail(403, 0, watches) }
	for name, harm := range map[string]func(*leaderelectiontest.Network){
		"broken, slow watch": func(n *leaderelectiontest.Network) {
			n.LoseReplies(refuse, writes)
			n.DelayWatches(50 * time.Millisecond)
		},
		"broken, no watch":   func(n *leaderelectiontest.Network) { n.LoseReplies(refuse, writes); noWatch(n) },
		"lost, no watch":     func(n *leaderelectiontest.Network) { n.LoseReplies(hang, writes); noWatch(n) },
		"504 after applying": func(n *leaderelectiontest.Network) { n.FailReplies(504, writes); noWatch(n) },
		"3 s late, no watch": func(n *leaderelectiontest.Network) { n.DelayReplies(3*time.Second, writes); noWatch(n) },
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(s *stage) {
				r := s.candidate("a", nil)
				harm(r.network)
				r.run()
				time.Sleep(time.Minute)
				if !r.IsLeader() {
					t.Errorf("%q holds the Lease and does not lead", s.holder())
				}
				r.network.Heal()
			})
		})
	}
}

// A renewal whose connection was reset may still be applied, after the read-back
// that did not find it.
func TestElector_ARenewalAppliedAfterItsReadBackIsKnownForItsOwn(t *testing.T) {
	play(t, func(s *stage) {
		var puts atomic.Int32
		elector := s.start("a", withTrip(func(r *http.Request, next send) (*http.Response, error) {
			if r.Method != http.MethodPut {
				return next(r)
			}
			switch puts.Add(1) {
			case 3: // arrives late
				go func() {
					time.Sleep(100 * time.Millisecond)
					late := r.Clone(context.WithoutCancel(r.Context()))
					late.Body, _ = r.GetBody()
					if resp, err := next(late); err == nil {
						_ = resp.Body.Close()
					}
				}()
				return nil, syscall.ECONNRESET
			case 4: // never arrives
				return nil, syscall.ECONNRESET
			default:
				return next(r)
			}
		}))
		s.until(time.Second, elector.IsLeader)
		first, _ := elector.Term()
		time.Sleep(20 * time.Second)
		if term, _ := elector.Term(); term != first {
			t.Errorf("term %v became %v", first, term)
		}
	})
}

// StepDown said nil though the Lease stayed held.
func TestElector_StepDownSaysThatTheLeaseWasNotReleased(t *testing.T) {
	play(t, func(s *stage) {
		leader := s.start("leader")
		time.Sleep(21 * time.Second)
		leader.network.Fail(503, 0, leaderelectiontest.Verbs("update"))
		if err := leader.StepDown(s.Context()); !errors.Is(err, leaderelection.ErrNotReleased) {
			t.Errorf("StepDown = %v, want ErrNotReleased", err)
		}
		if s.holder() != "leader" {
			t.Errorf("the Lease names %q", s.holder())
		}
	})
}

// A follower went on telling of a claim that had failed long ago.
func TestElector_AFollowersTroubleWithClaimsIsOverWhenSomebodyElseLeads(t *testing.T) {
	play(t, func(s *stage) {
		a := s.candidate("a", nil)
		a.network.Fail(503, 0, leaderelectiontest.Verbs("create", "update"))
		a.run()
		s.until(time.Minute, func() bool { return now(a).LastError != "" })
		b := s.start("b")
		s.until(time.Minute, b.IsLeader)
		time.Sleep(5 * time.Second)
		if trouble := now(a).LastError; trouble != "" {
			t.Errorf("a follower that need not write is in trouble: %s", trouble)
		}
	})
}

// now is the state of an elector.
func now(r *replica) leaderelection.State {
	for state := range r.Changes(context.Background()) {
		return state
	}
	panic("bug: Changes gave nothing")
}

// A state named a leader whose time had run out.
func TestElector_AStateNamesNoLeaderWhoseTimeHasRunOut(t *testing.T) {
	play(t, func(s *stage) {
		leader := s.start("leader")
		time.Sleep(5 * time.Second)
		follower := s.start("follower")
		time.Sleep(5 * time.Second)
		follower.network.Cut(hang)
		time.Sleep(time.Minute)
		if got := now(follower).Leader; got != "" || got != follower.GetLeader() {
			t.Errorf("the state names %q, GetLeader %q, want nobody", got, follower.GetLeader())
		}
		s.expect(leader)
	})
}

// After a failed claim the elector waited for a GET that hung, though the watch
// had told what had come before the claim.
func TestElector_AHungReadAfterAFailedClaimDelaysNothing(t *testing.T) {
	play(t, func(s *stage) {
		briefly := int32(1)
		if _, err := s.server.Put(&coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "my-app-leader"},
			Spec:       coordinationv1.LeaseSpec{HolderIdentity: new("foreign"), LeaseDurationSeconds: &briefly},
		}); err != nil {
			t.Fatal(err)
		}
		r := s.candidate("a", nil)
		r.network.DelayRequests(100*time.Millisecond, writes, leaderelectiontest.Once())
		r.network.Cut(hang, leaderelectiontest.Verbs("get"))
		r.run()
		time.Sleep(1050 * time.Millisecond) // its first claim is on the way
		s.edit(giveTo("another"))
		if took := s.until(10*time.Second, r.IsLeader); took > 2*time.Second {
			t.Errorf("it led %v after a holder came whose time was up after %d s", took, briefly)
		}
	})
}

// Thousands of requests overlapped where the window was hours long.
func TestElector_RequestsThatHangForHoursAreFew(t *testing.T) {
	play(t, func(s *stage) {
		r := s.start("a", withConfig(func(c *leaderelection.Config) {
			c.LeaseDuration, c.RenewDeadline = 4*time.Hour, 3*time.Hour
		}))
		time.Sleep(5 * time.Second)
		var sent atomic.Int64
		r.network.Cut(hang, leaderelectiontest.When(func(leaderelectiontest.Request) bool { sent.Add(1); return true }))
		time.Sleep(2 * time.Hour)
		if n := sent.Load(); n > 400 {
			t.Errorf("%d requests were sent in two hours, and none was answered", n)
		}
		s.expect(r)
	})
}

// Somebody edits the record that an earlier life left behind.
func TestElector_EditsOfALeftOverRecordAreNoTwin(t *testing.T) {
	play(t, func(s *stage) {
		earlier := s.start("pod-0")
		time.Sleep(5 * time.Second)
		earlier.network.Cut(hang)
		earlier.cancel()
		<-earlier.ran
		client := s.server.Client("the next life")
		elector, err := leaderelection.New(config("pod-0"), client.Clientset(), leaderelection.Callbacks{}, debugLogger)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(s.Context())
		ran := make(chan error)
		go func() { ran <- elector.Run(ctx) }()
		for seconds := int32(20); seconds < 25; seconds++ {
			time.Sleep(time.Second)
			_ = s.server.Edit("default", "my-app-leader", func(l *coordinationv1.Lease) { l.Spec.LeaseDurationSeconds = &seconds })
		}
		time.Sleep(time.Minute)
		if !elector.IsLeader() {
			t.Error("it does not lead")
		}
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// The claim of a candidate that was stopped was applied in a history that was
// rewound, so that it looks older than what the candidate has seen.
func TestElector_StopsWithoutABusyLoopAfterALateClaimInARewoundHistory(t *testing.T) {
	play(t, func(s *stage) {
		backup := s.server.Snapshot()
		other := s.start("other")
		time.Sleep(20 * time.Second)
		late := s.start("late")
		time.Sleep(time.Second)
		other.network.Cut(hang)
		_ = s.server.Delete("default", "my-app-leader")
		synctest.Wait() // the DELETED event was seen
		blind := late.network.Cut(hang, leaderelectiontest.Verbs("get", "list", "watch"))
		late.network.LoseReplies(hang, leaderelectiontest.Verbs("create"))
		s.server.Restore(backup)
		for s.server.Count("late", "create") == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		late.cancel()
		time.Sleep(3 * time.Second) // nobody waits for the reply any more
		blind.Heal()
		before := s.server.Count("late", "get")
		time.Sleep(time.Minute) // would never end
		<-late.ran
		if n := s.server.Count("late", "get") - before; n > 60 {
			t.Errorf("%d looks at the Lease", n)
		}
	})
}

func TestElector_TheRequestsOfALostTermAreCancelled(t *testing.T) {
	play(t, func(s *stage) {
		var hanging atomic.Int32
		slow := withWork(func(ctx context.Context) {
			<-ctx.Done()
			time.Sleep(time.Second)
		})
		leader := s.start("a", slow, withTrip(func(r *http.Request, next send) (*http.Response, error) {
			if r.Method != http.MethodPut {
				return next(r)
			}
			hanging.Add(1)
			defer hanging.Add(-1)
			<-r.Context().Done()
			return nil, r.Context().Err()
		}))
		s.until(time.Second, leader.IsLeader)
		time.Sleep(5 * time.Second)
		if hanging.Load() == 0 {
			t.Fatal("no renewal hangs")
		}
		s.edit(giveTo("stranger"))
		s.until(0, func() bool { return !leader.IsLeader() })
		if n := hanging.Load(); n != 0 {
			t.Errorf("%d renewals of the lost term hang on", n)
		}
	})
}
