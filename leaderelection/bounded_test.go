package leaderelection_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

var longLease = withConfig(func(c *leaderelection.Config) {
	c.LeaseDuration, c.RenewDeadline, c.RetryPeriod = 137*time.Second, 107*time.Second, 26*time.Second
})

func isWrite(r leaderelectiontest.Request) bool { return r.Verb == "create" || r.Verb == "update" }

// A release that is refused for good ends the attempts to release the Lease. For
// example, the Role of the program was deleted before its pod.
func TestElector_AReleaseThatIsRefusedForGoodIsTriedTwice(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404, 405, 409, 410, 413, 415, 418, 422, 501} { // an admission webhook may answer with any of them
		for name, set := range map[string]setting{"defaults": func(*replica) {}, "long Lease": longLease} {
			t.Run(name+" "+time.Duration(status).String(), func(t *testing.T) {
				withHarness(t, func(h *harness) {
					a := h.start("a", set)
					time.Sleep(3 * time.Second)
					a.network.Fail(status, 0, writes)
					sent := a.network.Count(isWrite)
					began := time.Now()
					err := a.stop()
					if took := time.Since(began); err != nil || took > 8*time.Second {
						t.Errorf("Run = %v, %v after it was cancelled", err, took)
					}
					if tries := a.network.Count(isWrite) - sent; tries != 2 {
						t.Errorf("%d releases were sent, want 2", tries)
					}
				})
			})
		}
	}
}

// The work has stopped at once, and the release hangs. StopTimeout bounds the stop.
func TestElector_StopTimeoutBoundsTheRelease(t *testing.T) {
	withHarness(t, func(h *harness) {
		a := h.start("a", longLease, withConfig(func(c *leaderelection.Config) { c.StopTimeout = 25 * time.Second }))
		time.Sleep(3 * time.Second)
		a.network.Cut(hang)
		began := time.Now()
		if err := a.stop(); err != nil || time.Since(began) > 26*time.Second {
			t.Errorf("Run = %v, %v after it was cancelled", err, time.Since(began))
		}
	})
}

// A candidate that does not hold the Lease has little to lose. It returns soon, whatever
// its requests do.
func TestElector_ACandidateStopsSoon(t *testing.T) {
	verbs := leaderelectiontest.Verbs("create", "update")
	for name, fault := range map[string]struct {
		inject func(*leaderelectiontest.Network)
		limit  time.Duration
	}{
		"writes hang":        {func(n *leaderelectiontest.Network) { n.DelayRequests(leaderelectiontest.Forever, verbs) }, 6 * time.Second},
		"writes fail":        {func(n *leaderelectiontest.Network) { n.Fail(500, 0, verbs) }, 100 * time.Millisecond},
		"writes are refused": {func(n *leaderelectiontest.Network) { n.Fail(403, 0, verbs) }, 100 * time.Millisecond},
		"writes conflict":    {func(n *leaderelectiontest.Network) { n.Fail(409, 0, verbs) }, 100 * time.Millisecond},
		"writes throttled":   {func(n *leaderelectiontest.Network) { n.Fail(429, time.Minute, verbs) }, 6 * time.Second},
		"requests hang":      {func(n *leaderelectiontest.Network) { n.Cut(hang) }, 100 * time.Millisecond},
		"requests fail":      {func(n *leaderelectiontest.Network) { n.Fail(500, 0) }, 100 * time.Millisecond},
		"no connection":      {func(n *leaderelectiontest.Network) { n.Cut(refuse) }, 100 * time.Millisecond},
	} {
		for kind, set := range map[string]setting{"defaults": func(*replica) {}, "long Lease": longLease} {
			for _, after := range []time.Duration{0, time.Second, 10 * time.Second, 41 * time.Second} {
				t.Run(name+" "+kind+" "+after.String(), func(t *testing.T) {
					withHarness(t, func(h *harness) {
						a := h.newReplica("a", nil, set)
						fault.inject(a.network)
						a.run()
						time.Sleep(after)
						began := time.Now()
						if err := a.stop(); err != nil || time.Since(began) > fault.limit {
							t.Errorf("Run = %v, %v after it was cancelled, want at most %v", err, time.Since(began), fault.limit)
						}
					})
				})
			}
		}
	}
}

