package leaderelectiontest_test

import (
	"context"
	"errors"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// fixture contains an in-memory server with one Lease, and a client of the
// server. The candidate "a" holds the Lease at the start.
type fixture struct {
	*testing.T
	server *leaderelectiontest.Server
	client *leaderelectiontest.Client
	net    *leaderelectiontest.Network
	leases coordinationclient.LeaseInterface
	lease  *coordinationv1.Lease
}

func withFixture(t *testing.T, test func(*fixture)) {
	t.Helper()
	bubble(t, func(t *testing.T, server *leaderelectiontest.Server) {
		created, err := server.Put(lease("a"))
		if err != nil {
			t.Fatal(err)
		}
		client := server.Client("pod-1")
		test(&fixture{t, server, client, client.Network(), client.Clientset().CoordinationV1().Leases("default"), created})
	})
}

// hold sends one update, which writes the parameter holder into the Lease. The
// results are the duration and the error of the request.
func (h *fixture) hold(holder string, timeout time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(h.Context(), timeout)
	defer cancel()
	change := h.lease.DeepCopy()
	change.Spec.HolderIdentity = &holder
	start := time.Now()
	_, err := h.leases.Update(ctx, change, metav1.UpdateOptions{})
	return time.Since(start), err
}

func (h *fixture) holder(want string) {
	h.Helper()
	lease, err := h.server.Get("default", "app")
	if err != nil || leaderelectiontest.Holder(lease) != want {
		h.Fatalf("the Lease is %v, want holder %q", lease, want)
	}
}

// took returns a function that checks the results of hold. The test
// fails unless the request took exactly the time want and returned the error
// wantErr.
func (h *fixture) took(want time.Duration, wantErr error) func(time.Duration, error) {
	h.Helper()
	return func(got time.Duration, err error) {
		h.Helper()
		if got != want || !errors.Is(err, wantErr) {
			h.Fatalf("took %v and ended with %v, want %v and %v", got, err, want, wantErr)
		}
	}
}

func TestNetwork_HangingCutHoldsRequestsUntilItIsHealed(t *testing.T) {
	withFixture(t, func(h *fixture) {
		h.net.Cut(leaderelectiontest.Hang)
		h.took(time.Second, context.DeadlineExceeded)(h.hold("b", time.Second))
		h.holder("a")
		time.AfterFunc(time.Second, h.net.Heal)
		h.took(time.Second, nil)(h.hold("b", time.Minute))
		h.holder("b")
	})
}

func TestNetwork_RefusingCutFailsRequestsWithoutDelay(t *testing.T) {
	withFixture(t, func(h *fixture) {
		fault := h.net.Cut(leaderelectiontest.Refuse, leaderelectiontest.Verbs("update"))
		h.took(0, syscall.ECONNREFUSED)(h.hold("b", time.Minute))
		if _, err := h.leases.Get(h.Context(), "app", metav1.GetOptions{}); err != nil {
			t.Fatal(err)
		}
		fault.Heal()
		h.took(0, nil)(h.hold("b", time.Minute))
	})
}

func TestNetwork_DelayedRequestIsLostIfItsSenderGivesUp(t *testing.T) {
	withFixture(t, func(h *fixture) {
		h.net.DelayRequests(3 * time.Second)
		h.took(time.Second, context.DeadlineExceeded)(h.hold("b", time.Second))
		time.Sleep(time.Minute)
		h.holder("a")
		h.took(3*time.Second, nil)(h.hold("b", time.Minute))
	})
}

func TestNetwork_RequestIsAppliedBeforeItsReplyIsDelayed(t *testing.T) {
	withFixture(t, func(h *fixture) {
		h.net.DelayReplies(3*time.Second, leaderelectiontest.Once())
		h.took(time.Second, context.DeadlineExceeded)(h.hold("b", time.Second))
		h.holder("b")
		h.took(0, nil)(0, func() error { _, err := h.leases.Get(h.Context(), "app", metav1.GetOptions{}); return err }())
	})
}

func TestNetwork_RequestWhoseReplyIsLostIsApplied(t *testing.T) {
	withFixture(t, func(h *fixture) {
		h.net.LoseReplies(leaderelectiontest.Hang, leaderelectiontest.Once())
		h.took(time.Second, context.DeadlineExceeded)(h.hold("b", time.Second))
		h.holder("b")
		h.lease, _ = h.server.Get("default", "app")
		h.net.LoseReplies(leaderelectiontest.Refuse)
		h.took(0, syscall.ECONNRESET)(h.hold("c", time.Minute))
		h.holder("c")
	})
}

func TestNetwork_LateRequestArrivesAfterItsDelay(t *testing.T) {
	withFixture(t, func(h *fixture) {
		h.net.ArriveLate(5*time.Second, leaderelectiontest.When(func(r leaderelectiontest.Request) bool {
			return leaderelectiontest.Holder(r.Lease) == "b"
		}))
		h.took(time.Second, context.DeadlineExceeded)(h.hold("b", time.Second))
		h.holder("a")
		time.Sleep(4 * time.Second)
		synctest.Wait()
		h.holder("b")
		h.lease, _ = h.server.Get("default", "app")
		h.took(5*time.Second, nil)(h.hold("b", time.Minute))
	})
}

func TestNetwork_FailAnswersBeforeAndFailRepliesAfterTheRequestIsApplied(t *testing.T) {
	withFixture(t, func(h *fixture) {
		h.net.Fail(http.StatusServiceUnavailable, 0, leaderelectiontest.Times(2))
		for range 2 {
			if _, err := h.hold("b", time.Minute); !apierrors.IsServiceUnavailable(err) {
				t.Fatal(err)
			}
		}
		h.net.FailReplies(http.StatusGatewayTimeout, leaderelectiontest.Once())
		if _, err := h.hold("b", time.Minute); !apierrors.IsTimeout(err) {
			t.Fatal(err)
		}
		h.holder("b")
		h.net.Fail(http.StatusTooManyRequests, 3*time.Second, leaderelectiontest.Once())
		h.lease, _ = h.server.Get("default", "app")
		h.took(3*time.Second, nil)(h.hold("c", time.Minute)) // client-go waits for the time in Retry-After and sends the request again
	})
}

func TestClient_DeniedVerbsAreForbidden(t *testing.T) {
	withFixture(t, func(h *fixture) {
		h.client.Deny("update", "create")
		if _, err := h.hold("b", time.Minute); !apierrors.IsForbidden(err) {
			t.Fatal(err)
		}
		h.client.Allow("update")
		h.took(0, nil)(h.hold("b", time.Minute))
		if err := h.server.Delete("default", "app"); err != nil {
			t.Fatal(err)
		}
		// An update that creates a Lease needs the right to create Leases.
		if _, err := h.leases.Update(h.Context(), lease("c"), metav1.UpdateOptions{}); !apierrors.IsForbidden(err) {
			t.Fatal(err)
		}
		h.client.Allow()
		if _, err := h.leases.Update(h.Context(), lease("c"), metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	})
}

// events counts the events that the watch can deliver now. If the watch has
// ended, the result open is false.
func (h *fixture) events(w watch.Interface) (count int, open bool) {
	synctest.Wait()
	for {
		select {
		case _, ok := <-w.ResultChan():
			if !ok {
				return count, false
			}
			count++
			synctest.Wait()
		default:
			return count, true
		}
	}
}

func (h *fixture) touch() {
	h.Helper()
	err := h.server.Edit("default", "app", func(l *coordinationv1.Lease) {
		now := metav1.NowMicro()
		l.Spec.RenewTime = &now
		l.Generation++
		transitions := int32(1)
		if l.Spec.LeaseTransitions != nil {
			transitions = *l.Spec.LeaseTransitions + 1
		}
		l.Spec.LeaseTransitions = &transitions
	})
	if err != nil {
		h.Fatal(err)
	}
}

func TestNetwork_HoldsWatchEvents(t *testing.T) {
	withFixture(t, func(h *fixture) {
		w, err := h.leases.Watch(h.Context(), metav1.ListOptions{ResourceVersion: h.lease.ResourceVersion})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Stop()
		expect := func(want int, wantOpen bool) {
			t.Helper()
			if got, open := h.events(w); got != want || open != wantOpen {
				t.Fatalf("%d events, open %v; want %d, %v", got, open, want, wantOpen)
			}
		}
		for _, fault := range []func() *leaderelectiontest.Fault{
			func() *leaderelectiontest.Fault { return h.net.StallWatches() },
			func() *leaderelectiontest.Fault { return h.net.Cut(leaderelectiontest.Hang) },
		} {
			healer := fault()
			h.touch()
			h.touch()
			expect(0, true)
			healer.Heal()
			expect(2, true)
		}
		h.net.DelayWatches(2 * time.Second)
		h.touch()
		time.Sleep(time.Second)
		h.touch()
		time.Sleep(time.Second)
		expect(1, true)
		time.Sleep(time.Second)
		expect(1, true)
		h.net.DropWatches()
		expect(0, false)
	})
}

func TestNetwork_ArriveLateDelaysAWatch(t *testing.T) {
	withFixture(t, func(h *fixture) {
		h.net.ArriveLate(3 * time.Second)
		start := time.Now()
		w, err := h.leases.Watch(h.Context(), metav1.ListOptions{ResourceVersion: h.lease.ResourceVersion})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Stop()
		h.took(3*time.Second, nil)(time.Since(start), nil)
		h.touch()
		if got, open := h.events(w); got != 1 || !open {
			t.Errorf("%d events, open %v", got, open)
		}
	})
}

// In an earlier version, a watch that hung beyond the timeout of the watch ran in
// an endless loop.
func TestNetwork_WatchThatHangsBeyondItsTimeoutEndsWhenTheCutIsHealed(t *testing.T) {
	withFixture(t, func(h *fixture) {
		w, err := h.leases.Watch(h.Context(), metav1.ListOptions{ResourceVersion: h.lease.ResourceVersion})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Stop()
		fault := h.net.Cut(leaderelectiontest.Hang)
		time.Sleep(24 * time.Hour)
		if got, open := h.events(w); got != 0 || !open {
			t.Errorf("%d events, open %v while it hangs", got, open)
		}
		fault.Heal()
		if _, open := h.events(w); open {
			t.Error("the watch is still open a day later")
		}
	})
}
