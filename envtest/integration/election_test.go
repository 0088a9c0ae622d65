package integration_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

func TestElector_FirstCandidateLeads(t *testing.T) {
	s := newSharedCluster(t, longLease)
	c := s.candidate("pod-1").run()
	term := c.awaitTerm()
	if !c.elector.IsLeader() || c.elector.ValidFor() <= 0 {
		t.Errorf("leads, but IsLeader is %v and ValidFor %v", c.elector.IsLeader(), c.elector.ValidFor())
	}
	if got := c.elector.GetLeader(); got != "pod-1" {
		t.Errorf("GetLeader is %q", got)
	}
	if got := next(t, c.leaders); got != "pod-1" {
		t.Errorf("OnNewLeader reported %q", got)
	}
	lease := s.getLease()
	if got := deref(lease.Spec.HolderIdentity); got != "pod-1" {
		t.Errorf("the Lease names %q", got)
	}
	if current, ok := c.elector.Term(); !ok || current.Token != term.Token {
		t.Errorf("Term is %v, %v, the work's is %v", current, ok, term.Term)
	}
	if version, err := strconv.ParseUint(lease.ResourceVersion, 10, 64); err != nil || term.Token == 0 || uint64(term.Token) > version {
		t.Errorf("the token is %v, the Lease's resourceVersion %v", term.Token, lease.ResourceVersion)
	}
	if err := c.stop(); err != nil {
		t.Errorf("Run returned %v", err)
	}
	if !errors.Is(term.cause(), leaderelection.ErrCancelled) {
		t.Errorf("the work was asked to stop because %v", term.cause())
	}
	if c.elector.IsLeader() || c.elector.ValidFor() != 0 {
		t.Error("Run has returned, and IsLeader is true")
	}
	if got := s.holder(); got != "" {
		t.Errorf("after Run the Lease names %q", got)
	}
}

func TestElector_AFollowerLeadsAfterTheLeaderReleased(t *testing.T) {
	s := newSharedCluster(t, longLease)
	candidates := []*candidate{s.candidate("pod-1").run(), s.candidate("pod-2").run(), s.candidate("pod-3").run()}
	var last leaderelection.Token
	for range 2 {
		term := awaitTerm(candidates...)
		if term.Token <= last {
			t.Errorf("the token is %v, and was %v in an earlier term", term.Token, last)
		}
		last = term.Token
		expires := expiry(s.getLease())
		if err := term.candidate.stop(); err != nil {
			t.Errorf("Run returned %v", err)
		}
		candidates = without(candidates, term.candidate)
		next := awaitTerm(candidates...)
		if !next.AcquiredAt.Before(expires) {
			t.Errorf("the successor waited until the Lease expired")
		}
		next.candidate.terms <- next
	}
}

func without(candidates []*candidate, gone *candidate) []*candidate {
	var rest []*candidate
	for _, c := range candidates {
		if c != gone {
			rest = append(rest, c)
		}
	}
	return rest
}

func TestElector_SecondRunAtTheSameTimeFails(t *testing.T) {
	s := newSharedCluster(t, longLease)
	c := s.candidate("pod-1").run()
	term := c.awaitTerm()
	if err := c.elector.Run(t.Context()); !errors.Is(err, leaderelection.ErrAlreadyRunning) {
		t.Errorf("got %v", err)
	}
	term.mustContinue(2)
}

func TestElector_RunsAgainAfterItReturned(t *testing.T) {
	s := newSharedCluster(t, longLease)
	c := s.candidate("pod-1").run()
	first := c.awaitTerm()
	if err := c.stop(); err != nil {
		t.Error(err)
	}
	second := c.run().awaitTerm()
	if second.Token <= first.Token {
		t.Errorf("the second token is %v, the first was %v", second.Token, first.Token)
	}
}