// The caller of StepDown does not know that the work waits for it.
func TestElector_StepDownNeverWaitsForItsCaller(t *testing.T) {
	for name, makeContext := range map[string]func(program, work context.Context) (context.Context, context.CancelFunc){
		"work": func(_, work context.Context) (context.Context, context.CancelFunc) {
			return context.WithCancel(work)
		},
		"program": func(program, _ context.Context) (context.Context, context.CancelFunc) {
			return context.WithCancel(program)
		},
		"background": func(_, _ context.Context) (context.Context, context.CancelFunc) {
			return context.Background(), func() {}
		},
		"deadline": func(program, _ context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(program, time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(h *harness) {
				program := context.Background()
				var a *replica
				a = h.newReplica("a", nil, withWork(func(work context.Context) {
					time.Sleep(2 * time.Second)
					ctx, cancel := makeContext(program, work)
					defer cancel()
					_ = a.StepDown(ctx)
				}))
				a.run()
				h.waitUntil(time.Second, a.IsLeader)
				b := h.start("b")
				h.waitUntil(a.config.RenewDeadline+4*time.Second, b.IsLeader)
			})
		})
	}
}

// A part of the work calls StepDown with a deadline that is later than StopTimeout.
func TestElector_StepDownReturnsBeforeStopTimeout(t *testing.T) {
	withHarness(t, func(h *harness) {
		var a *replica
		a = h.newReplica("a", nil, withConfig(func(c *leaderelection.Config) { c.StopTimeout = 20 * time.Second }), withWork(func(context.Context) {
			time.Sleep(2 * time.Second)
			ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
			defer cancel()
			_ = a.StepDown(ctx)
		}))
		a.run()
		h.waitUntil(time.Second, a.IsLeader)
		b := h.start("b")
		h.waitUntil(15*time.Second, b.IsLeader)
	})
}

