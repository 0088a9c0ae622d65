package leaderelection_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// A traceRecord records the calls of the functions of a Trace.
type traceRecord struct {
	mu       sync.Mutex
	elector  *leaderelection.Elector
	lines    []string
	requests map[string]int // number of requests by "purpose:failure"
	started  []leaderelection.TermStarted
	ended    []leaderelection.TermEnded
}

func (r *traceRecord) locked(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *traceRecord) trace(e *leaderelection.Elector) leaderelection.Trace {
	r.elector, r.requests = e, map[string]int{}
	return leaderelection.Trace{
		RunStarted: func() { r.locked(func() { r.lines = append(r.lines, "run started") }) },
		RunEnded:   func(err error) { r.locked(func() { r.lines = append(r.lines, fmt.Sprintf("run ended: %v", err)) }) },
		Request:    func(q leaderelection.Request) { r.locked(func() { r.requests[q.For+":"+q.Failure]++ }) },
		LeaderObserved: func(identity string, _ time.Time) {
			r.locked(func() { r.lines = append(r.lines, "leader "+identity) })
		},
		TermStarted: func(b leaderelection.TermStarted) {
			r.elector.IsLeader() // a function of a Trace may call any method of the Elector
			_ = r.elector.State()
			r.locked(func() { r.lines, r.started = append(r.lines, "started"), append(r.started, b) })
		},
		TermStopping: func(leaderelection.TermStopping) { r.locked(func() { r.lines = append(r.lines, "stopping") }) },
		TermEnded: func(end leaderelection.TermEnded) {
			r.locked(func() { r.lines, r.ended = append(r.lines, "ended"), append(r.ended, end) })
		},
	}
}

