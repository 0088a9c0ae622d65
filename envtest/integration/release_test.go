package integration_test

import (
	"testing"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// healsAsItReleases cuts the first leader off until another one leads, and heals
// it then. Its release, if it sends one, is under way.
func healsAsItReleases(first, second *candidate) {
	first.cut()
	second.awaitTerm()
	first.heal()
}

func TestElector_StaleLeaderThatHealsLeavesTheSuccessorAlone(t *testing.T) {
	s := newParallelStage(t, calm) // if its work stops too late, on a busy machine, its Run returns and hears of no successor
	first, second, _ := newReign(s, s.candidate)
	healsAsItReleases(first, second)
	first.awaitLeader("pod-2")
	second.awaitRenewals(2)
	if got := first.Network().Count(leaderelectiontest.Releases); got != 0 {
		t.Errorf("sent %d releases of a Lease that was lost", got)
	}
	if got := s.holder(); got != "pod-2" {
		t.Errorf("the Lease names %q", got)
	}
}

func TestClientGo_StaleLeaderThatHealsWipesTheSuccessorsLease(t *testing.T) {
	s := newParallelStage(t, brisk)
	s.expectOverlap()
	s.config.RenewDeadline = 5500 * time.Millisecond // its release may hang that long
	first, second, _ := newReign(s, s.bareCandidate)
	holders := s.watchHolders()
	healsAsItReleases(first, second)
	for next(t, holders) != "pod-2" {
	}
	for next(t, holders) != "" {
	}
	s.note("pod-2", "its Lease was wiped")
}

func TestElector_RetriesARelease(t *testing.T) {
	s := newParallelStage(t, calm)
	c := s.candidate("pod-1").run()
	c.awaitTerm()
	refusal := c.Network().Fail(503, 0, leaderelectiontest.When(leaderelectiontest.Releases), leaderelectiontest.Times(3))
	if err := c.stop(); err != nil {
		t.Errorf("Run returned %v", err)
	}
	if refusal.Hits() != 3 {
		t.Errorf("the release was refused %d times, want 3", refusal.Hits())
	}
	if got := s.holder(); got != "" {
		t.Errorf("Run has returned, and the Lease names %q", got)
	}
}

func TestClientGo_GivesUpAReleaseThatWasRefusedOnce(t *testing.T) {
	s := newParallelStage(t, calm)
	c := s.bareCandidate("pod-1").run()
	c.awaitTerm()
	refusal := c.Network().Fail(503, 0, leaderelectiontest.When(leaderelectiontest.Releases), leaderelectiontest.Once())
	_ = c.stop()
	if refusal.Hits() != 1 || s.holder() != "pod-1" {
		t.Errorf("client-go released after %d refusals: the test of ours shows nothing; the Lease names %q", refusal.Hits(), s.holder())
	}
}

func TestElector_ReleasesThoughTheReplyWasLost(t *testing.T) {
	t.Parallel()
	for _, mode := range []leaderelectiontest.Mode{leaderelectiontest.Hang, leaderelectiontest.Refuse} {
		t.Run(mode.String(), func(t *testing.T) {
			s := newParallelStage(t, calm)
			first, second := s.candidate("pod-1").run(), s.candidate("pod-2")
			first.awaitTerm()
			second.run()
			first.Network().LoseReplies(mode, leaderelectiontest.When(leaderelectiontest.Releases), leaderelectiontest.Once())
			if err := first.stop(); err != nil {
				t.Errorf("Run returned %v", err)
			}
			second.awaitTerm().mustGoOn(2)
		})
	}
}
