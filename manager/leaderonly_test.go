package manager_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/flowcontrol"
	"sigs.k8s.io/controller-runtime/pkg/cache/informertest"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
	"github.com/haproxy-template-ic/incumbent/manager"
)

// electorConfig returns the configuration of an Elector whose identity is name.
func electorConfig(name string) *leaderelection.Config {
	return &leaderelection.Config{
		Enabled: true, Identity: name, LeaseName: leaseName, LeaseNamespace: "default",
		LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod,
		ReleaseOnCancel: true,
	}
}

// withElector starts a Manager of controller-runtime with an Elector and with
// Runnables. Each function in runnables creates one of these Runnables from the
// Elector.
func (m memory) withElector(name string, callbacks leaderelection.Callbacks, runnables ...func(*manager.Elector) crmanager.Runnable) (*process, *manager.Elector) {
	m.t.Helper()
	p := m.make(name, crmanager.New, func(o *crmanager.Options) { o.LeaderElection = false })
	e, err := manager.NewElector(p, electorConfig(name), callbacks)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, runnable := range runnables {
		if err := p.Add(runnable(e)); err != nil {
			m.t.Fatal(err)
		}
	}
	return start(m.t, p), e
}

// leaderOnly returns a function that calls LeaderOnly with f as Runnable.
// The returned function is an argument for withElector.
func leaderOnly(f func(context.Context) error, opts ...manager.LeaderOnlyOption) func(*manager.Elector) crmanager.Runnable {
	return func(e *manager.Elector) crmanager.Runnable {
		return manager.LeaderOnly(e, crmanager.RunnableFunc(f), opts...)
	}
}

// untilDone returns a function that waits until its context is done, and then sleeps
// for the duration slow.
func untilDone(slow time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		<-ctx.Done()
		time.Sleep(slow)
		return ctx.Err()
	}
}

// await waits until the function want returns true for the state of e. It returns that
// state. It fails the test after one minute.
func await(t *testing.T, e *manager.Elector, want func(leaderelection.State) bool) leaderelection.State {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var state leaderelection.State
	for state = range e.Changes(ctx) {
		if want(state) {
			return state
		}
	}
	t.Fatalf("timeout; the state of the elector is %+v", state)
	return state
}

func leading(s leaderelection.State) bool { return s.Leading }

func TestLeaderOnly_RunsInEachTermWithoutARestartOfTheProcess(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		var tokens []leaderelection.Token
		p, a := m.withElector("a", leaderelection.Callbacks{}, leaderOnly(func(ctx context.Context) error {
			term, _ := leaderelection.TermFromContext(ctx)
			tokens = append(tokens, term.Token)
			return untilDone(0)(ctx)
		}))
		await(t, a, leading)
		_, b := m.withElector("b", leaderelection.Callbacks{})
		for range 3 {
			await(t, a, leading)
			synctest.Wait()
			if err := a.StepDown(t.Context()); err != nil {
				t.Fatal(err)
			}
			await(t, b, leading)
			if err := b.StepDown(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		await(t, a, leading)
		synctest.Wait()
		if len(tokens) != 4 || !slices.IsSorted(tokens) || len(slices.Compact(slices.Clone(tokens))) != 4 {
			t.Errorf("it ran in the terms %v, want four that grow", tokens)
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestLeaderOnly_AllStartTogetherAndTheReleaseWaitsForAll(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		starts := make(chan time.Time, 2)
		work := func(slow time.Duration) func(context.Context) error {
			return func(ctx context.Context) error {
				starts <- time.Now()
				return untilDone(slow)(ctx)
			}
		}
		stopped := make(chan struct{})
		p, e := m.withElector("a", leaderelection.Callbacks{OnStoppedLeading: func() { close(stopped) }},
			leaderOnly(work(0)), leaderOnly(work(2*leaseDuration)))
		await(t, e, leading)
		if first, second := <-starts, <-starts; !first.Equal(second) {
			t.Errorf("they started at %v and %v, want together", first, second)
		}
		late := make(chan struct{})
		if err := p.Add(leaderOnly(func(ctx context.Context) error { close(late); return untilDone(0)(ctx) })(e)); err != nil {
			t.Fatal(err)
		}
		<-late // this Runnable was added during the term, so it must start at once

		asked := time.Now()
		p.cancel()
		time.Sleep(2*leaseDuration - time.Millisecond)
		if m.holder() != "a" || closed(stopped) {
			t.Errorf("the Lease is held by %q, OnStoppedLeading was called: %v, while one still runs", m.holder(), closed(stopped))
		}
		<-p.done
		if took := time.Since(asked); p.err != nil || m.holder() != "" || took != 2*leaseDuration || !closed(stopped) {
			t.Errorf("the Manager stopped with %v after %v, and the Lease held by %q", p.err, took, m.holder())
		}
	})
}

func TestLeaderOnly_AFailureEndsTheTermButNotTheProcess(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		fail := make(chan error)
		var stopAsked error
		p, a := m.withElector("a", leaderelection.Callbacks{},
			leaderOnly(func(ctx context.Context) error { return <-fail }),
			leaderOnly(func(ctx context.Context) error { <-ctx.Done(); stopAsked = context.Cause(ctx); return nil }))
		await(t, a, leading)
		_, b := m.withElector("b", leaderelection.Callbacks{})
		await(t, b, func(s leaderelection.State) bool { return s.Leader == "a" })
		synctest.Wait()
		failed := time.Now()
		fail <- errors.New("out of order")
		await(t, b, leading)
		if took := time.Since(failed); took > retryPeriod {
			t.Errorf("the other one led %v after the failure", took)
		}
		if !errors.Is(stopAsked, leaderelection.ErrSteppedDown) || p.stopped() {
			t.Errorf("the other Runnable's context ended because of %v, the process has stopped: %v", stopAsked, p.stopped())
		}
		if lines := p.logs.with("out of order"); len(lines) != 1 {
			t.Errorf("the failure was logged %d times: %q", len(lines), lines)
		}
		close(fail)
	})
}

