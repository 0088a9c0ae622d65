package leaderelection

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/clock"
	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// newTestElector returns an Elector that uses client-go's fake clientset.
func newTestElector(t *testing.T) *Elector {
	t.Helper()
	c := valid()
	e, err := New(&c, fake.NewClientset(), Callbacks{OnStartedLeading: func(context.Context) {}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// second returns the time n seconds after the start of the year 2026, in microseconds
// since 1970.
func second(n int) int64 {
	return time.Date(2026, 1, 1, 0, 0, n, 0, time.UTC).UnixMicro()
}

// leaseOf returns the Lease that e campaigns for, with the given resourceVersion,
// holder and renewTime.
func leaseOf(e *Elector, version int, holder string, renewTime int64) *coordinationv1.Lease {
	seconds := int32(15)
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.config.LeaseNamespace, Name: e.config.LeaseName, UID: types.UID("a"), ResourceVersion: strconv.Itoa(version)},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, RenewTime: &metav1.MicroTime{Time: time.UnixMicro(renewTime)}},
	}
}

// A frozen process may resume after the end of its trust window. IsLeader must then
// return false before any timer has fired. Therefore this test starts no timer.
func TestElector_IsLeaderLooksAtTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &Elector{run: &termRun{term: Term{Token: 7}}}
		e.trust.Store(&clock.Trust{Sent: clock.Now(), Window: 12 * time.Second})
		time.Sleep(11 * time.Second)
		if _, leads := e.Term(); !e.IsLeader() || e.ValidFor() <= 0 || !leads {
			t.Errorf("within the window: IsLeader = %t, ValidFor = %v, Term reports %t", e.IsLeader(), e.ValidFor(), leads)
		}
		time.Sleep(2 * time.Second)
		if _, leads := e.Term(); e.IsLeader() || e.ValidFor() != 0 || leads {
			t.Errorf("after the window: IsLeader = %t, ValidFor = %v, Term reports %t", e.IsLeader(), e.ValidFor(), leads)
		}
	})
}

// Some servers ignore the field selector of a watch, and send the events of all Leases.
func TestElector_IgnoresEventsOfOtherLeases(t *testing.T) {
	e := newTestElector(t)
	for _, key := range []struct{ namespace, name, want string }{
		{e.config.LeaseNamespace, "other", ""},
		{"other", e.config.LeaseName, ""},
		{e.config.LeaseNamespace, e.config.LeaseName, "leader"},
	} {
		lease := leaseOf(e, 50, "leader", time.Now().UnixMicro())
		lease.Namespace, lease.Name = key.namespace, key.name
		e.observeEvent(watch.Event{Type: watch.Added, Object: lease})
		if got := e.GetLeader(); got != key.want {
			t.Errorf("after an event of %s/%s the leader is %q, want %q", key.namespace, key.name, got, key.want)
		}
	}
}

// Regression test for this bug: after a restore of the database, the server applied
// late writes of this elector. The elector concluded that a second process used the
// same identity.
func TestElector_OwnLateWritesAreNoDuplicateIdentity(t *testing.T) {
	for _, own := range []bool{true, false} {
		e := newTestElector(t)
		for i := range duplicateLimit {
			renewTime := second(i)
			if own {
				renewTime = e.issueLocked(leasestate.Renewal, 0, false).RenewTime
				e.writes.unacknowledged = nil // the elector no longer waits for the reply to this write
			}
			e.observeEvent(watch.Event{Type: watch.Modified, Object: leaseOf(e, 50+i, e.config.Identity, renewTime)})
		}
		if duplicate := e.observed.duplicates >= duplicateLimit; duplicate == own {
			t.Errorf("records of its own: %t, duplicate identity: %t", own, duplicate)
		}
	}
}

