package integration_test

import (
	"errors"
	"testing"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// renewalsIn returns how many renewals a leader sends in the duration d.
func (s *testCluster) renewalsIn(d time.Duration) int { return int(d / s.config.RetryPeriod) }

func TestElector_ReleasesOnlyAfterTheWorkReturned(t *testing.T) {
	s := newSharedCluster(t, longLease)
	first, second := s.candidate("pod-1"), s.candidate("pod-2")
	release := first.blockReturn()
	term := first.run().awaitTerm()
	second.run()
	second.awaitLeader("pod-1")
	first.cancel()
	if err := term.awaitStop(); !errors.Is(err, leaderelection.ErrCancelled) {
		t.Errorf("the work was asked to stop because %v", err)
	}
	if first.elector.IsLeader() {
		t.Error("the work was asked to stop, and IsLeader is true")
	}
	first.awaitRenewals(s.renewalsIn(s.config.LeaseDuration) + 2)
	if got := s.holder(); got != "pod-1" {
		t.Errorf("the work still runs, and the Lease names %q", got)
	}
	select {
	case <-second.terms:
		t.Error("pod-2 leads while the work of pod-1 still runs")
	case <-first.ended:
		t.Error("Run has returned while the work still runs")
	default:
	}
	release()
	second.awaitTerm()
}

func TestClientGo_ReleasesWhileTheWorkStillRuns(t *testing.T) {
	s := newSharedCluster(t, longLease)
	s.allowOverlap()
	first, second := s.clientGoCandidate("pod-1"), s.clientGoCandidate("pod-2")
	release := first.blockReturn()
	first.run().awaitTerm()
	second.run()
	first.cancel()
	second.awaitTerm()
	s.requireOverlap()
	release()
}

func TestElector_WorkBeyondStopTimeoutIsReported(t *testing.T) {
	s := newSharedCluster(t, longLease)
	s.config.StopTimeout = time.Second
	c := s.candidate("pod-1")
	release := c.blockReturn()
	term := c.run().awaitTerm()
	if err := c.stop(); !errors.Is(err, leaderelection.ErrWorkStillRunning) {
		t.Errorf("Run returned %v", err)
	}
	if got := s.holder(); got != "pod-1" {
		t.Errorf("the work still runs, and the Lease names %q", got)
	}
	if err := c.elector.Run(t.Context()); !errors.Is(err, leaderelection.ErrWorkStillRunning) {
		t.Errorf("the work still runs, and Run returned %v", err)
	}
	release()
	await(t, term.returned, "the work returns")
	if again := c.run().awaitTerm(); again.Token <= term.Token {
		t.Errorf("the second token is %v, the first was %v", again.Token, term.Token)
	}
}

func TestElector_RunReturnsBeforeOthersMayLeadIfTheWorkIgnoresItsContext(t *testing.T) {
	s := newSharedCluster(t, shortLease)
	first, second := s.candidate("pod-1"), s.candidate("pod-2")
	first.blockReturn()
	term := first.run().awaitTerm()
	second.run()
	second.awaitLeader("pod-1")
	first.cut()
	await(t, first.ended, "Run returns, so that the process can exit")
	term.stopRecord() // a real process would exit now, so record the end of the work
	if !errors.Is(first.result, leaderelection.ErrWorkStillRunning) {
		t.Errorf("Run returned %v", first.result)
	}
	if err := term.cause(); !errors.Is(err, leaderelection.ErrRenewalFailed) {
		t.Errorf("the work was asked to stop because %v", err)
	}
	second.awaitTerm()
}

func TestElector_CancelledBeforeTheReplyToItsClaimReleasesTheLease(t *testing.T) {
	s := newSharedCluster(t, longLease)
	c := s.candidate("pod-1")
	// Without this fault, the candidate would receive a watch event that shows
	// the claim.
	c.Network().StallWatches()
	reply := c.Network().DelayReplies(leaderelectiontest.Forever, leaderelectiontest.When(leaderelectiontest.Claims("pod-1")))
	c.run()
	reply.Await(t)
	c.Network().Cut(leaderelectiontest.Hang)
	c.cancel()
	c.heal()
	if err := c.stop(); err != nil {
		t.Errorf("Run returned %v", err)
	}
	select {
	case <-c.terms:
		t.Error("the work started although the reply to the claim arrived after the end of Run's context")
	default:
	}
	if got := s.holder(); got != "" {
		t.Errorf("Run has returned, and the Lease names %q", got)
	}
}

func TestClientGo_CancelledBeforeTheReplyToItsClaimKeepsTheLease(t *testing.T) {
	s := newSharedCluster(t, longLease)
	c := s.clientGoCandidate("pod-1")
	reply := c.Network().DelayReplies(leaderelectiontest.Forever, leaderelectiontest.When(leaderelectiontest.Claims("pod-1")), leaderelectiontest.Once())
	c.run()
	reply.Await(t)
	_ = c.stop()
	if got := s.holder(); got != "pod-1" {
		t.Errorf("client-go released the Lease, so the corresponding test of the Elector shows nothing; the Lease names %q", got)
	}
}