func TestLeaderOnly_RepeatedFailuresDelayTheStart(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		starts := map[string][]time.Time{} // no lock is needed, because only one process works at a time
		for _, name := range []string{"a", "b"} {
			m.withElector(name, leaderelection.Callbacks{}, leaderOnly(func(context.Context) error {
				starts[name] = append(starts[name], time.Now())
				return errors.New("out of order")
			}))
		}
		time.Sleep(70 * time.Second)
		for name, times := range starts {
			if len(times) != 7 {
				t.Errorf("%s was started %d times in 70 s, want 7", name, len(times))
			}
			for i := 1; i < len(times); i++ {
				if gap, want := times[i].Sub(times[i-1]), time.Second<<(i-1); gap < want {
					t.Errorf("%s was started for the %d. time after %v, want at least %v", name, i+1, gap, want)
				}
			}
		}
		if len(starts) != 2 {
			t.Errorf("%d processes were started", len(starts))
		}
	})
}

func TestLeaderOnly_FailManagerStopsItWithAllErrors(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		first, second := errors.New("out of order"), errors.New("cannot stop well")
		started := make(chan struct{})
		p, _ := m.withElector("a", leaderelection.Callbacks{},
			leaderOnly(func(context.Context) error { <-started; return first }, manager.FailManager()),
			leaderOnly(func(ctx context.Context) error {
				close(started)
				<-ctx.Done()
				time.Sleep(time.Second)
				return second
			}))
		<-p.done
		if !errors.Is(p.err, first) || !errors.Is(p.err, second) || m.holder() != "" {
			t.Errorf("the Manager stopped with %v and the Lease held by %q, want both errors and no holder", p.err, m.holder())
		}
	})
}

func TestLeaderOnly_StoppingOneRunnableDoesNotEndTheTerm(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		_, e := m.withElector("a", leaderelection.Callbacks{})
		await(t, e, leading)
		began, ended := make(chan struct{}), make(chan struct{})
		one := leaderOnly(func(ctx context.Context) error {
			close(began)
			defer close(ended)
			return untilDone(time.Second)(ctx)
		})(e)
		ctx, cancel := context.WithCancel(t.Context())
		run := begin(func() error { return one.Start(ctx) })
		<-began
		cancel()
		<-run.done
		if run.err != nil || !closed(ended) || !e.IsLeader() {
			t.Errorf("its Start returned %v; it has stopped: %v; the elector leads: %v", run.err, closed(ended), e.IsLeader())
		}
	})
}

func TestLeaderOnly_ReturningNilCompletesTheWorkOfTheTerm(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		runs := 0
		_, a := m.withElector("a", leaderelection.Callbacks{}, leaderOnly(func(context.Context) error { runs++; return nil }))
		await(t, a, leading)
		time.Sleep(10 * leaseDuration)
		if !a.IsLeader() || runs != 1 {
			t.Errorf("it leads: %v, after %d runs; want one and the term to go on", a.IsLeader(), runs)
		}
	})
}

