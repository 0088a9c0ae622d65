package leaderelection_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/health"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// A follower with a watch and a leader do not need to read the Lease. Nevertheless,
// both must repeat a failed read until a read succeeds. The reason is that readiness
// and the log depend on the error of the last read.
func TestElector_LastErrorIsClearedThoughNoReadIsNeeded(t *testing.T) {
	gets := leaderelectiontest.Verbs("get")
	for name, begin := range map[string]func(*harness) *replica{
		"a follower": func(h *harness) *replica {
			h.start("leader")
			synctest.Wait()
			r := h.newReplica("a", nil)
			r.network.Fail(http.StatusForbidden, 0, gets, leaderelectiontest.Once()) // only the first read is refused
			r.run()
			synctest.Wait()
			return r
		},
		"a leader": func(h *harness) *replica {
			r := h.start("a")
			time.Sleep(10500 * time.Millisecond)
			r.network.Fail(http.StatusInternalServerError, 0, gets, leaderelectiontest.Once())
			r.network.Fail(http.StatusInternalServerError, 0, writes, leaderelectiontest.Once())
			h.waitUntil(10*time.Second, func() bool { return r.State().LastError != "" })
			return r
		},
	} {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(h *harness) {
				r := begin(h)
				if r.State().LastError == "" {
					h.Error("LastError is empty after a failed request")
				}
				time.Sleep(10 * time.Second)
				if lastError := r.State().LastError; lastError != "" {
					h.Errorf("LastError is %q though all requests succeed", lastError)
				}
			})
		})
	}
}

func TestReady_SucceedsAfterOneForbiddenRead(t *testing.T) {
	withHarness(t, func(h *harness) {
		h.start("leader")
		synctest.Wait()
		checks := health.New()
		r := h.newReplica("a", []leaderelection.Option{checks.Option()})
		r.network.Fail(http.StatusForbidden, 0, leaderelectiontest.Verbs("get"), leaderelectiontest.Once())
		r.run()
		synctest.Wait()
		if err := checks.Ready(nil); err == nil {
			h.Error("the replica is ready, though it must not read the Lease")
		}
		time.Sleep(10 * time.Second)
		if err := checks.Ready(nil); err != nil {
			h.Errorf("the replica is not ready, though it can read the Lease: %v", err)
		}
	})
}

