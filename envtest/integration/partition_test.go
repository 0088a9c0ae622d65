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

// newReign returns a stage on which pod-1 leads and pod-2 knows it.
func newReign(s *stage, candidate func(string, ...envtest.ClientOption) *candidate) (first, second *candidate, term *reign) {
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

// awaitRead waits until the candidate has read the Lease once more. Ours need not
// read it: they watch.
func (c *candidate) awaitRead() {
	c.stage.Helper()
	probe := c.Network().DelayReplies(0, leaderelectiontest.When(leaderelectiontest.Reads), leaderelectiontest.Resource("leases"), leaderelectiontest.Times(2))
	probe.Await(c.stage)
	probe.Heal()
}

func TestElector_CrashIsFollowedByAnotherLeader(t *testing.T) {
	s := newParallelStage(t, brisk)
	first, second, _ := newReign(s, s.candidate)
	first.crash()
	expires := expiry(s.getLease())
	if term := second.awaitTerm(); term.AcquiredAt.Before(expires) {
		t.Errorf("claimed %v before the Lease ran out", expires.Sub(term.AcquiredAt))
	}
}

func TestElector_PartitionedLeaderStopsBeforeAnotherLeads(t *testing.T) {
	t.Parallel()
	for _, mode := range []leaderelectiontest.Mode{leaderelectiontest.Hang, leaderelectiontest.Refuse} {
		t.Run(mode.String(), func(t *testing.T) {
			s := newParallelStage(t, brisk)
			first, second, term := newReign(s, s.candidate)
			s.note("pod-1", "cut off")
			first.Network().Cut(mode)
			if err := term.awaitStop(); !errors.Is(err, leaderelection.ErrRenewalFailed) {
				t.Errorf("the work was told to stop because %v", err)
			}
			if first.elector.IsLeader() {
				t.Error("the work was told to stop, and IsLeader is true")
			}
			second.awaitTerm()
			first.heal()
			if got := next(t, first.leaders); got != "pod-1" {
				t.Errorf("pod-1 saw leader %q first", got)
			}
			if got := next(t, first.leaders); got != "pod-2" {
				t.Errorf("pod-1 saw leader %q next", got)
			}
			second.awaitRenewals(2)
			if got := s.holder(); got != "pod-2" {
				t.Errorf("the Lease names %q", got)
			}
		})
	}
}

// lateReplyThenPartition has the first leader get the reply to a renewal late,
// and nothing after it.
func lateReplyThenPartition(first *candidate) {
	const late = 2500 * time.Millisecond
	s := first.stage
	reply := first.Network().DelayReplies(late, leaderelectiontest.When(leaderelectiontest.Claims("pod-1")), leaderelectiontest.Verbs("update"), leaderelectiontest.Once())
	reply.Await(s)
	s.note("pod-1", "its renewal is applied, the reply travels, all that follows is cut off")
	first.Network().StallWatches()
	first.Network().Cut(leaderelectiontest.Hang, leaderelectiontest.Times(math.MaxInt)) // what is under way is spared
}

func TestElector_LateReplyThenPartitionMakesNoSecondLeader(t *testing.T) {
	s := newParallelStage(t, brisk)
	first, second, term := newReign(s, s.candidate)
	lateReplyThenPartition(first)
	if err := term.awaitStop(); !errors.Is(err, leaderelection.ErrRenewalFailed) {
		t.Errorf("the work was told to stop because %v", err)
	}
	second.awaitTerm()
}

func TestClientGo_LateReplyThenPartitionMakesTwoLeaders(t *testing.T) {
	s := newParallelStage(t, brisk)
	s.expectOverlap()
	first, second, _ := newReign(s, s.bareCandidate)
	lateReplyThenPartition(first)
	second.awaitTerm()
	s.requireOverlap()
}

func TestElector_LostReplyToARenewalEndsNothing(t *testing.T) {
	t.Parallel()
	for _, mode := range []leaderelectiontest.Mode{leaderelectiontest.Hang, leaderelectiontest.Refuse} {
		t.Run(mode.String(), func(t *testing.T) {
			s := newParallelStage(t, calm)
			first, _, term := newReign(s, s.candidate)
			first.Network().LoseReplies(mode, leaderelectiontest.When(leaderelectiontest.Claims("pod-1")), leaderelectiontest.Once()).Await(t)
			term.mustGoOn(s.renewalsIn(s.config.Window()) + 2)
		})
	}
}

func TestElector_LostReplyToTheClaimIsFoundOut(t *testing.T) {
	t.Parallel()
	for _, mode := range []leaderelectiontest.Mode{leaderelectiontest.Hang, leaderelectiontest.Refuse} {
		t.Run(mode.String(), func(t *testing.T) {
			s := newParallelStage(t, calm)
			c := s.candidate("pod-1")
			lost := c.Network().LoseReplies(mode, leaderelectiontest.When(leaderelectiontest.Claims("pod-1")), leaderelectiontest.Once())
			c.run()
			lost.Await(t)
			expires := expiry(s.getLease())
			if term := c.awaitTerm(); !term.AcquiredAt.Before(expires) {
				t.Error("waited until its own claim had run out")
			}
		})
	}
}

func TestElector_RenewalThatArrivesAfterTheSuccessorsClaimChangesNothing(t *testing.T) {
	s := newParallelStage(t, brisk)
	first, second, _ := newReign(s, s.candidate)
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