func TestElector_StepDownReportsWorkThatHasNotStopped(t *testing.T) {
	withHarness(t, func(h *harness) {
		a := h.start("a", withWork(func(ctx context.Context) {
			<-ctx.Done()
			time.Sleep(time.Minute)
		}))
		h.waitUntil(time.Second, a.IsLeader)
		if err := a.StepDown(context.Background()); !errors.Is(err, leaderelection.ErrStillStopping) {
			t.Errorf("StepDown = %v, want ErrStillStopping", err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := a.StepDown(ctx); err != nil || h.leaseHolder() != "" {
			t.Errorf("StepDown = %v and the Lease names %q", err, h.leaseHolder())
		}
	})
}

// Without a StopTimeout, work that does not return keeps the Lease. Stuck must report it.
func TestElector_IsStuckWhenWorkKeepsTheLeaseForLong(t *testing.T) {
	withHarness(t, func(h *harness) {
		unblock := make(chan struct{})
		defer close(unblock)
		a := h.start("a", withWork(func(context.Context) { <-unblock }))
		h.waitUntil(time.Second, a.IsLeader)
		go func() { _ = a.StepDown(context.Background()) }()
		time.Sleep(45 * time.Second)
		if err := a.Stuck(); err != nil {
			t.Errorf("Stuck = %v after 45 s, want nil", err)
		}
		time.Sleep(30 * time.Second)
		if err := a.Stuck(); !errors.Is(err, leaderelection.ErrWorkStillRunning) || h.leaseHolder() != "a" {
			t.Errorf("Stuck = %v and the Lease names %q, want ErrWorkStillRunning and a", err, h.leaseHolder())
		}
		a.cancel()
	})
}

// A webhook may answer every write with 409. Nobody can lead, and the Elector must
// report it.
func TestElector_ReportsConflictsWithoutACause(t *testing.T) {
	for _, leads := range []bool{false, true} {
		withHarness(t, func(h *harness) {
			var lines lineHandler
			a := h.newReplica("a", nil, withLog(&lines))
			if leads {
				a.run()
				h.waitUntil(time.Second, a.IsLeader)
			}
			a.network.Fail(409, 0, writes)
			if !leads {
				a.run()
			}
			time.Sleep(20 * time.Second)
			before := a.network.Count(isWrite)
			time.Sleep(10 * time.Minute)
			if rate := float64(a.network.Count(isWrite)-before) / 600; rate > 0.6 {
				t.Errorf("leads %t: %.1f writes a second", leads, rate)
			}
			if s := a.State(); !strings.Contains(s.LastError, "conflict") || time.Since(s.FailingSince) < 10*time.Minute {
				t.Errorf("leads %t: LastError = %q since %v", leads, s.LastError, s.FailingSince)
			}
			if !slices.ContainsFunc(lines.all(), func(l string) bool {
				return strings.HasPrefix(l, "ERROR Lease requests failing") && strings.Contains(l, "unexplained_conflict")
			}) {
				t.Errorf("leads %t: no error in the log: %q", leads, lines.all())
			}
			a.network.Heal()
			h.waitUntil(10*time.Second, a.IsLeader)
			synctest.Wait()
			if s := a.State(); s.LastError != "" || !s.FailingSince.IsZero() {
				t.Errorf("leads %t: LastError = %q after a successful claim", leads, s.LastError)
			}
		})
	}
}

// Followers and a leader that is overtaken get conflicts with a cause.
func TestElector_ConflictsWithACauseAreNoFailure(t *testing.T) {
	withHarness(t, func(h *harness) {
		var lines lineHandler
		replicas := []*replica{h.start("a", withLog(&lines)), h.start("b", withLog(&lines)), h.start("c", withLog(&lines))}
		for i := range 20 {
			time.Sleep(7 * time.Second)
			h.editLease(setHolder([]string{"x", ""}[i%2]))
		}
		for _, r := range replicas {
			if s := r.State(); s.LastError != "" {
				t.Errorf("LastError = %q", s.LastError)
			}
		}
		if i := slices.IndexFunc(lines.all(), func(l string) bool { return strings.Contains(l, "unexplained_conflict") }); i >= 0 {
			t.Errorf("the log has %q", lines.all()[i])
		}
	})
}

// client-go itself repeats a request after the time in Retry-After. No other request may
// be sent meanwhile.
func TestElector_HonoursRetryAfter(t *testing.T) {
	for _, pause := range []time.Duration{time.Second, 3 * time.Second, 7 * time.Second, 30 * time.Second} {
		for _, leads := range []bool{false, true} {
			withHarness(t, func(h *harness) {
				a := h.newReplica("a", nil)
				if leads {
					a.run()
					h.waitUntil(time.Second, a.IsLeader)
				}
				a.network.Fail(429, pause, writes)
				if !leads {
					a.run()
				}
				time.Sleep(5 * time.Minute)
				// A request ends with the trust window, and then a new attempt begins.
				if got, most := a.network.Count(isWrite), int(5*time.Minute/min(pause, a.config.Window()/2))*5/4+8; got > most {
					t.Errorf("leads %t, Retry-After %v: %d writes in five minutes, want at most %d", leads, pause, got, most)
				}
			})
		}
	}
}

func TestElector_RetryAfterInAnErrorDelaysTheNextAttempt(t *testing.T) {
	withHarness(t, func(h *harness) {
		a := h.start("a")
		h.waitUntil(time.Second, a.IsLeader)
		a.network.Fail(503, 5*time.Second, writes, leaderelectiontest.Times(1))
		before := a.network.Count(isWrite)
		time.Sleep(6 * time.Second) // the renewal is due after 2 s, and repeated 5 s later
		if sent := a.network.Count(isWrite) - before; sent != 1 {
			t.Errorf("%d writes were sent, want 1", sent)
		}
		time.Sleep(2 * time.Second)
		h.expectLeader(a)
	})
}

// Changes must also report a change that no request and no event causes.
func TestElector_ChangesReportsThatTheLeadersTimeHasExpired(t *testing.T) {
	for name, identity := range map[string]string{"own": "a", "foreign": "b"} {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(h *harness) {
				a, b := h.start("a"), (*replica)(nil)
				h.waitUntil(time.Second, a.IsLeader)
				b = h.start("b")
				time.Sleep(5 * time.Second)
				observer := map[string]*replica{"a": a, "b": b}[identity]
				var last atomic.Pointer[leaderelection.State]
				ctx, cancel := context.WithCancel(context.Background())
				returned := make(chan struct{})
				go func() {
					defer close(returned)
					for s := range observer.Changes(ctx) {
						last.Store(&s)
					}
				}()
				a.network.Cut(refuse)
				b.network.Cut(refuse)
				for range 300 {
					time.Sleep(100 * time.Millisecond)
					synctest.Wait()
					if now := observer.State(); now != *last.Load() || now.Leader != observer.GetLeader() || now.Leading != observer.IsLeader() {
						t.Fatalf("at %v: Changes %+v, State %+v, GetLeader %q, IsLeader %t", h.elapsed(), *last.Load(), now, observer.GetLeader(), observer.IsLeader())
					}
				}
				if last := last.Load(); last.Leader != "" {
					t.Errorf("%q leads after 30 s without contact", last.Leader)
				}
				cancel()
				<-returned
			})
		})
	}
}

