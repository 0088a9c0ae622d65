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
func TestElector_TroubleEndsThoughNobodyNeedsToLook(t *testing.T) {
	gets := leaderelectiontest.Verbs("get")
	for name, begin := range map[string]func(*stage) *replica{
		"a follower": func(s *stage) *replica {
			s.start("leader")
			synctest.Wait()
			r := s.candidate("a", nil)
			r.network.Fail(http.StatusForbidden, 0, gets, leaderelectiontest.Once()) // its rights come a moment later
			r.run()
			synctest.Wait()
			return r
		},
		"a leader": func(s *stage) *replica {
			r := s.start("a")
			time.Sleep(10500 * time.Millisecond)
			r.network.Fail(http.StatusInternalServerError, 0, gets, leaderelectiontest.Once())
			r.network.Fail(http.StatusInternalServerError, 0, writes, leaderelectiontest.Once())
			s.until(10*time.Second, func() bool { return r.State().LastError != "" })
			return r
		},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(s *stage) {
				r := begin(s)
				if r.State().LastError == "" {
					s.Error("a request failed, and it is not told")
				}
				time.Sleep(10 * time.Second)
				if trouble := r.State().LastError; trouble != "" {
					s.Errorf("all requests succeed, and what is told is %s", trouble)
				}
			})
		})
	}
}

func TestReady_IsNotKeptFromByOneForbiddenLook(t *testing.T) {
	play(t, func(s *stage) {
		s.start("leader")
		synctest.Wait()
		h := health.New()
		r := s.candidate("a", []leaderelection.Option{h.Option()})
		r.network.Fail(http.StatusForbidden, 0, leaderelectiontest.Verbs("get"), leaderelectiontest.Once())
		r.run()
		synctest.Wait()
		if err := h.Ready(nil); err == nil {
			s.Error("it may not read the Lease, and is ready")
		}
		time.Sleep(10 * time.Second)
		if err := h.Ready(nil); err != nil {
			s.Errorf("it may read the Lease, and is not ready: %v", err)
		}
	})
}

func TestElector_WhoeverHasNoTimeToConfirmMakesNoTrouble(t *testing.T) {
	play(t, func(s *stage) {
		a := s.start("a")
		time.Sleep(3500 * time.Millisecond)
		a.network.DelayReplies(20*time.Millisecond, leaderelectiontest.Verbs("get"))
		term, _ := a.Term()
		ctx, cancel := context.WithTimeout(s.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := a.Confirm(ctx, term); !errors.Is(err, context.DeadlineExceeded) {
			s.Errorf("Confirm says %v", err)
		}
		if trouble := a.State().LastError; trouble != "" {
			s.Errorf("its trouble is %s", trouble)
		}
	})
}

// The more patient a program is with the API server, the longer one request that
// hung kept it from the next: for minutes.
func TestElector_OneHungLookCostsSeconds(t *testing.T) {
	patient := withConfig(func(c *leaderelection.Config) {
		c.LeaseDuration, c.RenewDeadline, c.RetryPeriod = leaderelection.TolerateOutage(10 * time.Minute)
	})
	hungGet := func(r *replica) {
		r.network.Cut(hang, leaderelectiontest.Verbs("get"), leaderelectiontest.Once())
	}
	play(t, func(s *stage) {
		a := s.candidate("a", nil, patient)
		hungGet(a)
		a.run()
		if took := s.until(time.Hour, a.IsLeader); took > 20*time.Second {
			s.Errorf("the first leader came after %v", took)
		}
		b := s.start("b", patient)
		time.Sleep(time.Minute)
		b.network.StallWatches()
		hungGet(b)
		a.stop()
		if took := s.until(time.Hour, b.IsLeader); took > 20*time.Second {
			s.Errorf("the next leader came after %v", took)
		}
	})
}

// Steps of a release that did not look at the clock went on for seconds after trust
// had ended.
func TestElector_AReleaseIsGivenUpWhenTrustEnds(t *testing.T) {
	play(t, func(s *stage) {
		a := s.start("a")
		time.Sleep(5 * time.Second)
		s.server.Outage(hang)
		left := a.ValidFor()
		began := time.Now()
		a.stop()
		if took := time.Since(began); took > left {
			s.Errorf("Run returned after %v, and trust ended after %v", took, left)
		}
	})
}

// Who is about to release the Lease, and does not hear the reply, may be followed.
func TestElector_HeldForEndsWithTheFirstRelease(t *testing.T) {
	play(t, func(s *stage) {
		a := s.start("a")
		synctest.Wait()
		b := s.start("b")
		time.Sleep(10500 * time.Millisecond)
		a.network.StallWatches()
		a.network.DelayReplies(1500*time.Millisecond, writes)
		a.cancel()
		time.Sleep(700 * time.Millisecond)
		s.expect(b)
		if held := a.HeldFor(); held > 0 {
			s.Errorf("b works, and a holds the Lease for %v", held)
		}
	})
}

// It steps down so that somebody else leads: somebody does.
func TestElector_StepDownOfALostTermNeedsNoRest(t *testing.T) {
	play(t, func(s *stage) {
		a := s.start("a", withWork(func(ctx context.Context) { <-ctx.Done(); time.Sleep(time.Second) }))
		time.Sleep(10 * time.Second)
		s.edit(giveTo("x"))
		time.Sleep(100 * time.Millisecond)
		stepped := make(chan error, 1)
		go func() { stepped <- a.StepDown(s.Context()) }()
		time.Sleep(1500 * time.Millisecond)
		s.edit(func(l *coordinationv1.Lease) { l.Spec = coordinationv1.LeaseSpec{} })
		if took := s.until(time.Minute, a.IsLeader); took > 5*time.Second {
			s.Errorf("it led again after %v", took)
		}
		<-stepped
	})
}

// A proxy may end each watch after its first event.
func TestElector_AWatchThatEndsAtOnceCostsNoMoreThanPolling(t *testing.T) {
	play(t, func(s *stage) {
		s.start("leader")
		synctest.Wait()
		s.start("a", withTrip(func(r *http.Request, next send) (*http.Response, error) {
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
		before := s.server.Count("a", "watch")
		time.Sleep(10 * time.Minute)
		if n := s.server.Count("a", "watch") - before; n > 40 {
			s.Errorf("%d watches were opened in ten minutes", n)
		}
	})
}

// What all annotations of an object have together is bounded: the election matters
// more than what it notes there.
func TestElector_LeadsAndReleasesThoughOthersFillTheAnnotations(t *testing.T) {
	const limit = 256 * 1024
	play(t, func(s *stage) {
		s.server.Put(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
			Name: "my-app-leader", Namespace: "default", Annotations: map[string]string{"x": strings.Repeat("x", limit-60)},
		}})
		a := s.start("a")
		s.until(10*time.Second, a.IsLeader)
	})
	play(t, func(s *stage) {
		a := s.start("a")
		time.Sleep(10 * time.Second)
		s.edit(func(l *coordinationv1.Lease) {
			room := limit - 1
			for key, value := range l.Annotations {
				room -= len(key) + len(value)
			}
			l.Annotations["x"] = strings.Repeat("x", room)
		})
		time.Sleep(10 * time.Second)
		s.expect(a)
		if err := a.StepDown(s.Context()); err != nil || s.holder() != "" {
			s.Errorf("StepDown = %v, and %q holds the Lease", err, s.holder())
		}
	})
}
