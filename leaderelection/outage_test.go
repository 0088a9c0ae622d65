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

// Who watches, and who leads, need not look at the Lease. A look that failed must be
// made good all the same: readiness, the log and the pace of attempts follow it.
func TestElector_LastErrorIsClearedThoughNoReadIsNeeded(t *testing.T) {
	gets := leaderelectiontest.Verbs("get")
	for name, begin := range map[string]func(*harness) *replica{
		"a follower": func(h *harness) *replica {
			h.start("leader")
			synctest.Wait()
			r := h.newReplica("a", nil)
			r.network.Fail(http.StatusForbidden, 0, gets, leaderelectiontest.Once()) // its rights come a moment later
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
					h.Error("a request failed, and it is not told")
				}
				time.Sleep(10 * time.Second)
				if lastError := r.State().LastError; lastError != "" {
					h.Errorf("all requests succeed, and what is told is %s", lastError)
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
			h.Error("it may not read the Lease, and is ready")
		}
		time.Sleep(10 * time.Second)
		if err := checks.Ready(nil); err != nil {
			h.Errorf("it may read the Lease, and is not ready: %v", err)
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
			h.Errorf("Confirm says %v", err)
		}
		if lastError := a.State().LastError; lastError != "" {
			h.Errorf("its lastError is %s", lastError)
		}
	})
}

// The more patient a program is with the API server, the longer one request that
// hung kept it from the next: for minutes.
func TestElector_OneHungReadDelaysAClaimBySeconds(t *testing.T) {
	patient := withConfig(func(c *leaderelection.Config) {
		c.LeaseDuration, c.RenewDeadline, c.RetryPeriod = leaderelection.TolerateOutage(10 * time.Minute)
	})
	hungGet := func(r *replica) {
		r.network.Cut(hang, leaderelectiontest.Verbs("get"), leaderelectiontest.Once())
	}
	withHarness(t, func(h *harness) {
		a := h.newReplica("a", nil, patient)
		hungGet(a)
		a.run()
		if took := h.waitUntil(time.Hour, a.IsLeader); took > 20*time.Second {
			h.Errorf("the first leader came after %v", took)
		}
		b := h.start("b", patient)
		time.Sleep(time.Minute)
		b.network.StallWatches()
		hungGet(b)
		a.stop()
		if took := h.waitUntil(time.Hour, b.IsLeader); took > 20*time.Second {
			h.Errorf("the next leader came after %v", took)
		}
	})
}

// Steps of a release that did not look at the clock went on for seconds after trust
// had ended.
func TestElector_AReleaseIsAbandonedWhenTrustEnds(t *testing.T) {
	withHarness(t, func(h *harness) {
		a := h.start("a")
		time.Sleep(5 * time.Second)
		h.server.Outage(hang)
		left := a.ValidFor()
		began := time.Now()
		a.stop()
		if took := time.Since(began); took > left {
			h.Errorf("Run returned after %v, and trust ended after %v", took, left)
		}
	})
}

// Who is about to release the Lease, and does not hear the reply, may be followed.
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
			h.Errorf("b works, and a holds the Lease for %v", held)
		}
	})
}

// It steps down so that somebody else leads: somebody does.
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
			h.Errorf("it led again after %v", took)
		}
		<-stepped
	})
}

// A proxy may end each watch after its first event.
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
			h.Errorf("%d watches were opened in ten minutes", n)
		}
	})
}

// What all annotations of an object have together is bounded: the election matters
// more than what it notes there.
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
			h.Errorf("StepDown = %v, and %q holds the Lease", err, h.leaseHolder())
		}
	})
}