// Without a Lease, the leader changes with StepDown. Changes must report this.
func TestElector_ChangesAgreesWithStateIfTheElectionIsNotEnabled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &leaderelection.Config{Identity: "x", LeaseDuration: time.Second, RenewDeadline: 500 * time.Millisecond, RetryPeriod: 100 * time.Millisecond}
		e, err := leaderelection.New(c, nil, leaderelection.Callbacks{}, debugLogger)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() { _ = e.Run(ctx) })
		var last [4]atomic.Pointer[leaderelection.State]
		for i := range last {
			running.Go(func() {
				for s := range e.Changes(ctx) {
					last[i].Store(&s)
				}
			})
		}
		for i := 0; i < 10_000 && !t.Failed(); i++ { // the change is missed only if Changes reads the state at a certain moment
			time.Sleep(time.Second)
			_ = e.StepDown(ctx)
			time.Sleep(time.Millisecond)
			synctest.Wait()
			for i := range last {
				if now := e.State(); now != *last[i].Load() {
					t.Errorf("Changes %+v, State %+v", *last[i].Load(), now)
				}
			}
		}
		cancel()
		running.Wait()
	})
}

// A Config without Enabled compiles, and every replica would lead.
func TestNew_RefusesAConfigWhoseEnabledWasForgotten(t *testing.T) {
	complete := config("a")
	complete.Enabled = false
	allowed := *complete
	allowed.AllowDisabled = true
	client := leaderelectiontest.NewServer().Client("a").Clientset()
	for _, tt := range []struct {
		name   string
		config *leaderelection.Config
		client kubernetes.Interface
		want   string
	}{
		{"complete", complete, client, "AllowDisabled"},
		{"no clientset", complete, nil, ""},
		{"no Lease", &leaderelection.Config{}, client, ""},
		{"on purpose", &allowed, client, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := leaderelection.New(tt.config, tt.client, leaderelection.Callbacks{}, debugLogger)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("New = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestNew_RefusesASharedWatchOfAnotherCluster(t *testing.T) {
	east, west := leaderelectiontest.NewServer().Client("a"), leaderelectiontest.NewServer().Client("a")
	for _, tt := range []struct {
		name    string
		watched kubernetes.Interface
		refused bool
	}{
		{"the same cluster", east.Clientset(), false},
		{"another cluster", west.Clientset(), true},
		{"a fake", fake.NewClientset(), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			shared := leaderelection.NewSharedWatch(tt.watched, "default")
			_, err := leaderelection.New(config("a"), east.Clientset(), leaderelection.Callbacks{}, debugLogger, leaderelection.WithSharedWatch(shared))
			if refused := err != nil && strings.Contains(err.Error(), "WithSharedWatch"); refused != tt.refused {
				t.Errorf("New = %v, want an error: %t", err, tt.refused)
			}
		})
	}
}

// Two candidates, a and x, create the Lease at the same time. a has observed that x
// holds the Lease, and x cannot learn that its Lease was deleted. P6: a must wait for
// x's LeaseDuration.
func TestElector_ALateCreateIsNoShortcut(t *testing.T) {
	for name, set := range map[string]setting{"defaults": func(*replica) {}, "long": longLease} {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(h *harness) {
				a := h.newReplica("a", nil, set)
				a.network.DelayRequests(1500*time.Millisecond, writes, leaderelectiontest.Once())
				a.run()
				time.Sleep(100 * time.Millisecond)
				x := h.start("x", set)
				h.waitUntil(500*time.Millisecond, x.IsLeader)
				time.Sleep(100 * time.Millisecond)
				if a.GetLeader() != "x" {
					t.Fatalf("a has not observed x: %q", a.GetLeader())
				}
				x.network.Cut(hang)
				if err := h.server.Delete("default", "my-app-leader"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(8 * time.Second) // the harness fails if both work
				x.network.Heal()
			})
		})
	}
}

