package integration_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// startTwo starts the candidates pod-1 and pod-2. pod-1 becomes the leader. The
// result term is the term of pod-1.
func startTwo(s *testCluster, candidate func(string, ...envtest.ClientOption) *candidate) (first, second *candidate, term *termRun) {
	s.Helper()
	first, second = candidate("pod-1"), candidate("pod-2")
	term = first.run().awaitTerm()
	second.run()
	if second.elector != nil {
		second.awaitLeader("pod-1")
	} else {
		second.awaitRead()
	}
	return first, second, term
}

// awaitRead waits until the candidate has read the Lease again. An Elector that
// watches the Lease does not read the Lease. Do not call awaitRead for such an
// Elector.
func (c *candidate) awaitRead() {
	c.testCluster.Helper()
	probe := c.Network().DelayReplies(0, leaderelectiontest.When(leaderelectiontest.Reads), leaderelectiontest.Resource("leases"), leaderelectiontest.Times(2))
	probe.Await(c.testCluster)
	probe.Heal()
}

func TestElector_AnotherLeadsAfterTheLeaderCrashed(t *testing.T) {
	s := newSharedCluster(t, shortLease)
	first, second, _ := startTwo(s, s.candidate)
	first.crash()
	expires := expiry(s.getLease())
	if term := second.awaitTerm(); term.AcquiredAt.Before(expires) {
		t.Errorf("claimed %v before the Lease expired", expires.Sub(term.AcquiredAt))
	}
}

func TestElector_PartitionedLeaderStopsBeforeAnotherLeads(t *testing.T) {
	t.Parallel()
	for _, mode := range []leaderelectiontest.Mode{leaderelectiontest.Hang, leaderelectiontest.Refuse} {
		t.Run(mode.String(), func(t *testing.T) {
			s := newSharedCluster(t, shortLease)
			first, second, term := startTwo(s, s.candidate)
			s.note("pod-1", "cut off")
			first.Network().Cut(mode)
			if err := term.awaitStop(); !errors.Is(err, leaderelection.ErrRenewalFailed) {
				t.Errorf("the work was asked to stop because %v", err)
			}
			if first.elector.IsLeader() {
				t.Error("the work was asked to stop, and IsLeader is true")
			}
			second.awaitTerm()
			first.heal()
			if got := next(t, first.leaders); got != "pod-1" {
				t.Errorf("OnNewLeader of pod-1 reported %q first", got)
			}
			if got := next(t, first.leaders); got != "pod-2" {
				t.Errorf("OnNewLeader of pod-1 reported %q next", got)
			}
			second.awaitRenewals(2)
			if got := s.holder(); got != "pod-2" {
				t.Errorf("the Lease names %q", got)
			}
		})
	}
}

// lateReplyThenPartition delays the reply to one renewal of the first
// candidate. All later requests of this candidate are cut off.
func lateReplyThenPartition(first *candidate) {
	const late = 2500 * time.Millisecond
	s := first.testCluster
	reply := first.Network().DelayReplies(late, leaderelectiontest.When(leaderelectiontest.Claims("pod-1")), leaderelectiontest.Verbs("update"), leaderelectiontest.Once())
	reply.Await(s)
	s.note("pod-1", "its renewal is applied, the reply is delayed, all later requests are cut off")
	first.Network().StallWatches()
	first.Network().Cut(leaderelectiontest.Hang, leaderelectiontest.Times(math.MaxInt)) // with the option Times, Cut does not affect requests in progress
}

func TestElector_LateReplyBeforeAPartitionDoesNotExtendTheTerm(t *testing.T) {
	s := newSharedCluster(t, shortLease)
	first, second, term := startTwo(s, s.candidate)
	lateReplyThenPartition(first)
	if err := term.awaitStop(); !errors.Is(err, leaderelection.ErrRenewalFailed) {
		t.Errorf("the work was asked to stop because %v", err)
	}
	second.awaitTerm()
}

func TestClientGo_LateReplyBeforeAPartitionMakesTwoLeaders(t *testing.T) {
	s := newSharedCluster(t, shortLease)
	s.allowOverlap()
	first, second, _ := startTwo(s, s.clientGoCandidate)
	lateReplyThenPartition(first)
	second.awaitTerm()
	s.requireOverlap()
}

func TestElector_LostReplyToARenewalDoesNotEndTheTerm(t *testing.T) {
	t.Parallel()
	for _, mode := range []leaderelectiontest.Mode{leaderelectiontest.Hang, leaderelectiontest.Refuse} {
		t.Run(mode.String(), func(t *testing.T) {
			s := newSharedCluster(t, longLease)
			first, _, term := startTwo(s, s.candidate)
			first.Network().LoseReplies(mode, leaderelectiontest.When(leaderelectiontest.Claims("pod-1")), leaderelectiontest.Once()).Await(t)
			term.mustContinue(s.renewalsIn(s.config.Window()) + 2)
		})
	}
}

func TestElector_DetectsItsOwnClaimAfterTheReplyWasLost(t *testing.T) {
	t.Parallel()
	for _, mode := range []leaderelectiontest.Mode{leaderelectiontest.Hang, leaderelectiontest.Refuse} {
		t.Run(mode.String(), func(t *testing.T) {
			s := newSharedCluster(t, longLease)
			c := s.candidate("pod-1")
			lost := c.Network().LoseReplies(mode, leaderelectiontest.When(leaderelectiontest.Claims("pod-1")), leaderelectiontest.Once())
			c.run()
			lost.Await(t)
			expires := expiry(s.getLease())
			if term := c.awaitTerm(); !term.AcquiredAt.Before(expires) {
				t.Error("waited until its own claim expired")
			}
		})
	}
}

func TestElector_RenewalThatArrivesAfterTheNextClaimIsRejected(t *testing.T) {
	s := newSharedCluster(t, shortLease)
	first, second, _ := startTwo(s, s.candidate)
	late := first.Network().ArriveLate(leaderelectiontest.Forever, leaderelectiontest.When(leaderelectiontest.Claims("pod-1")), leaderelectiontest.Once())
	late.Await(t)
	first.cut()
	second.awaitTerm()
	late.Heal()
	second.awaitRenewals(3)
	if got := s.holder(); got != "pod-2" {
		t.Errorf("the Lease names %q", got)
	}
}
