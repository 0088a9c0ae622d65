package integration_test

import (
	"errors"
	"testing"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

func TestElector_SecondProcessWithTheSameIdentityFails(t *testing.T) {
	s := newSharedCluster(t, longLease)
	first := s.candidate("pod-1").run()
	term := first.awaitTerm()
	second := s.candidate("pod-1").run()
	await(t, second.ended, "the second process to fail")
	if !errors.Is(second.result, leaderelection.ErrIdentityInUse) {
		t.Errorf("Run returned %v", second.result)
	}
	select {
	case <-second.terms:
		t.Error("the second process led")
	default:
	}
	term.mustContinue(2)
}

func TestElector_RestartWithTheSameIdentityWaitsForTheOldLease(t *testing.T) {
	s := newSharedCluster(t, shortLease)
	first := s.candidate("pod-1").run()
	first.awaitTerm()
	// The machine of the first candidate loses its network. The pod on this
	// machine is then deleted by force, and a new pod with the same name
	// starts.
	first.cut()
	expires := expiry(s.getLease())
	second := s.candidate("pod-1").run()
	if term := second.awaitTerm(); term.AcquiredAt.Before(expires) {
		t.Errorf("claimed %v before the Lease of the old process expired", expires.Sub(term.AcquiredAt))
	}
}

func TestClientGo_RestartWithTheSameIdentityClaimsAtOnce(t *testing.T) {
	s := newSharedCluster(t, shortLease)
	s.allowOverlap()
	first := s.clientGoCandidate("pod-1").run()
	first.awaitTerm()
	first.cut()
	s.clientGoCandidate("pod-1").run().awaitTerm()
	s.requireOverlap()
}

func TestElector_OldProcessWithTheSameIdentityStopsWhenItHeals(t *testing.T) {
	s := newSharedCluster(t, shortLease)
	first := s.candidate("pod-1").run()
	old := first.awaitTerm()
	first.cut()
	second := s.candidate("pod-1").run()
	second.awaitTerm()
	first.heal()
	if err := old.awaitStop(); !errors.Is(err, leaderelection.ErrRenewalFailed) {
		t.Errorf("the work of the old process was asked to stop because %v", err)
	}
	await(t, first.ended, "the old process to fail")
	if !errors.Is(first.result, leaderelection.ErrIdentityInUse) {
		t.Errorf("the old process's Run returned %v", first.result)
	}
	second.awaitRenewals(2)
}