// A renewal hangs when Run is cancelled. StopTimeout must bound the stop.
func TestElector_StopTimeoutBoundsAStopDuringAHungRenewal(t *testing.T) {
	withHarness(t, func(h *harness) {
		a := h.start("a", longLease, withConfig(func(c *leaderelection.Config) { c.StopTimeout = 25 * time.Second }))
		time.Sleep(3 * time.Second)
		a.network.Cut(hang)
		time.Sleep(24 * time.Second) // the renewal at 26 s hangs
		began := time.Now()
		err := a.stop()
		if took := time.Since(began); err != nil || took > 26*time.Second {
			t.Errorf("Run = %v, %v after it was cancelled", err, took)
		}
	})
}

// One renewal hangs, and all other requests work. The work has stopped at once, and the
// Lease must be released at once.
func TestElector_AHungRenewalDoesNotDelayTheRelease(t *testing.T) {
	for name, set := range map[string]setting{"defaults": func(*replica) {}, "long": longLease} {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(h *harness) {
				a := h.start("a", set)
				h.waitUntil(time.Second, a.IsLeader)
				f := a.network.DelayRequests(leaderelectiontest.Forever, writes, leaderelectiontest.Once())
				<-f.Struck()
				time.Sleep(10 * time.Millisecond)
				began := time.Now()
				err := a.stop()
				if took := time.Since(began); err != nil || took > time.Second {
					t.Errorf("Run = %v, %v after it was cancelled; holder %q", err, took, h.leaseHolder())
				}
			})
		})
	}
}

// A claim succeeds after Run was cancelled, and its release hangs. StopTimeout must
// bound this release, too.
func TestElector_StopTimeoutBoundsTheReleaseOfALateClaim(t *testing.T) {
	withHarness(t, func(h *harness) {
		a := h.newReplica("a", nil, longLease, withConfig(func(c *leaderelection.Config) { c.StopTimeout = 10 * time.Second }))
		a.network.DelayRequests(time.Second, writes, leaderelectiontest.Once())
		a.run()
		time.Sleep(500 * time.Millisecond)
		a.network.DelayRequests(leaderelectiontest.Forever, writes, leaderelectiontest.Times(1000))
		began := time.Now()
		err := a.stop()
		if took := time.Since(began); err != nil || took > 26*time.Second {
			t.Errorf("Run = %v, %v after it was cancelled; holder %q", err, took, h.leaseHolder())
		}
	})
}