func TestTrace_ReportsATermInOrder(t *testing.T) {
	withHarness(t, func(h *harness) {
		var r traceRecord
		a := h.newReplica("a", []leaderelection.Option{leaderelection.WithTraceFor(r.trace)}, withWork(func(ctx context.Context) {
			<-ctx.Done()
			time.Sleep(time.Second)
		}))
		if r.elector != a.Elector {
			t.Fatalf("WithTraceFor called its function with %p, want %p", r.elector, a.Elector)
		}
		a.run()
		time.Sleep(5 * time.Second)
		if err := a.stop(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if want := []string{"run started", "leader a", "started", "stopping", "ended", "leader ", "run ended: <nil>"}; !sameSet(r.lines, want) ||
			!ordered(r.lines, "run started", "started", "stopping", "ended", "run ended: <nil>") {
			t.Errorf("calls of the trace: %q, want %q", r.lines, want)
		}
		if b := r.started[0]; b.Previous != "none" || b.SincePrevious != 0 || b.Term.Identity != "a" {
			t.Errorf("TermStarted = %+v, want no previous term", b)
		}
		if end := r.ended[0]; !errors.Is(end.Cause, leaderelection.ErrCancelled) || end.StopTook != time.Second || end.Overran || !end.Released {
			t.Errorf("TermEnded = %+v, want a release after one second", end)
		}
		if r.requests["claim:"] != 1 || r.requests["renew:"] < 2 || r.requests["release:"]+r.requests["release:canceled"] != 1 || r.requests["read:"] == 0 {
			t.Errorf("requests = %v, want one claim, renewals, one release and reads", r.requests)
		}
	})
}

func sameSet(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// ordered reports whether lines contains all strings in words, in this order. Other
// strings may be between them.
func ordered(lines []string, words ...string) bool {
	for _, line := range lines {
		if len(words) > 0 && line == words[0] {
			words = words[1:]
		}
	}
	return len(words) == 0
}

func TestTrace_ReportsHowThePreviousTermEnded(t *testing.T) {
	withHarness(t, func(h *harness) {
		a := h.start("a")
		h.waitUntil(time.Second, a.IsLeader)
		var r traceRecord
		h.newReplica("b", []leaderelection.Option{leaderelection.WithTraceFor(r.trace)}).run()
		time.Sleep(10 * time.Second)
		_ = a.stop()
		time.Sleep(time.Second)
		synctest.Wait()
		if b := r.started[0]; b.Previous != "released" || b.SincePrevious > 500*time.Millisecond {
			t.Errorf("TermStarted = %+v, want at most 500 ms after a release", b)
		}
	})
	withHarness(t, func(h *harness) {
		a := h.start("a")
		h.waitUntil(time.Second, a.IsLeader)
		var r traceRecord
		h.newReplica("b", []leaderelection.Option{leaderelection.WithTraceFor(r.trace)}).run()
		time.Sleep(10 * time.Second)
		a.network.Cut(hang)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if b := r.started[0]; b.Previous != "expired" || b.SincePrevious < 15*time.Second || b.SincePrevious > 16*time.Second {
			t.Errorf("TermStarted = %+v, want one LeaseDuration after the last renewal", b)
		}
		if b := r.requests["nominate:"]; b != 1 {
			t.Errorf("requests = %v, want one nomination", r.requests)
		}
	})
}

func TestTrace_ABlockedTraceDelaysNoTerm(t *testing.T) {
	withHarness(t, func(h *harness) {
		unblock := make(chan struct{})
		a := h.newReplica("a", []leaderelection.Option{leaderelection.WithTrace(leaderelection.Trace{
			Request: func(leaderelection.Request) { <-unblock },
		})})
		a.run()
		h.waitUntil(time.Second, a.IsLeader)
		began := h.elapsed()
		if err := a.stop(); err != nil {
			t.Fatal(err)
		}
		if took := h.elapsed() - began; took > 100*time.Millisecond {
			t.Errorf("Run took %v to return, want at most 100 ms", took)
		}
		close(unblock)
		synctest.Wait()
	})
}

// A program's own Trace must not delay the Traces of metrics, health and status.
func TestTrace_ABlockedTraceDelaysNoOtherTrace(t *testing.T) {
	withHarness(t, func(h *harness) {
		unblock := make(chan struct{})
		var events []string // only the goroutine of the second Trace changes it, and RunEnded is called after the last change
		a := h.newReplica("a", []leaderelection.Option{
			leaderelection.WithTrace(leaderelection.Trace{LeaderObserved: func(string, time.Time) { <-unblock }}),
			leaderelection.WithTrace(leaderelection.Trace{
				TermStarted:  func(leaderelection.TermStarted) { events = append(events, "started") },
				TermStopping: func(leaderelection.TermStopping) { events = append(events, "stopping") },
				TermEnded:    func(leaderelection.TermEnded) { events = append(events, "ended") },
				RunEnded:     func(error) { events = append(events, "run ended") },
			}),
		})
		a.run()
		h.waitUntil(time.Second, a.IsLeader)
		synctest.Wait()
		if want := []string{"started"}; !slices.Equal(events, want) {
			t.Errorf("while the Elector leads the events are %q, want %q", events, want)
		}
		began := time.Now()
		if err := a.stop(); err != nil || time.Since(began) > 100*time.Millisecond {
			t.Errorf("Run = %v after %v", err, time.Since(began))
		}
		if want := []string{"started", "stopping", "ended", "run ended"}; !slices.Equal(events, want) {
			t.Errorf("after Run the events are %q, want %q", events, want)
		}
		close(unblock)
		synctest.Wait()
	})
}

func TestElector_LastContactIsTheTimeOfTheLastReply(t *testing.T) {
	withHarness(t, func(h *harness) {
		a := h.newReplica("a", nil)
		if at := a.LastContact(); !at.IsZero() {
			t.Errorf("LastContact = %v before Run, want zero", at)
		}
		a.run()
		time.Sleep(10 * time.Second)
		if age := time.Since(a.LastContact()); age > 2*time.Second {
			t.Errorf("LastContact is %v ago, want at most RetryPeriod: 2 s", age)
		}
		a.network.Cut(refuse)
		time.Sleep(8 * time.Second)
		if age := time.Since(a.LastContact()); age < 8*time.Second {
			t.Errorf("LastContact is %v ago, want at least 8 s, the time without a reply", age)
		}
	})
}

func TestElector_IsStuckNeitherWhileItWaitsNorInAnOutage(t *testing.T) {
	withHarness(t, func(h *harness) {
		a, b := h.start("a"), h.start("b")
		check := func(when string, d time.Duration) {
			for range d / time.Second {
				time.Sleep(time.Second)
				for _, r := range []*replica{a, b} {
					if err := r.Stuck(); err != nil {
						t.Fatalf("Stuck of %s %s = %v, want nil", r.config.Identity, when, err)
					}
				}
			}
		}
		check("while one leads", time.Minute)
		a.network.Cut(hang)
		check("while requests hang", 5*time.Minute)
		a.network.Heal()
		b.network.Cut(refuse)
		check("while connections are refused", 5*time.Minute)
		h.stopAll()
		check("after Run", 5*time.Minute)
	})
}

// With the shortest LeaseDuration, an attempt to claim takes longer than the trust
// window. Nevertheless, the Elector is not stuck.
func TestElector_IsNotStuckInAnOutageWithTheShortestLease(t *testing.T) {
	withHarness(t, func(h *harness) {
		a := h.start("a", withConfig(func(c *leaderelection.Config) {
			c.LeaseDuration, c.RenewDeadline, c.RetryPeriod = time.Second, 970*time.Millisecond, 800*time.Millisecond
		}))
		time.Sleep(5 * time.Second)
		h.server.Outage(hang)
		for range 3000 {
			time.Sleep(20 * time.Millisecond)
			if err := a.Stuck(); err != nil {
				t.Fatalf("Stuck = %v, want nil", err)
			}
		}
	})
}

func TestElector_IsStuckWhenWorkOutlivesItsTerm(t *testing.T) {
	withHarness(t, func(h *harness) {
		end := make(chan struct{})
		a := h.start("a", withConfig(func(c *leaderelection.Config) { c.StopTimeout = time.Second }), withWork(func(context.Context) { <-end }))
		h.waitUntil(time.Second, a.IsLeader)
		if err := a.stop(); !errors.Is(err, leaderelection.ErrWorkStillRunning) {
			t.Fatalf("Run = %v, want ErrWorkStillRunning", err)
		}
		if err := a.Stuck(); !errors.Is(err, leaderelection.ErrWorkStillRunning) {
			t.Errorf("Stuck = %v while the work runs, want ErrWorkStillRunning", err)
		}
		close(end)
		synctest.Wait()
		if err := a.Stuck(); err != nil {
			t.Errorf("Stuck = %v after the work returned, want nil", err)
		}
	})
}

// A hangingTransport blocks requests while the field hangs is true. It ignores the
// context of a request, as some credential plugins do.
type hangingTransport struct {
	http.RoundTripper
	unblock chan struct{} // closed when the blocked requests may continue
	hangs   atomic.Bool
}

func (d *hangingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if d.hangs.Load() {
		<-d.unblock
	}
	return d.RoundTripper.RoundTrip(r)
}

// A client that ignores its contexts must not delay Run. Only a restart of the process
// helps, and Stuck reports this while Run runs.
func TestElector_RunReturnsWhenAClientIgnoresItsContexts(t *testing.T) {
	for name, leads := range map[string]bool{"leader": true, "candidate": false} {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(h *harness) {
				transport := &hangingTransport{unblock: make(chan struct{})}
				defer close(transport.unblock)
				restConfig := h.server.Client("a").Config()
				transport.RoundTripper, restConfig.Transport = restConfig.Transport, transport
				transport.hangs.Store(!leads)
				elector, err := leaderelection.New(config("a"), kubernetes.NewForConfigOrDie(restConfig), leaderelection.Callbacks{}, debugLogger)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(context.Background())
				ran := make(chan error)
				go func() { ran <- elector.Run(ctx) }()
				time.Sleep(10 * time.Second)
				transport.hangs.Store(true)
				time.Sleep(10 * time.Second)
				if err := elector.Stuck(); err != nil {
					t.Errorf("Stuck = %v after at most 20 s, want nil", err)
				}
				time.Sleep(time.Minute)
				if err := elector.Stuck(); err == nil {
					t.Error("Stuck = nil, although requests have ignored their contexts for a minute")
				}
				cancel()
				began := time.Now()
				if err := <-ran; err != nil || time.Since(began) > 6*time.Second {
					t.Errorf("Run = %v after %v", err, time.Since(began))
				}
				if err := elector.Stuck(); err != nil {
					t.Errorf("Stuck = %v after Run, want nil", err)
				}
			})
		})
	}
}