func TestElector_AConfirmThatTimesOutSetsNoLastError(t *testing.T) {
	withHarness(t, func(h *harness) {
		a := h.start("a")
		time.Sleep(3500 * time.Millisecond)
		a.network.DelayReplies(20*time.Millisecond, leaderelectiontest.Verbs("get"))
		term, _ := a.Term()
		ctx, cancel := context.WithTimeout(h.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := a.Confirm(ctx, term); !errors.Is(err, context.DeadlineExceeded) {
			h.Errorf("Confirm = %v, want DeadlineExceeded", err)
		}
		if lastError := a.State().LastError; lastError != "" {
			h.Errorf("LastError is %q after a call whose own deadline passed, want none", lastError)
		}
	})
}

// Regression test for this bug: with a long RenewDeadline, a request that hung delayed
// the next request by minutes.
func TestElector_OneHungReadDelaysAClaimBySeconds(t *testing.T) {
	longLease := withConfig(func(c *leaderelection.Config) {
		c.LeaseDuration, c.RenewDeadline, c.RetryPeriod = leaderelection.TolerateOutage(10 * time.Minute)
	})
	hungGet := func(r *replica) {
		r.network.Cut(hang, leaderelectiontest.Verbs("get"), leaderelectiontest.Once())
	}
	withHarness(t, func(h *harness) {
		a := h.newReplica("a", nil, longLease)
		hungGet(a)
		a.run()
		if took := h.waitUntil(time.Hour, a.IsLeader); took > 20*time.Second {
			h.Errorf("a led after %v, want at most 20 s", took)
		}
		b := h.start("b", longLease)
		time.Sleep(time.Minute)
		b.network.StallWatches()
		hungGet(b)
		a.stop()
		if took := h.waitUntil(time.Hour, b.IsLeader); took > 20*time.Second {
			h.Errorf("b led after %v, want at most 20 s", took)
		}
	})
}

// Regression test for this bug: a release continued for seconds after the end of the
// trust window.
func TestElector_AReleaseIsAbandonedWhenTrustEnds(t *testing.T) {
	withHarness(t, func(h *harness) {
		a := h.start("a")
		time.Sleep(5 * time.Second)
		h.server.Outage(hang)
		left := a.ValidFor()
		began := time.Now()
		a.stop()
		if took := time.Since(began); took > left {
			h.Errorf("Run returned after %v, want at most the rest of trust: %v", took, left)
		}
	})
}

// HeldFor must be zero as soon as a release is sent. Another candidate may lead before
// the reply to the release arrives.
func TestElector_HeldForEndsWithTheFirstRelease(t *testing.T) {
	withHarness(t, func(h *harness) {
		a := h.start("a")
		synctest.Wait()
		b := h.start("b")
		time.Sleep(10500 * time.Millisecond)
		a.network.StallWatches()
		a.network.DelayReplies(1500*time.Millisecond, writes)
		a.cancel()
		time.Sleep(700 * time.Millisecond)
		h.expectLeader(b)
		if held := a.HeldFor(); held > 0 {
			h.Errorf("a.HeldFor() = %v though b works, want 0", held)
		}
	})
}

// After StepDown, a candidate waits before it claims the Lease again. This wait is
// unnecessary if another candidate already holds the Lease.
func TestElector_StepDownOfALostTermStartsNoCooldown(t *testing.T) {
	withHarness(t, func(h *harness) {
		a := h.start("a", withWork(func(ctx context.Context) { <-ctx.Done(); time.Sleep(time.Second) }))
		time.Sleep(10 * time.Second)
		h.editLease(setHolder("x"))
		time.Sleep(100 * time.Millisecond)
		stepped := make(chan error, 1)
		go func() { stepped <- a.StepDown(h.Context()) }()
		time.Sleep(1500 * time.Millisecond)
		h.editLease(func(l *coordinationv1.Lease) { l.Spec = coordinationv1.LeaseSpec{} })
		if took := h.waitUntil(time.Minute, a.IsLeader); took > 5*time.Second {
			h.Errorf("it led again after %v, want at most 5 s", took)
		}
		<-stepped
	})
}

// Some proxies end each watch after its first event. The elector must not open new
// watches more often than it would poll.
func TestElector_AWatchThatEndsAtOnceIsReopenedNoMoreOftenThanAPoll(t *testing.T) {
	withHarness(t, func(h *harness) {
		h.start("leader")
		synctest.Wait()
		h.start("a", withRoundTrip(func(r *http.Request, next send) (*http.Response, error) {
			response, err := next(r)
			if err != nil || !r.URL.Query().Has("watch") {
				return response, err
			}
			first := make([]byte, 64*1024)
			n, err := response.Body.Read(first)
			response.Body.Close()
			response.Body = io.NopCloser(bytes.NewReader(first[:n]))
			return response, err
		}))
		time.Sleep(time.Minute)
		before := h.server.Count("a", "watch")
		time.Sleep(10 * time.Minute)
		if n := h.server.Count("a", "watch") - before; n > 40 {
			h.Errorf("%d watches were opened in ten minutes, want at most 40", n)
		}
	})
}

// The API server limits the total size of an object's annotations. If other annotations
// leave no room, the election must work without the annotations of this library.
func TestElector_LeadsAndReleasesWhenTheAnnotationsAreFull(t *testing.T) {
	const limit = 256 * 1024
	withHarness(t, func(h *harness) {
		h.server.Put(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
			Name: "my-app-leader", Namespace: "default", Annotations: map[string]string{"x": strings.Repeat("x", limit-60)},
		}})
		a := h.start("a")
		h.waitUntil(10*time.Second, a.IsLeader)
	})
	withHarness(t, func(h *harness) {
		a := h.start("a")
		time.Sleep(10 * time.Second)
		h.editLease(func(l *coordinationv1.Lease) {
			room := limit - 1
			for key, value := range l.Annotations {
				room -= len(key) + len(value)
			}
			l.Annotations["x"] = strings.Repeat("x", room)
		})
		time.Sleep(10 * time.Second)
		h.expectLeader(a)
		if err := a.StepDown(h.Context()); err != nil || h.leaseHolder() != "" {
			h.Errorf("StepDown = %v and %q holds the Lease, want it released", err, h.leaseHolder())
		}
	})
}