// The reply to a renewal arrives after trust has ended. The renewal must not extend
// trust, because another candidate may already lead.
func TestElector_TrustThatHasEndedDoesNotComeBack(t *testing.T) {
	for late, leads := range map[time.Duration]bool{-1: true, 0: false, time.Second: false} {
		synctest.Test(t, func(t *testing.T) {
			e := newTestElector(t)
			claim := leasestate.Write{Kind: leasestate.Claim, RenewTime: second(1), Base: 49, Sent: clock.Now()}
			renewal := leasestate.Write{Kind: leasestate.Renewal, RenewTime: second(2), Base: 50}
			e.mu.Lock()
			e.held = newHeldLease(claim)
			e.confirmLocked(claim, leaseOf(e, 50, e.config.Identity, second(1)))
			e.unlock()
			run := e.startTerm(t.Context(), e.held)
			defer e.stopWork(ErrSteppedDown)

			time.Sleep(e.config.Window() / 2)
			renewal.Sent = clock.Now()
			time.Sleep(e.config.Window()/2 + late)
			e.mu.Lock()
			e.confirmLocked(renewal, leaseOf(e, 51, e.config.Identity, second(2)))
			e.unlock()
			if e.IsLeader() != leads || (run.context.Err() == nil) != leads {
				t.Errorf("the reply arrives %v after the end of trust: IsLeader = %t, the work's context: %v", late, e.IsLeader(), run.context.Err())
			}
			if lost := errors.Is(context.Cause(run.context), ErrRenewalFailed); lost == leads {
				t.Errorf("the reply arrives %v after the end of trust: the cause is %v", late, context.Cause(run.context))
			}
		})
	}
}

// The server applies a claim, and then the Lease is deleted. A read finds no Lease.
// After that, a late watch event shows the claim. This event must not confirm the
// claim.
func TestElector_ALateEventAfterADeletionConfirmsNoClaim(t *testing.T) {
	for _, underWay := range []bool{true, false} {
		e := newTestElector(t)
		e.mu.Lock()
		w := e.issueLocked(leasestate.Claim, 50, false)
		if underWay {
			e.held = newHeldLease(w)
		}
		e.unlock()
		seq := e.nextSeq()
		if _, err := e.read(t.Context(), time.Second); err != nil { // the fake clientset has no Lease
			t.Fatal(err)
		}
		if e.observed.absentSeq <= seq {
			t.Fatal("the read did not find that the Lease is absent")
		}
		e.observeEvent(watch.Event{Type: watch.Modified, Object: leaseOf(e, 51, e.config.Identity, w.RenewTime)})
		if e.held.isConfirmed() {
			t.Errorf("claim under way: %t: the event confirmed it", underWay)
		}
		if underWay {
			continue
		}
		a := newAttempt(e, e.observedLease(), nil)
		blocked, cancel := context.WithCancel(t.Context())
		cancel()
		e.runCtx = blocked // the next claim fails, because this context is cancelled
		if err := a.update(t.Context(), false); err == nil || e.holding() != nil {
			t.Errorf("update = %v: the next claim took the event as proof", err)
		}
		e.tasks.Wait()
	}
}

// After a restore of the database, the server may return the release of an earlier
// term. This release must not end the current term.
func TestElector_TheReleaseOfAnEarlierHoldReleasesNothing(t *testing.T) {
	e := newTestElector(t)
	claim := leasestate.Write{Kind: leasestate.Claim, RenewTime: second(1), Base: 49, Sent: clock.Now()}
	e.mu.Lock()
	defer e.unlock()
	e.held = newHeldLease(claim)
	e.confirmLocked(claim, leaseOf(e, 50, e.config.Identity, second(1)))
	e.confirmLocked(leasestate.Write{Kind: leasestate.Release, RenewTime: second(2), Base: 50, Sent: clock.Now()}, leaseOf(e, 51, "", second(2)))
	if e.held.phase != phaseHeld {
		t.Errorf("the Lease is %v, want held", e.held.phase)
	}
}

// An elector that observes another leader sends no more writes. Therefore the elector
// must immediately clear the error of its last write.
func TestElector_AForeignLeaderClearsTheErrorOfWritesAtOnce(t *testing.T) {
	e := newTestElector(t)
	e.mu.Lock()
	e.noteResultLocked(&e.requests.writes, "write", errors.New("no answer"))
	e.unlock()
	before := e.State().LastError
	e.mu.Lock()
	e.observeLocked(leasestate.Observation{Lease: leaseOf(e, 50, "other", second(1)), Version: 50, At: time.Now()})
	after, _ := e.requests.failing()
	e.unlock()
	if before == "" || after != "" {
		t.Errorf("LastError = %q, and %q after another leader was observed", before, after)
	}
}