// One renewal hangs when Run is cancelled, and all other writes take 100 ms. At least one
// release must be sent, even with a short StopTimeout.
func TestElector_AShortStopTimeoutStillReleasesTheLease(t *testing.T) {
	withHarness(t, func(h *harness) {
		a := h.start("a", withConfig(func(c *leaderelection.Config) { c.StopTimeout = time.Second }))
		h.waitUntil(time.Second, a.IsLeader)
		f := a.network.DelayRequests(leaderelectiontest.Forever, writes, leaderelectiontest.Once())
		<-f.Struck()
		time.Sleep(10 * time.Millisecond)
		a.network.DelayRequests(100*time.Millisecond, writes, leaderelectiontest.Times(1000))
		began, sent := time.Now(), a.network.Count(isWrite)
		err := a.stop()
		if holder := h.leaseHolder(); err != nil || holder != "" {
			t.Errorf("Run = %v, %v after it was cancelled; holder %q, %d writes were sent", err, time.Since(began), holder, a.network.Count(isWrite)-sent)
		}
	})
}

// refuseWrites returns a roundTrip that answers writes with the given status while
// refuses returns true. The body contains retryAfterSeconds, which client-go ignores.
func refuseWrites(status int, reason string, seconds int, refuses func() bool) roundTrip {
	return func(r *http.Request, next send) (*http.Response, error) {
		if r.Method == http.MethodGet || !refuses() {
			return next(r)
		}
		body := fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d,"details":{"retryAfterSeconds":%d}}`, reason, status, seconds)
		return &http.Response{
			StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
			Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)),
		}, nil
	}
}

// A long pause that a server asks for must not stop a candidate long after the server has
// recovered.
func TestElector_ALongRetryAfterDelaysAClaimForAtMostALeaseDuration(t *testing.T) {
	withHarness(t, func(h *harness) {
		var recovered atomic.Bool
		a := h.start("a", withRoundTrip(refuseWrites(429, "TooManyRequests", 3600, func() bool { return !recovered.Load() })))
		for i := range 120 {
			time.Sleep(time.Second)
			if err := a.Stuck(); err != nil {
				t.Fatalf("Stuck = %v after %d s", err, i)
			}
		}
		recovered.Store(true)
		h.waitUntil(20*time.Second, a.IsLeader)
	})
}

// A proxy may answer with a Status that has no message. The failure must be visible
// nevertheless, and claims must not be sent faster than after other failures.
func TestElector_AFailureWithoutAMessageIsAFailure(t *testing.T) {
	withHarness(t, func(h *harness) {
		var sent atomic.Int32
		a := h.start("a", withRoundTrip(refuseWrites(403, "Forbidden", 0, func() bool { sent.Add(1); return true })))
		time.Sleep(10 * time.Minute)
		if s := a.State(); s.LastError == "" || s.FailingSince.IsZero() {
			t.Errorf("State = %+v, want an error", s)
		}
		if most := int32(10 * time.Minute / a.config.RetryPeriod); sent.Load() > most {
			t.Errorf("%d claims were sent, want at most %d", sent.Load(), most)
		}
	})
}

// A refusal is no request for a pause, although it contains retryAfterSeconds.
func TestElector_ARefusalWithRetryAfterCostsNoTerm(t *testing.T) {
	withHarness(t, func(h *harness) {
		var refused atomic.Bool
		a := h.newReplica("a", nil, withRoundTrip(refuseWrites(403, "Forbidden", 30, func() bool { return refused.CompareAndSwap(true, false) })))
		a.run()
		h.waitUntil(time.Second, a.IsLeader)
		term, _ := a.Term()
		refused.Store(true)
		time.Sleep(40 * time.Second)
		if now, leads := a.Term(); !leads || now != term {
			t.Errorf("the term has ended: %v", a.State().EndCause)
		}
	})
}

// A long pause that a server asks for must not cost a term. client-go's elector ignores
// the pause in the body, and keeps its term.
func TestElector_ALongRetryAfterCostsNoTerm(t *testing.T) {
	for _, status := range []int{429, 500, 503} {
		withHarness(t, func(h *harness) {
			var refused atomic.Bool
			a := h.start("a", withRoundTrip(refuseWrites(status, "ServerTimeout", 3600, func() bool { return refused.CompareAndSwap(true, false) })))
			h.waitUntil(time.Second, a.IsLeader)
			term, _ := a.Term()
			refused.Store(true)
			time.Sleep(40 * time.Second)
			if now, leads := a.Term(); !leads || now != term {
				t.Errorf("status %d: the term has ended: %v", status, a.State().EndCause)
			}
		})
	}
}

// A hangingBody is the body of a response that never arrives.
type hangingBody struct{ ctx context.Context }

func (b hangingBody) Read([]byte) (int, error) { <-b.ctx.Done(); return 0, b.ctx.Err() }
func (hangingBody) Close() error               { return nil }

// A response whose body never arrives is one hung request. The term must survive it.
func TestElector_SurvivesAResponseWhoseBodyNeverArrives(t *testing.T) {
	withHarness(t, func(h *harness) {
		var armed atomic.Bool
		a := h.newReplica("a", nil, withRoundTrip(func(r *http.Request, next send) (*http.Response, error) {
			if r.Method == http.MethodPut && armed.CompareAndSwap(true, false) {
				// The proxy answers with headers only; the API server never sees the request.
				if trace := httptrace.ContextClientTrace(r.Context()); trace != nil {
					if trace.GetConn != nil {
						trace.GetConn("x")
					}
					if trace.GotFirstResponseByte != nil {
						trace.GotFirstResponseByte()
					}
				}
				return &http.Response{StatusCode: 200, Status: "200 OK", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
					Header: http.Header{"Content-Type": {"application/json"}}, Body: hangingBody{r.Context()}, Request: r}, nil
			}
			return next(r)
		}))
		a.run()
		h.waitUntil(time.Second, a.IsLeader)
		term, _ := a.Term()
		armed.Store(true)
		time.Sleep(30 * time.Second)
		if now, leads := a.Term(); !leads || now != term {
			t.Errorf("term %v has ended: %v; now %v", term, a.State().EndCause, now)
		}
	})
}

// Two creates of one candidate are pending. The first one wins, its Lease is deleted, and
// then the second one is applied. The term must end, because the Lease has another UID.
// The Elector must recognize the second create as its own and lead again soon.
func TestElector_RecognizesItsLateCreateAfterADeletion(t *testing.T) {
	for name, wait := range map[string]time.Duration{"deleted at once": 0, "deleted just before the second create": time.Second} {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(h *harness) {
				a := h.newReplica("a", nil)
				a.network.Fail(403, 0, leaderelectiontest.Verbs("watch"))
				first := a.network.DelayRequests(2600*time.Millisecond, leaderelectiontest.Verbs("create"), leaderelectiontest.Once())
				a.run()
				<-first.Struck()
				second := a.network.DelayRequests(1500*time.Millisecond, leaderelectiontest.Verbs("create"), leaderelectiontest.Once())
				<-second.Struck()
				h.waitUntil(3*time.Second, a.IsLeader)
				term, _ := a.Term()
				before, err := h.server.Get("default", "my-app-leader")
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(wait)
				if err := h.server.Delete("default", "my-app-leader"); err != nil {
					t.Fatal(err)
				}
				h.waitUntil(3*time.Second, func() bool {
					lease, err := h.server.Get("default", "my-app-leader")
					return err == nil && lease.UID != before.UID
				})
				h.waitUntil(5*time.Second, func() bool {
					now, leads := a.Term()
					return leads && now != term
				})
			})
		})
	}
}