func TestLeaderOnly_OnLossAllAreCancelledAndTheNextTermWaitsForThem(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		running := 0
		_, a := m.withElector("a", leaderelection.Callbacks{}, leaderOnly(func(ctx context.Context) error {
			if running++; running > 1 {
				t.Error("it was started while it was running")
			}
			defer func() { running-- }()
			return untilDone(margin / 2)(ctx)
		}))
		first := await(t, a, leading).Term
		m.Client("a").Network().Cut(leaderelectiontest.Hang)
		state := await(t, a, func(s leaderelection.State) bool { return !s.Leading })
		if !errors.Is(state.EndCause, leaderelection.ErrRenewalFailed) {
			t.Errorf("the term ended because of %v", state.EndCause)
		}
		m.Client("a").Network().Heal()
		if second := await(t, a, leading).Term; second.Token <= first.Token {
			t.Errorf("the terms %v and %v", first, second)
		}
	})
}

func TestNewElector_SupportsSeveralElectorsInOneManager(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		p := m.make("a", crmanager.New, func(o *crmanager.Options) { o.LeaderElection = false })
		electors := map[string]*manager.Elector{}
		for _, name := range []string{"one", "two"} {
			config := electorConfig("a")
			config.LeaseName = name
			e, err := manager.NewElector(p, config, leaderelection.Callbacks{})
			if err != nil {
				t.Fatal(err)
			}
			electors[name] = e
		}
		start(t, p)
		for name, e := range electors {
			state := await(t, e, leading)
			if state.Term.Lease != "default/"+name {
				t.Errorf("the term is on %s, want %s", state.Term.Lease, name)
			}
		}
		if err := electors["one"].StepDown(t.Context()); err != nil || !electors["two"].IsLeader() {
			t.Errorf("stepping down from one: %v; it leads two: %v", err, electors["two"].IsLeader())
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestNewElector_ItsErrorStopsTheManager(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		_, e := m.withElector("a", leaderelection.Callbacks{})
		await(t, e, leading)
		duplicate, _ := m.withElector("a", leaderelection.Callbacks{})
		<-duplicate.done
		if !errors.Is(duplicate.err, leaderelection.ErrIdentityInUse) {
			t.Errorf("the Manager stopped with %v, want ErrIdentityInUse", duplicate.err)
		}
	})
}

func TestNewElector_BadConfigurationIsRefused(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		p := m.make("a", crmanager.New, func(o *crmanager.Options) { o.LeaderElection = false })
		config := electorConfig("a")
		config.LeaseName = ""
		for _, c := range []*leaderelection.Config{nil, config} {
			if e, err := manager.NewElector(p, c, leaderelection.Callbacks{}); err == nil || e != nil {
				t.Errorf("NewElector returned %v and %v, want only an error", e, err)
			}
		}
		if _, err := manager.NewElector(nil, electorConfig("a"), leaderelection.Callbacks{}); err == nil {
			t.Error("NewElector accepts a nil Manager")
		}
	})
}

// If Enabled was forgotten, every replica would lead.
func TestNewElector_RefusesAConfigWhoseEnabledWasForgotten(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		p := m.make("a", crmanager.New, func(o *crmanager.Options) { o.LeaderElection = false })
		forgotten := electorConfig("a")
		forgotten.Enabled = false
		if e, err := manager.NewElector(p, forgotten, leaderelection.Callbacks{}); err == nil || e != nil || !strings.Contains(err.Error(), "AllowDisabled") {
			t.Errorf("NewElector returned %v and %v, want only an error that names AllowDisabled", e, err)
		}
		allowed := *forgotten
		allowed.AllowDisabled = true
		if _, err := manager.NewElector(p, &allowed, leaderelection.Callbacks{}); err != nil {
			t.Error(err)
		}
	})
}

// A recordingManager is a Manager whose event recorder a test can read.
type recordingManager struct {
	crmanager.Manager
	recorder *record.FakeRecorder
}

func (m recordingManager) GetEventRecorderFor(string) record.EventRecorder { return m.recorder }

func TestNewElector_TakesClientLoggerAndRecorderFromTheManager(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		p := &process{name: "a", logs: &logs{}}
		opts := managerOptions("default", p.logs)
		opts.LeaderElection = false
		cfg := m.Client("a").Config()
		cfg.UserAgent = "my-operator/1.2"
		cfg.RateLimiter = flowcontrol.NewFakeNeverRateLimiter() // the Elector must not use this rate limiter, because it never permits a request
		agents := make(chan string, 100)
		cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTripperFunc(func(r *http.Request) (*http.Response, error) {
				agents <- r.UserAgent()
				return next.RoundTrip(r)
			})
		})
		mgr, err := crmanager.New(cfg, opts)
		if err != nil {
			t.Fatal(err)
		}
		recorder := record.NewFakeRecorder(10)
		p.Manager = recordingManager{mgr, recorder}
		e, err := manager.NewElector(p, electorConfig("a"), leaderelection.Callbacks{})
		if err != nil {
			t.Fatal(err)
		}
		start(t, p)
		await(t, e, leading)
		if event := <-recorder.Events; !strings.Contains(event, "a became leader") {
			t.Errorf("the event is %q", event)
		}
		if agent := <-agents; agent != "my-operator/1.2/incumbent-leader-election" {
			t.Errorf("the user agent of the elector is %q", agent)
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
		if lines := p.logs.with("Became leader", "lease=default/operator"); len(lines) != 1 {
			t.Errorf("the Manager's log has %q", lines)
		}
	})
}

