package leaderelection_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

func TestElector_ConfirmEndsATermThatTheLeaseDoesNotName(t *testing.T) {
	play(t, func(s *stage) {
		a := s.start("a")
		synctest.Wait()
		term, _ := a.Term()
		a.network.StallWatches()
		if ok, err := a.Confirm(s.Context(), term); !ok || err != nil {
			t.Errorf("the term goes on, and Confirm says %v, %v", ok, err)
		}
		if err := s.server.Edit(a.config.LeaseNamespace, a.config.LeaseName, func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = new("b") }); err != nil {
			t.Fatal(err)
		}
		if ok, err := a.Confirm(s.Context(), term); ok || err != nil {
			t.Errorf("another one holds the Lease, and Confirm says %v, %v", ok, err)
		}
		synctest.Wait()
		s.wantCause(a, leaderelection.ErrOvertaken)
		gets := s.server.Count("a", "get")
		if ok, err := a.Confirm(s.Context(), term); ok || err != nil || s.server.Count("a", "get") != gets {
			t.Errorf("the term is over, and Confirm says %v, %v after another look", ok, err)
		}
	})
}

func TestElector_ConfirmKnowsOnlyItsPresentTerm(t *testing.T) {
	play(t, func(s *stage) {
		a := s.start("a")
		if ok, err := a.Confirm(s.Context(), leaderelection.Term{}); ok || err != nil {
			t.Errorf("not leading yet, and Confirm says %v, %v", ok, err)
		}
		synctest.Wait()
		term, _ := a.Term()
		term.Token--
		if ok, err := a.Confirm(s.Context(), term); ok || err != nil {
			t.Errorf("asked for an earlier term Confirm says %v, %v", ok, err)
		}
	})
}

func TestElector_ConfirmKnowsNothingWithoutAnAnswer(t *testing.T) {
	play(t, func(s *stage) {
		a := s.start("a")
		synctest.Wait()
		term, _ := a.Term()
		a.network.Cut(hang)
		ctx, cancel := context.WithTimeout(s.Context(), time.Second)
		defer cancel()
		if ok, err := a.Confirm(ctx, term); ok || err == nil {
			t.Errorf("without an answer Confirm says %v, %v", ok, err)
		}
		if !a.IsLeader() {
			t.Error("the term was ended")
		}
		a.network.Heal()
	})
}

func TestElector_ConfirmWithoutALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		elector, err := leaderelection.New(&leaderelection.Config{}, nil, leaderelection.Callbacks{}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- elector.Run(ctx) }()
		synctest.Wait()
		term, _ := elector.Term()
		if ok, err := elector.Confirm(t.Context(), term); !ok || err != nil {
			t.Errorf("Confirm says %v, %v", ok, err)
		}
		cancel()
		<-ended
	})
}
