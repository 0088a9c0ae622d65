package integration_test

import (
	"testing"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// healAfterOtherLeads cuts off the first candidate until the second candidate
// leads, and then heals the network of the first candidate. If the first
// candidate tried to release the Lease, the release arrives late.
// healAfterOtherLeads cuts first off until second leads. client-go renews at
// once after a claim. That renewal is awaited too, because a release by first
// that meets it ends with a conflict, which client-go before v0.37 does not retry.
func healAfterOtherLeads(first, second *candidate) {
	first.cut()
	second.awaitTerm()
	second.awaitRenewals(1)
	first.heal()
}

func TestElector_StaleLeaderThatHealsDoesNotReleaseTheNextTerm(t *testing.T) {
	// With a short Lease, Run of the first candidate could return before the
	// first candidate observes the next leader.
	s := newSharedCluster(t, longLease)
	first, second, _ := startTwo(s, s.candidate)
	healAfterOtherLeads(first, second)
	first.awaitLeader("pod-2")
	second.awaitRenewals(2)
	if got := first.Network().Count(leaderelectiontest.Releases); got != 0 {
		t.Errorf("sent %d releases of a Lease that was lost", got)
	}
	if got := s.holder(); got != "pod-2" {
		t.Errorf("the Lease names %q", got)
	}
}

func TestClientGo_StaleLeaderThatHealsReleasesTheNextTerm(t *testing.T) {
	s := newSharedCluster(t, shortLease)
	s.allowOverlap()
	// The renewals fail before pod-2 may claim the Lease, so pod-1 does not
	// observe pod-2. The attempt to release, which may take RenewDeadline as
	// well, is still in flight when pod-2 leads.
	s.config.RenewDeadline = 4500 * time.Millisecond
	first, second, _ := startTwo(s, s.clientGoCandidate)
	holders := s.watchHolders()
	healAfterOtherLeads(first, second)
	for next(t, holders) != "pod-2" {
	}
	for next(t, holders) != "" {
	}
	s.note("pod-2", "its Lease was released by pod-1")
}

func TestElector_RetriesARelease(t *testing.T) {
	s := newSharedCluster(t, longLease)
	c := s.candidate("pod-1").run()
	c.awaitTerm()
	refusal := c.Network().Fail(503, 0, leaderelectiontest.When(leaderelectiontest.Releases), leaderelectiontest.Times(3))
	if err := c.stop(); err != nil {
		t.Errorf("Run returned %v", err)
	}
	if refusal.Hits() != 3 {
		t.Errorf("the release failed %d times, want 3", refusal.Hits())
	}
	if got := s.holder(); got != "" {
		t.Errorf("Run has returned, and the Lease names %q", got)
	}
}

func TestClientGo_DoesNotRetryARelease(t *testing.T) {
	s := newSharedCluster(t, longLease)
	c := s.clientGoCandidate("pod-1").run()
	c.awaitTerm()
	refusal := c.Network().Fail(503, 0, leaderelectiontest.When(leaderelectiontest.Releases), leaderelectiontest.Once())
	_ = c.stop()
	if refusal.Hits() != 1 || s.holder() != "pod-1" {
		t.Errorf("client-go released after %d errors, so the corresponding test of the Elector shows nothing; the Lease names %q", refusal.Hits(), s.holder())
	}
}

func TestElector_ReleasesAlthoughTheReplyWasLost(t *testing.T) {
	t.Parallel()
	for _, mode := range []leaderelectiontest.Mode{leaderelectiontest.Hang, leaderelectiontest.Refuse} {
		t.Run(mode.String(), func(t *testing.T) {
			s := newSharedCluster(t, longLease)
			first, second := s.candidate("pod-1").run(), s.candidate("pod-2")
			first.awaitTerm()
			second.run()
			first.Network().LoseReplies(mode, leaderelectiontest.When(leaderelectiontest.Releases), leaderelectiontest.Once())
			if err := first.stop(); err != nil {
				t.Errorf("Run returned %v", err)
			}
			second.awaitTerm().mustContinue(2)
		})
	}
}
