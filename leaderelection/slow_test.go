package leaderelection_test

import (
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// slowWrites delays every write of a replica. latency returns the delay of
// the next write.
type slowWrites struct {
	latency func() time.Duration
	replies bool // true if only the reply is delayed
}

func (s slowWrites) roundTrip(r *http.Request, next send) (*http.Response, error) {
	if r.Method == http.MethodGet {
		return next(r)
	}
	pause := func() error {
		select {
		case <-time.After(s.latency()):
			return nil
		case <-r.Context().Done():
			return r.Context().Err()
		}
	}
	if !s.replies {
		if err := pause(); err != nil {
			return nil, err
		}
	}
	response, err := next(r)
	if s.replies && err == nil {
		if err := pause(); err != nil {
			return nil, err
		}
	}
	return response, err
}

func withSlowWrites(s slowWrites) setting { return withRoundTrip(s.roundTrip) }

// Each write takes seconds, for example because an admission webhook times out. A
// leader must keep its term as long as each write is answered before RenewDeadline.
func TestElector_SlowWritesCostNoTerm(t *testing.T) {
	outage := func(c *leaderelection.Config) {
		c.LeaseDuration, c.RenewDeadline, c.RetryPeriod = leaderelection.TolerateOutage(60 * time.Second)
	}
	defaults := func(*leaderelection.Config) {}
	constant := func(d time.Duration) func() time.Duration { return func() time.Duration { return d } }
	upTo := func(d time.Duration) func() time.Duration { return func() time.Duration { return rand.N(d) } }
	for _, tt := range []struct {
		name    string
		set     func(*leaderelection.Config)
		longest time.Duration // the longest latency with which the term continues
		span    time.Duration
	}{
		{"defaults", defaults, 9900 * time.Millisecond, 3 * time.Minute},
		{"TolerateOutage", outage, 58 * time.Second, 8 * time.Minute},
	} {
		for _, part := range []float64{0.1, 0.3, 0.5, 0.6, 0.8, 1} {
			latency := time.Duration(part * float64(tt.longest))
			for name, s := range map[string]slowWrites{
				"requests": {constant(latency), false}, "replies": {constant(latency), true},
				"jittered requests": {upTo(latency + 1), false}, "jittered replies": {upTo(latency + 1), true},
			} {
				t.Run(tt.name+" "+name+" "+latency.String(), func(t *testing.T) {
					withHarness(t, func(h *harness) {
						a := h.start("a", withConfig(tt.set), withSlowWrites(s))
						h.waitUntil(2*tt.longest, a.IsLeader)
						term, _ := a.Term()
						for range 100 {
							time.Sleep(tt.span / 100)
							if now, leads := a.Term(); !leads || now != term {
								t.Fatalf("after %v, term %v has ended (%v): leads %v in term %v", h.elapsed(), term, a.State().EndCause, leads, now)
							}
						}
						if err := a.stop(); err != nil {
							t.Fatal(err)
						}
						if latency < a.config.Window()/2-a.config.RetryPeriod {
							h.waitUntil(time.Second, func() bool { return h.leaseHolder() == "" })
						}
					})
				})
			}
		}
	}
}

// A claim that is applied late must win at once, although a later claim is pending.
func TestElector_ASlowClaimLeadsAsSoonAsItIsApplied(t *testing.T) {
	const latency = 5500 * time.Millisecond
	for range 10 {
		withHarness(t, func(h *harness) {
			a := h.start("a", withSlowWrites(slowWrites{func() time.Duration { return latency }, false}))
			h.waitUntil(latency+50*time.Millisecond, a.IsLeader)
		})
	}
}

// A latency that is a multiple of the attempt timeout is the hardest: the last request
// with an outdated version is sent just before the pending one is applied.
func TestElector_SlowWritesOfWholeSecondsCostNoTerm(t *testing.T) {
	for latency := 4 * time.Second; latency <= 9*time.Second; latency += time.Second {
		for range 20 {
			withHarness(t, func(h *harness) {
				a := h.start("a", withSlowWrites(slowWrites{func() time.Duration { return latency }, false}))
				h.waitUntil(20*time.Second, a.IsLeader)
				a.wantOneTerm(40 * time.Second)
			})
		}
	}
}

// A nomination changes the version of the Lease, and the server then refuses the pending
// renewal. A follower must not cost a slow leader its term.
func TestElector_ANominationCostsASlowLeaderNoTerm(t *testing.T) {
	for latency := 3 * time.Second; latency <= 9*time.Second; latency += time.Second {
		for i := range 12 {
			withHarness(t, func(h *harness) {
				a := h.start("a", withSlowWrites(slowWrites{func() time.Duration { return latency }, false}))
				h.waitUntil(20*time.Second, a.IsLeader)
				time.Sleep(20*time.Second + time.Duration(i)*time.Second)
				h.start("b")
				a.wantOneTerm(time.Minute)
				if a.State().Successor != "b" {
					t.Errorf("writes of %v: the successor is %q, want b", latency, a.State().Successor)
				}
			})
		}
	}
}

// wantOneTerm fails the test if the current term of r ends within the duration d.
func (r *replica) wantOneTerm(d time.Duration) {
	r.harness.Helper()
	term, leads := r.Term()
	for end := r.harness.elapsed() + d; leads && r.harness.elapsed() < end; {
		time.Sleep(time.Second)
		var now leaderelection.Term
		if now, leads = r.Term(); now != term {
			leads = false
		}
	}
	if !leads {
		r.harness.Errorf("at %v, term %v has ended: %v", r.harness.elapsed(), term, r.State().EndCause)
	}
}
