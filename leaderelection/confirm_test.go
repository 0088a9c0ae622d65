package leaderelection_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

func TestElector_ConfirmEndsATermThatTheLeaseDoesNotName(t *testing.T) {
	withHarness(t, func(h *harness) {
		a := h.start("a")
		synctest.Wait()
		term, _ := a.Term()
		a.network.StallWatches()
		if ok, err := a.Confirm(h.Context(), term); !ok || err != nil {
			t.Errorf("the term goes on, and Confirm says %v, %v", ok, err)
		}
		if err := h.server.Edit(a.config.LeaseNamespace, a.config.LeaseName, func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = new("b") }); err != nil {
			t.Fatal(err)
		}
		if ok, err := a.Confirm(h.Context(), term); ok || err != nil {
			t.Errorf("another one holds the Lease, and Confirm says %v, %v", ok, err)
		}
		synctest.Wait()
		h.wantCause(a, leaderelection.ErrOvertaken)
		gets := h.server.Count("a", "get")
		if ok, err := a.Confirm(h.Context(), term); ok || err != nil || h.server.Count("a", "get") != gets {
			t.Errorf("the term is over, and Confirm says %v, %v after another look", ok, err)
		}
	})
}

func TestElector_ConfirmReturnsFalseForAnotherTerm(t *testing.T) {
	withHarness(t, func(h *harness) {
		a := h.start("a")
		if ok, err := a.Confirm(h.Context(), leaderelection.Term{}); ok || err != nil {
			t.Errorf("not leading yet, and Confirm says %v, %v", ok, err)
		}
		synctest.Wait()
		term, _ := a.Term()
		term.Token--
		if ok, err := a.Confirm(h.Context(), term); ok || err != nil {
			t.Errorf("asked for an earlier term Confirm says %v, %v", ok, err)
		}
	})
}

func TestElector_ConfirmReturnsAnErrorWithoutAnAnswer(t *testing.T) {
	withHarness(t, func(h *harness) {
		a := h.start("a")
		synctest.Wait()
		term, _ := a.Term()
		a.network.Cut(hang)
		ctx, cancel := context.WithTimeout(h.Context(), time.Second)
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

// Each refused write asks, and a hundred workers may be refused at once.
func TestElector_ConcurrentConfirmsShareOneRead(t *testing.T) {
	withHarness(t, func(h *harness) {
		a := h.start("a")
		synctest.Wait()
		term, _ := a.Term()
		a.network.DelayRequests(100 * time.Millisecond)
		gets := h.server.Count("a", "get")
		var asking sync.WaitGroup
		for range 100 {
			asking.Go(func() {
				if ok, err := a.Confirm(h.Context(), term); !ok || err != nil {
					t.Errorf("the term goes on, and Confirm says %v, %v", ok, err)
				}
			})
		}
		asking.Wait()
		if n := h.server.Count("a", "get") - gets; n < 1 || n > 2 {
			t.Errorf("a hundred were answered after %d looks, want 1, or 2 if the first had begun before some asked", n)
		}
	})
}

// A client whose rate is limited fails at once if it could not send in time: that is
// no answer to those who have time.
func TestElector_ConfirmDoesNotFailWithAnotherCallersDeadline(t *testing.T) {
	withHarness(t, func(h *harness) {
		a := h.start("a", withRoundTrip(func(r *http.Request, next send) (*http.Response, error) {
			if r.Method == http.MethodGet {
				time.Sleep(100 * time.Millisecond)
				if deadline, ok := r.Context().Deadline(); ok && time.Until(deadline) < 2*time.Second {
					return nil, errors.New("would exceed the deadline")
				}
			}
			return next(r)
		}))
		time.Sleep(time.Second)
		term, _ := a.Term()
		var asking sync.WaitGroup
		patient := func() {
			if ok, err := a.Confirm(h.Context(), term); !ok || err != nil {
				t.Errorf("a patient one got %v, %v", ok, err)
			}
		}
		asking.Go(patient)
		synctest.Wait() // it looks, and the next two wait for their turn, in this order
		asking.Go(func() {
			ctx, cancel := context.WithTimeout(h.Context(), time.Second)
			defer cancel()
			if ok, err := a.Confirm(ctx, term); ok || err == nil {
				t.Errorf("the one in a hurry got %v, %v", ok, err)
			}
		})
		synctest.Wait()
		asking.Go(patient)
		asking.Wait()
	})
}

// What was seen before somebody asked is no answer: the Lease has changed since.
func TestElector_ConfirmReadsTheLeaseAfterTheCall(t *testing.T) {
	withHarness(t, func(h *harness) {
		a := h.start("a")
		synctest.Wait()
		term, _ := a.Term()
		a.network.StallWatches()
		a.network.DelayReplies(time.Second) // the reply is on its way that long
		first := make(chan bool)
		go func() {
			ok, _ := a.Confirm(h.Context(), term)
			first <- ok
		}()
		synctest.Wait() // the first look has been answered, and nobody has heard
		if err := h.server.Edit(a.config.LeaseNamespace, a.config.LeaseName, func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = new("b") }); err != nil {
			t.Fatal(err)
		}
		ok, err := a.Confirm(h.Context(), term)
		if ok || err != nil {
			t.Errorf("another one holds the Lease, and Confirm says %v, %v", ok, err)
		}
		if !<-first {
			t.Error("the first one was answered with what was written after it had looked")
		}
	})
}

func TestElector_ConfirmSucceedsWithoutALease(t *testing.T) {
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