// The test reads errors.go, because the first group of variables in this file lists the
// errors that end a term. Each of these errors needs a reason of its own.
func TestTermStopping_NamesAReasonForEachErrorThatEndsATerm(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	group := file.Decls[slices.IndexFunc(file.Decls, func(d ast.Decl) bool {
		g, ok := d.(*ast.GenDecl)
		return ok && g.Tok == token.VAR
	})].(*ast.GenDecl)
	if n := len(leaderelection.TermReasons()); n != len(group.Specs) {
		t.Errorf("TermReasons has %d reasons for %d errors", n, len(group.Specs))
	}
	for want, cause := range map[string]error{
		"cancelled": leaderelection.ErrCancelled, "stepped_down": leaderelection.ErrSteppedDown, "renewal_failed": leaderelection.ErrRenewalFailed,
		"overtaken": leaderelection.ErrOvertaken, "lease_deleted": leaderelection.ErrLeaseDeleted, "history_rewound": leaderelection.ErrHistoryRewound,
	} {
		stopping := leaderelection.TermStopping{Cause: fmt.Errorf("wrapped: %w", cause)}
		if got := stopping.Reason(); got != want || !slices.Contains(leaderelection.TermReasons(), want) {
			t.Errorf("the reason of %v is %q, want %q", cause, got, want)
		}
	}
	if got := (leaderelection.TermStopping{Cause: errors.New("unknown")}).Reason(); got != "other" {
		t.Errorf("the reason of an unknown error is %q", got)
	}
}
