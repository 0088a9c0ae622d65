package integration_test

import (
	"errors"
	"testing"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

func TestElector_SecondProcessUnderOneIdentityIsTurnedAway(t *testing.T) {
	s := newParallelStage(t, calm)
	first := s.candidate("pod-1").run()
	term := first.awaitTerm()
	second := s.candidate("pod-1").run()
	await(t, second.ended, "the second process gives up")
	if !errors.Is(second.result, leaderelection.ErrIdentityInUse) {
		t.Errorf("Run returned %v", second.result)
	}
	select {
	case <-second.terms:
		t.Error("the second process led")
	default:
	}
	term.mustGoOn(2)
}

func TestElector_RestartUnderTheSameIdentityWaitsForTheOldProcess(t *testing.T) {
	s := newParallelStage(t, brisk)
	first := s.candidate("pod-1").run()
	first.awaitTerm()
	first.cut() // its machine is cut off, and its pod was deleted by force
	expires := expiry(s.getLease())
	second := s.candidate("pod-1").run()
	if term := second.awaitTerm(); term.AcquiredAt.Before(expires) {
		t.Errorf("claimed %v before the Lease of the old process ran out", expires.Sub(term.AcquiredAt))
	}
}

func TestClientGo_RestartUnderTheSameIdentityTakesOverAtOnce(t *testing.T) {
	s := newParallelStage(t, brisk)
	s.expectOverlap()
	first := s.bareCandidate("pod-1").run()
	first.awaitTerm()
	first.cut()
	s.bareCandidate("pod-1").run().awaitTerm()
	s.requireOverlap()
}

func TestElector_OldProcessThatHealsUnderTheSameIdentityStops(t *testing.T) {
	s := newParallelStage(t, brisk)
	first := s.candidate("pod-1").run()
	old := first.awaitTerm()
	first.cut()
	second := s.candidate("pod-1").run()
	second.awaitTerm()
	first.heal()
	if err := old.awaitStop(); !errors.Is(err, leaderelection.ErrRenewalFailed) {
		t.Errorf("the old process's work was told to stop because %v", err)
	}
	await(t, first.ended, "the old process gives up")
	if !errors.Is(first.result, leaderelection.ErrIdentityInUse) {
		t.Errorf("the old process's Run returned %v", first.result)
	}
	second.awaitRenewals(2)
}