// The elector must apply effects in the order in which goroutines added them.
func TestElector_AppliesEffectsInOrder(t *testing.T) {
	e := newTestElector(t)
	var decided, applied []int
	done := make(chan struct{})
	for g := range 4 {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := range 200 {
				e.mu.Lock()
				n := g*1000 + i
				decided = append(decided, n)
				e.afterUnlock(func() { applied = append(applied, n) })
				e.unlock()
			}
		}()
	}
	for range 4 {
		<-done
	}
	for i, n := range decided {
		if applied[i] != n {
			t.Fatalf("effect %d is that of decision %d, want %d", i, applied[i], n)
		}
	}
}

func TestLossCauses_NameACauseForEachLoss(t *testing.T) {
	for loss := leasestate.NotLost + 1; loss <= leasestate.Rewound; loss++ {
		if lossCauses[loss] == nil {
			t.Errorf("loss %d has no cause", loss)
		}
	}
}

func TestHeldLease_RefusesTransitionsOutOfOrder(t *testing.T) {
	for from, next := range nextPhases {
		for to := phaseClaiming; to <= phaseLost; to++ {
			allowed := false
			for _, n := range next {
				allowed = allowed || n == to
			}
			panicked := func() (panicked bool) {
				defer func() { panicked = recover() != nil }()
				(&heldLease{phase: phase(from)}).enter(to)
				return false
			}()
			if panicked == allowed {
				t.Errorf("from %v to %v: panicked = %t", phase(from), to, panicked)
			}
		}
	}
}

// A slow watch reports the first nomination late. At most 10 of 500 followers may
// nominate themselves before this report. The longest nomination delay must be at most
// 60 % of RetryPeriod.
func TestConfig_NominationDelayLetsFewFollowersGoFirst(t *testing.T) {
	const followers, late = 500, 120 * time.Millisecond
	c := Config{RetryPeriod: DefaultRetryPeriod}
	delay := func(i int) time.Duration { return c.nominationDelayOf((float64(i) + 0.5) / followers) }
	first, together := delay(0), 0
	for i := range followers {
		if delay(i) < first+late {
			together++
		}
	}
	if together > 10 {
		t.Errorf("%d of %d nominate themselves within %v", together, followers, late)
	}
	if last := c.nominationDelayOf(1); last > c.RetryPeriod*6/10 {
		t.Errorf("a follower waits for %v of %v", last, c.RetryPeriod)
	}
}

// A new replica must replace an older successor. If all replicas are of about the same
// age, the first successor must remain.
func TestConfig_MinAgeGapSeparatesNewReplicasFromOldOnes(t *testing.T) {
	c := Config{RetryPeriod: DefaultRetryPeriod}
	started := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name        string
		campaigning time.Duration // how long the follower has campaigned
		younger     time.Duration // how much later the follower's process started than the successor's process
		priority    int32         // the priority of the successor
		want        bool
	}{
		{"new, and the old one started three seconds before", time.Second, 3 * time.Second, 0, true},
		{"new, and the old one is a day old", time.Second, 24 * time.Hour, 0, true},
		{"a minute old, and the old one ten seconds older", time.Minute, 10 * time.Second, 0, true},
		{"both started within a second", time.Second, 50 * time.Millisecond, 0, false},
		{"both started an hour ago within a minute", time.Hour, time.Minute, 0, false},
		{"of the same age", time.Hour, 0, 0, false},
		{"older", time.Second, -time.Hour, 0, false},
		{"the successor has the higher priority", time.Second, time.Hour, 1, false},
		{"the successor has the lower priority", time.Hour, -time.Hour, -1, true},
	} {
		me := leasestate.Nomination{Identity: "me", Started: started.UnixMilli()}
		other := leasestate.Nomination{Identity: "other", Priority: tc.priority, Started: started.Add(-tc.younger).UnixMilli()}
		if got := me.Precedes(other, c.minAgeGap(tc.campaigning)); got != tc.want {
			t.Errorf("%s: Precedes = %t, want %t", tc.name, got, tc.want)
		}
	}
}