func TestNewElector_CampaignsOnlyOnceTheManagersCachesHaveSynced(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		synced := make(chan struct{})
		n := neighbour{newWorker(0), &slowCaches{FakeInformers: &informertest.FakeInformers{}, synced: synced}}
		p, e := m.withElector("a", leaderelection.Callbacks{}, func(*manager.Elector) crmanager.Runnable { return n })
		<-n.started
		synctest.Wait()
		if requests := m.Count("", ""); requests > 0 {
			t.Errorf("%d requests for the Lease while the caches were cold", requests)
		}
		close(synced)
		await(t, e, leading)
		if err := p.stop(); err != nil || m.holder() != "" {
			t.Errorf("the Manager stopped with %v and the Lease held by %q", err, m.holder())
		}
	})
}

func TestElector_OfPackageLeaderelectionStopsTheManagerWithItsError(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		_, first := m.withElector("a", leaderelection.Callbacks{})
		await(t, first, leading)
		p := m.make("a", crmanager.New, func(o *crmanager.Options) { o.LeaderElection = false })
		duplicate, err := leaderelection.New(electorConfig("a"), m.Client("a").Clientset(), leaderelection.Callbacks{}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Add(duplicate); err != nil {
			t.Fatal(err)
		}
		start(t, p)
		<-p.done
		if !errors.Is(p.err, leaderelection.ErrIdentityInUse) {
			t.Errorf("the Manager stopped with %v, want ErrIdentityInUse", p.err)
		}
	})
}

// An Elector created by leaderelection.New can also be added with mgr.Add.
func TestElector_OfPackageLeaderelectionIsAddedStartedAndStopped(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		p := m.make("a", crmanager.New, func(o *crmanager.Options) { o.LeaderElection = false })
		began, ended := make(chan struct{}), make(chan struct{})
		e, err := leaderelection.New(electorConfig("a"), m.Client("a").Clientset(), leaderelection.Callbacks{
			OnStartedLeading: func(ctx context.Context) {
				close(began)
				<-ctx.Done()
				time.Sleep(leaseDuration)
				close(ended)
			},
		}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Add(e); err != nil {
			t.Fatal(err)
		}
		start(t, p)
		<-began
		if err := p.stop(); err != nil || !closed(ended) || m.holder() != "" {
			t.Errorf("the Manager stopped with %v; the work has ended: %v; the Lease is held by %q", err, closed(ended), m.holder())
		}
	})
}

// A goroutine of an earlier term writes while this process leads again. The guard
// recognizes the earlier term in the context of the write.
func TestGuardClient_RefusesAGoroutineOfAnEarlierTerm(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		terms := make(chan context.Context, 2)
		_, e := m.withElector("a", leaderelection.Callbacks{}, leaderOnly(func(ctx context.Context) error {
			// WithoutCancel simulates a common mistake: this context is never
			// cancelled.
			terms <- context.WithoutCancel(ctx)
			return untilDone(0)(ctx)
		}))
		old := <-terms
		if err := e.StepDown(t.Context()); err != nil {
			t.Fatal(err)
		}
		current := <-terms
		transport := manager.GuardTransport(e, roundTripperFunc(okay))
		if _, err := transport.RoundTrip(post(t, old)); !errors.Is(err, manager.ErrWriteRefused) {
			t.Errorf("a write of the earlier term: %v, want ErrWriteRefused", err)
		}
		if _, err := transport.RoundTrip(post(t, current)); err != nil {
			t.Errorf("a write of this term: %v", err)
		}
		// Without renewals, leadership is no longer certain after the trust window.
		m.Client("a").Network().Cut(leaderelectiontest.Hang)
		time.Sleep(trustWindow)
		if _, err := transport.RoundTrip(post(t, current)); !errors.Is(err, manager.ErrWriteRefused) {
			t.Errorf("a write without certain leadership: %v, want ErrWriteRefused", err)
		}
	})
}