func TestElector_WithoutReleaseOnCancelTheLeaseExpires(t *testing.T) {
	s := newSharedCluster(t, shortLease)
	s.config.ReleaseOnCancel = false
	first, second := s.candidate("pod-1").run(), s.candidate("pod-2")
	first.awaitTerm()
	if err := first.stop(); err != nil {
		t.Error(err)
	}
	lease := s.getLease()
	if got := deref(lease.Spec.HolderIdentity); got != "pod-1" {
		t.Errorf("the Lease names %q", got)
	}
	if term := second.run().awaitTerm(); term.AcquiredAt.Before(expiry(lease)) {
		t.Errorf("claimed %v before the Lease expired", expiry(lease).Sub(term.AcquiredAt))
	}
}

func TestElector_NotEnabledLeadsWithoutARequest(t *testing.T) {
	s := newSharedCluster(t, longLease)
	client := s.cp.Client("pod-1")
	defer client.Close()
	leading := make(chan context.Context, 1)
	elector, err := leaderelection.New(&leaderelection.Config{}, client.Clientset(), leaderelection.Callbacks{
		OnStartedLeading: func(ctx context.Context) { leading <- ctx },
	}, s.logs.logger("pod-1"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- elector.Run(ctx) }()
	work := next(t, leading)
	if !elector.IsLeader() {
		t.Error("IsLeader is false")
	}
	cancel()
	if err := next(t, ran); err != nil {
		t.Errorf("Run returned %v", err)
	}
	if !errors.Is(context.Cause(work), leaderelection.ErrCancelled) {
		t.Errorf("the work was asked to stop because %v", context.Cause(work))
	}
	if got := client.Network().Count(leaderelectiontest.Any); got != 0 {
		t.Errorf("sent %d requests", got)
	}
}

func TestElector_StepDownLetsAFollowerLead(t *testing.T) {
	s := newSharedCluster(t, longLease)
	first, second := s.candidate("pod-1").run(), s.candidate("pod-2")
	before := first.awaitTerm()
	second.run()
	second.awaitLeader("pod-1")
	if err := first.elector.StepDown(t.Context()); err != nil {
		t.Errorf("StepDown: %v", err)
	}
	if !errors.Is(before.cause(), leaderelection.ErrSteppedDown) {
		t.Errorf("the work was asked to stop because %v", before.cause())
	}
	await(t, before.returned, "the work has returned when StepDown has")
	second.awaitTerm()
	if err := first.elector.StepDown(t.Context()); !errors.Is(err, leaderelection.ErrNotLeading) {
		t.Errorf("StepDown of a follower: %v", err)
	}
	if err := second.stop(); err != nil {
		t.Error(err)
	}
	if after := first.awaitTerm(); after.Token <= before.Token {
		t.Errorf("the second token is %v, the first was %v", after.Token, before.Token)
	}
}

func TestElector_StepDownReleasesWithoutReleaseOnCancel(t *testing.T) {
	s := newSharedCluster(t, longLease)
	s.config.ReleaseOnCancel = false
	c := s.candidate("pod-1").run()
	c.awaitTerm()
	if err := c.elector.StepDown(t.Context()); err != nil {
		t.Errorf("StepDown: %v", err)
	}
	if got := s.holder(); got != "" {
		t.Errorf("the Lease names %q", got)
	}
}

func TestElector_CandidateThatSteppedDownLeadsAgainIfNoOtherDoes(t *testing.T) {
	s := newSharedCluster(t, shortLease)
	c := s.candidate("pod-1").run()
	c.awaitTerm()
	asked := time.Now()
	if err := c.elector.StepDown(t.Context()); err != nil {
		t.Errorf("StepDown: %v", err)
	}
	if again := c.awaitTerm(); again.AcquiredAt.Sub(asked) < s.config.LeaseDuration {
		t.Errorf("led again after %v, before other candidates had time to claim", again.AcquiredAt.Sub(asked))
	}
}

func TestElector_StepDownFromWithinTheWorkDoesNotWait(t *testing.T) {
	s := newSharedCluster(t, longLease)
	c := s.candidate("pod-1")
	asked := make(chan error, 1)
	c.atStart = func(ctx context.Context) { asked <- c.elector.StepDown(ctx) }
	c.run().awaitTerm()
	if err := next(t, asked); err != nil {
		t.Errorf("StepDown: %v", err)
	}
}
