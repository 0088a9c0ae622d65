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
	"k8s.io/utils/ptr"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

func TestElector_ConfirmEndsATermThatTheLeaseDoesNotName(t *testing.T) {
	withHarness(t, func(h *harness) {
		a := h.start("a")
		synctest.Wait()
		term, _ := a.Term()
		a.network.StallWatches()
		if ok, err := a.Confirm(h.Context(), term); !ok || err != nil {
			t.Errorf("Confirm = %v, %v; want true, because the term continues", ok, err)
		}
		if err := h.server.Edit(a.config.LeaseNamespace, a.config.LeaseName, func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = ptr.To("b") }); err != nil {
			t.Fatal(err)
		}
		if ok, err := a.Confirm(h.Context(), term); ok || err != nil {
			t.Errorf("Confirm = %v, %v; want false, because another candidate holds the Lease", ok, err)
		}
		synctest.Wait()
		h.wantCause(a, leaderelection.ErrOvertaken)
		gets := h.server.Count("a", "get")
		if ok, err := a.Confirm(h.Context(), term); ok || err != nil || h.server.Count("a", "get") != gets {
			t.Errorf("Confirm = %v, %v; want false without a read, because the term has ended", ok, err)
		}
	})
}

func TestElector_ConfirmReturnsFalseForAnotherTerm(t *testing.T) {
	withHarness(t, func(h *harness) {
		a := h.start("a")
		if ok, err := a.Confirm(h.Context(), leaderelection.Term{}); ok || err != nil {
			t.Errorf("Confirm = %v, %v; want false before the first term", ok, err)
		}
		synctest.Wait()
		term, _ := a.Term()
		term.Token--
		if ok, err := a.Confirm(h.Context(), term); ok || err != nil {
			t.Errorf("Confirm = %v, %v for an earlier term, want false", ok, err)
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
			t.Errorf("Confirm = %v, %v without an answer, want an error", ok, err)
		}
		if !a.IsLeader() {
			t.Error("the failed read ended the term")
		}
		a.network.Heal()
	})
}

// A hundred calls of Confirm at the same time must share one or two reads of the Lease.
func TestElector_ConcurrentConfirmsShareOneRead(t *testing.T) {
	withHarness(t, func(h *harness) {
		a := h.start("a")
		synctest.Wait()
		term, _ := a.Term()
		a.network.DelayRequests(100 * time.Millisecond)
		gets := h.server.Count("a", "get")
		var calls sync.WaitGroup
		for range 100 {
			calls.Go(func() {
				if ok, err := a.Confirm(h.Context(), term); !ok || err != nil {
					t.Errorf("Confirm = %v, %v; want true, because the term continues", ok, err)
				}
			})
		}
		calls.Wait()
		if n := h.server.Count("a", "get") - gets; n < 1 || n > 2 {
			t.Errorf("a hundred calls of Confirm took %d reads, want 1, or 2 if the first read started before the last call", n)
		}
	})
}

// A read fails at once if the deadline of its context is too near. Only the call of
// Confirm that has this deadline may return the error.
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
		var calls sync.WaitGroup
		confirm := func() {
			if ok, err := a.Confirm(h.Context(), term); !ok || err != nil {
				t.Errorf("Confirm = %v, %v for a caller without a deadline, want true", ok, err)
			}
		}
		calls.Go(confirm)
		synctest.Wait() // the read of the first call is now pending
		calls.Go(func() {
			ctx, cancel := context.WithTimeout(h.Context(), time.Second)
			defer cancel()
			if ok, err := a.Confirm(ctx, term); ok || err == nil {
				t.Errorf("Confirm = %v, %v for the caller with the deadline, want an error", ok, err)
			}
		})
		synctest.Wait()
		calls.Go(confirm)
		calls.Wait()
	})
}

// Confirm must use a read that starts after Confirm was called. An earlier read may show
// an outdated Lease.
func TestElector_ConfirmReadsTheLeaseAfterTheCall(t *testing.T) {
	withHarness(t, func(h *harness) {
		a := h.start("a")
		synctest.Wait()
		term, _ := a.Term()
		a.network.StallWatches()
		a.network.DelayReplies(time.Second)
		first := make(chan bool)
		go func() {
			ok, _ := a.Confirm(h.Context(), term)
			first <- ok
		}()
		synctest.Wait() // the server has answered the first read, but the reply has not arrived
		if err := h.server.Edit(a.config.LeaseNamespace, a.config.LeaseName, func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = ptr.To("b") }); err != nil {
			t.Fatal(err)
		}
		ok, err := a.Confirm(h.Context(), term)
		if ok || err != nil {
			t.Errorf("Confirm = %v, %v; want false, because another candidate holds the Lease", ok, err)
		}
		if !<-first {
			t.Error("the first call returned false, though the Lease changed after its read")
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
			t.Errorf("Confirm = %v, %v, want true", ok, err)
		}
		cancel()
		<-ended
	})
}
