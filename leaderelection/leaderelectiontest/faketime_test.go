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
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// harmed is a client whose network the test harms, with a Lease held by "a".
type harmed struct {
	*testing.T
	server *leaderelectiontest.Server
	client *leaderelectiontest.Client
	net    *leaderelectiontest.Network
	leases coordinationclient.LeaseInterface
	lease  *coordinationv1.Lease
}

func harm(t *testing.T, test func(*harmed)) {
	t.Helper()
	bubble(t, func(t *testing.T, server *leaderelectiontest.Server) {
		created, err := server.Put(lease("a"))
		if err != nil {
			t.Fatal(err)
		}
		client := server.Client("pod-1")
		test(&harmed{t, server, client, client.Network(), client.Clientset().CoordinationV1().Leases("default"), created})
	})
}

// hold tries to write a holder and gives up after patience. It reports how
// long it took.
func (h *harmed) hold(holder string, patience time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(h.Context(), patience)
	defer cancel()
	change := h.lease.DeepCopy()
	change.Spec.HolderIdentity = &holder
	start := time.Now()
	_, err := h.leases.Update(ctx, change, metav1.UpdateOptions{})
	return time.Since(start), err
}

func (h *harmed) holder(want string) {
	h.Helper()
	lease, err := h.server.Get("default", "app")
	if err != nil || leaderelectiontest.Holder(lease) != want {
		h.Fatalf("the Lease is %v, want holder %q", lease, want)
	}
}

// took fails the test unless an attempt took that long and ended like that.
func (h *harmed) took(want time.Duration, is error) func(time.Duration, error) {
	h.Helper()
	return func(got time.Duration, err error) {
		h.Helper()
		if got != want || !errors.Is(err, is) {
			h.Fatalf("took %v and ended with %v, want %v and %v", got, err, want, is)
		}
	}
}

func TestNetwork_CutHangsUntilHealed(t *testing.T) {
	harm(t, func(h *harmed) {
		h.net.Cut(leaderelectiontest.Hang)
		h.took(time.Second, context.DeadlineExceeded)(h.hold("b", time.Second))
		h.holder("a")
		time.AfterFunc(time.Second, h.net.Heal)
		h.took(time.Second, nil)(h.hold("b", time.Minute))
		h.holder("b")
	})
}

func TestNetwork_CutRefuses(t *testing.T) {
	harm(t, func(h *harmed) {
		fault := h.net.Cut(leaderelectiontest.Refuse, leaderelectiontest.Verbs("update"))
		h.took(0, syscall.ECONNREFUSED)(h.hold("b", time.Minute))
		if _, err := h.leases.Get(h.Context(), "app", metav1.GetOptions{}); err != nil {
			t.Fatal(err)
		}
		fault.Heal()
		h.took(0, nil)(h.hold("b", time.Minute))
	})
}

func TestNetwork_DelayedRequestsAreLostIfTheSenderGivesUp(t *testing.T) {
	harm(t, func(h *harmed) {
		h.net.DelayRequests(3 * time.Second)
		h.took(time.Second, context.DeadlineExceeded)(h.hold("b", time.Second))
		time.Sleep(time.Minute)
		h.holder("a")
		h.took(3*time.Second, nil)(h.hold("b", time.Minute))
	})
}

func TestNetwork_DelayedRepliesAreAppliedBefore(t *testing.T) {
	harm(t, func(h *harmed) {
		h.net.DelayReplies(3*time.Second, leaderelectiontest.Once())
		h.took(time.Second, context.DeadlineExceeded)(h.hold("b", time.Second))
		h.holder("b")
		h.took(0, nil)(0, func() error { _, err := h.leases.Get(h.Context(), "app", metav1.GetOptions{}); return err }())
	})
}

func TestNetwork_LosesReplies(t *testing.T) {
	harm(t, func(h *harmed) {
		h.net.LoseReplies(leaderelectiontest.Hang, leaderelectiontest.Once())
		h.took(time.Second, context.DeadlineExceeded)(h.hold("b", time.Second))
		h.holder("b")
		h.lease, _ = h.server.Get("default", "app")
		h.net.LoseReplies(leaderelectiontest.Refuse)
		h.took(0, syscall.ECONNRESET)(h.hold("c", time.Minute))
		h.holder("c")
	})
}

func TestNetwork_RequestsArriveAfterTheirSenderGaveUp(t *testing.T) {
	harm(t, func(h *harmed) {
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

func TestNetwork_FailsWithAndWithoutApplying(t *testing.T) {
	harm(t, func(h *harmed) {
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
		h.took(3*time.Second, nil)(h.hold("c", time.Minute)) // client-go honours Retry-After
	})
}

func TestClient_DeniedVerbsAreForbidden(t *testing.T) {
	harm(t, func(h *harmed) {
		h.client.Deny("update", "create")
		if _, err := h.hold("b", time.Minute); !apierrors.IsForbidden(err) {
			t.Fatal(err)
		}
		h.client.Allow("update")
		h.took(0, nil)(h.hold("b", time.Minute))
		if err := h.server.Delete("default", "app"); err != nil {
			t.Fatal(err)
		}
		// An update that creates needs the right to create.
		if _, err := h.leases.Update(h.Context(), lease("c"), metav1.UpdateOptions{}); !apierrors.IsForbidden(err) {
			t.Fatal(err)
		}
		h.client.Allow()
		if _, err := h.leases.Update(h.Context(), lease("c"), metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	})
}
