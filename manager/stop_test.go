package manager_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/manager"
)

var errClosed = errors.New("server closed")

// work is the code of a Runnable. The parameter started is the context that the program
// passed to the Manager's Start. The parameter own is the Runnable's own context.
type work func(started, own context.Context) error

// Each type of these Runnables belongs to another group of controller-runtime.
type (
	elected    struct{ start func(context.Context) error }
	everywhere struct{ elected }
	warming    struct{ start func(context.Context) error }
	caching    struct{ elected }
)

func (r elected) Start(ctx context.Context) error  { return r.start(ctx) }
func (everywhere) NeedLeaderElection() bool        { return false }
func (warming) Start(ctx context.Context) error    { <-ctx.Done(); return nil }
func (r warming) Warmup(ctx context.Context) error { return r.start(ctx) }
func (caching) GetCache() cache.Cache              { return syncedCache{} }

type syncedCache struct{ cache.Cache }

func (syncedCache) WaitForCacheSync(context.Context) bool { return true }

// A listener is closed from outside: Accept returns errClosed when the channel is closed.
type listener <-chan struct{}

func (l listener) Accept() (net.Conn, error) { <-l; return nil, errClosed }
func (listener) Close() error                { return nil }
func (listener) Addr() net.Addr              { return &net.TCPAddr{} }

var kinds = map[string]func(func(context.Context) error) crmanager.Runnable{
	"leader-only": func(start func(context.Context) error) crmanager.Runnable { return elected{start} },
	"everywhere":  func(start func(context.Context) error) crmanager.Runnable { return everywhere{elected{start}} },
	"warm-up":     func(start func(context.Context) error) crmanager.Runnable { return warming{start} },
	"cluster":     func(start func(context.Context) error) crmanager.Runnable { return caching{elected{start}} },
}

// run adds a Runnable of the given kind to the Manager of p and starts p.
func (f work) run(t *testing.T, p *process, kind string) {
	t.Helper()
	started, cancel := context.WithCancel(t.Context())
	if err := p.Add(kinds[kind](func(own context.Context) error { return f(started, own) })); err != nil {
		t.Fatal(err)
	}
	p.cancel, p.done = cancel, make(chan struct{})
	go func() {
		defer close(p.done)
		p.err = p.Start(started)
	}()
	t.Cleanup(func() { _ = p.stop() })
}

// The method doing starts a process whose Manager has one Runnable of the given kind.
// It waits until the process leads or, if leads is false, campaigns beside a leader.
func (m memory) doing(kind string, leads bool, f work) *process {
	m.t.Helper()
	if !leads {
		m.leader("other", forEver)
	}
	p := m.make("a", incumbent(manager.WithIdentity("a")))
	f.run(m.t, p, kind)
	if leads {
		<-p.Elected()
	}
	synctest.Wait()
	return p
}

// forEachRole runs f for each kind of Runnable, on a leader and on a follower.
func forEachRole(t *testing.T, f func(t *testing.T, kind string, leads bool)) {
	for kind := range kinds {
		for role, leads := range map[string]bool{"leader": true, "follower": false} {
			if leads || kind != "leader-only" {
				t.Run(kind+"/"+role, func(t *testing.T) { f(t, kind, leads) })
			}
		}
	}
}

// The Runnable follows the context of Start, like an HTTP server that the program closes
// when it receives a signal. controller-runtime logs the error of such a Runnable. The
// goroutines run in a random order, so the test has many rounds.
func TestStart_AnErrorAfterTheStopHasBegunIsLogged(t *testing.T) {
	forEachRole(t, func(t *testing.T, kind string, leads bool) {
		for range 50 {
			runInMemory(t, func(t *testing.T, m memory) {
				p := m.doing(kind, leads, func(started, _ context.Context) error { <-started.Done(); return errClosed })
				if err := p.stop(); err != nil {
					t.Errorf("Start returned %v for an orderly stop, want nil", err)
				}
				if len(p.logs.with("level=ERROR", errClosed.Error())) != 1 {
					t.Errorf("the error of the Runnable was logged %d times as an error, want once", len(p.logs.with("level=ERROR", errClosed.Error())))
				}
			})
			if t.Failed() {
				return
			}
		}
	})
}

func TestOperator_AnOrderlyStopEndsWithoutAnError(t *testing.T) {
	s := startTestCluster(t, true)
	process := func(name string) *process {
		c := s.plane.Client(name)
		t.Cleanup(c.Close)
		p := &process{name: name, logs: &logs{}}
		var err error
		if p.Manager, err = manager.New(c.Config(), managerOptions(s.namespace, p.logs)); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, role := range []string{"leader", "follower"} {
		if role == "follower" {
			s.await("election", start(t, process("other")).Elected())
		}
		for i := range 20 {
			works := make(chan struct{})
			p := process(fmt.Sprint(role, i))
			work(func(started, _ context.Context) error {
				close(works)
				<-started.Done()
				return errClosed
			}).run(t, p, "everywhere")
			s.await("the Runnable of the "+role, works)
			if role == "leader" {
				s.await("election", p.Elected())
			}
			if err := p.stop(); err != nil {
				t.Errorf("%s %d: Start returned %v for an orderly stop, want nil", role, i, err)
			}
		}
	}
}

// The error and the end of the context are ready at the same time. Start may return
// either, but the error must not be lost.
func TestStart_AnErrorAtTheMomentOfTheStopIsNotLost(t *testing.T) {
	forEachRole(t, func(t *testing.T, kind string, leads bool) {
		for range 50 {
			runInMemory(t, func(t *testing.T, m memory) {
				fails := make(chan struct{})
				p := m.doing(kind, leads, func(context.Context, context.Context) error { <-fails; return errClosed })
				close(fails)
				err := p.stop()
				logged := len(p.logs.with("level=ERROR", errClosed.Error())) == 1
				if err == nil && !logged || err != nil && !errors.Is(err, errClosed) {
					t.Errorf("Start returned %v, want the error of the Runnable, or nil and a log line; logged: %v", err, logged)
				}
			})
		}
	})
}

func TestStart_AnErrorBeforeTheStopIsReturned(t *testing.T) {
	forEachRole(t, func(t *testing.T, kind string, leads bool) {
		runInMemory(t, func(t *testing.T, m memory) {
			fails, slow := make(chan struct{}), newWorker(time.Second)
			slow.follows = true
			p := m.doing(kind, leads, func(context.Context, context.Context) error { <-fails; return errClosed })
			if err := p.Add(slow); err != nil {
				t.Fatal(err)
			}
			<-slow.started
			close(fails)
			<-slow.cancelled // the Manager stops because of the error
			if err := p.stop(); !errors.Is(err, errClosed) {
				t.Errorf("Start returned %v, want the error of the Runnable", err)
			}
		})
	})
}

// controller-runtime recognises an HTTP server by its type, so manager.New cannot watch it.
func TestStart_AnErrorOfAnHTTPServerIsReturnedOnlyIfItStoppedTheManager(t *testing.T) {
	for _, grace := range []time.Duration{forEver, time.Second} {
		for _, before := range []bool{true, false} {
			for range 20 {
				runInMemory(t, func(t *testing.T, m memory) {
					p, slow := m.make("a", incumbent(), func(o *crmanager.Options) { o.GracefulShutdownTimeout = &grace }), newWorker(3*time.Second)
					ctx, cancel := context.WithCancel(t.Context())
					closes, closeNow := context.WithCancel(ctx)
					defer closeNow()
					for _, r := range []crmanager.Runnable{slow, &crmanager.Server{Server: &http.Server{}, Listener: listener(closes.Done())}} { //nolint:gosec // no connection is accepted
						if err := p.Add(r); err != nil {
							t.Fatal(err)
						}
					}
					p.cancel = cancel
					p.done = make(chan struct{})
					go func() { defer close(p.done); p.err = p.Start(ctx) }()
					<-slow.started
					if before {
						closeNow()
						<-slow.cancelled
					}
					if err := p.stop(); (err != nil) != (before || grace > 0) || errors.Is(err, leaderelection.ErrWorkStillRunning) != (grace > 0) || errors.Is(err, errClosed) != (before && grace < 0) {
						t.Errorf("grace %v, error before the stop: %v: Start returned %v", grace, before, err)
					}
					<-slow.returned
					time.Sleep(leaseDuration)
				})
			}
		}
	}
}

// An error that follows from the stop must not hide why the Manager has stopped, and
// must not be returned beside it.
func TestStart_AfterALossOnlyTheLossIsReturned(t *testing.T) {
	forEachRole(t, func(t *testing.T, kind string, leads bool) {
		if !leads {
			return
		}
		for range 20 {
			runInMemory(t, func(t *testing.T, m memory) {
				p := m.doing(kind, leads, func(_, own context.Context) error { <-own.Done(); return errClosed })
				m.give("somebody")
				<-p.done
				if !errors.Is(p.err, manager.ErrLeadershipLost) || !errors.Is(p.err, leaderelection.ErrOvertaken) || errors.Is(p.err, errClosed) {
					t.Errorf("Start returned %v, want ErrLeadershipLost for ErrOvertaken alone", p.err)
				}
			})
		}
	})
}

func TestStart_AfterAnOrderlyStopTheGracePeriodIsStillReported(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		stopAsked, slow := make(chan struct{}), newWorker(time.Minute)
		p := m.make("a", incumbent(manager.WithIdentity("a")), func(o *crmanager.Options) { o.GracefulShutdownTimeout = ptr.To(time.Second) })
		for _, r := range []crmanager.Runnable{slow, everywhere{elected{func(context.Context) error { <-stopAsked; return errClosed }}}} {
			if err := p.Add(r); err != nil {
				t.Fatal(err)
			}
		}
		start(t, p)
		<-slow.started
		p.cancel()
		close(stopAsked)
		<-p.done
		if !errors.Is(p.err, context.DeadlineExceeded) || !errors.Is(p.err, leaderelection.ErrWorkStillRunning) || errors.Is(p.err, errClosed) {
			t.Errorf("Start returned %v, want only that the grace period expired", p.err)
		}
		<-slow.returned
		time.Sleep(leaseDuration)
	})
}

// A Manager stops its Runnables in any order, so either context may be done first.
func TestLeaderOnly_AnErrorAfterTheStopHasBegunIsNotReturned(t *testing.T) {
	for _, first := range []string{"the Elector", "the Runnable"} {
		for range 50 {
			runInMemory(t, func(t *testing.T, m memory) {
				p := m.make("a", crmanager.New, func(o *crmanager.Options) { o.LeaderElection = false })
				e, err := manager.NewElector(p, electorConfig("a"), leaderelection.Callbacks{}, leaderelection.WithEventRecorder(nil))
				if err != nil {
					t.Fatal(err)
				}
				runs, stopRun := context.WithCancel(t.Context())
				belongs, stopRunnable := context.WithCancel(t.Context())
				stopAsked, stopFirst, stopSecond := runs, stopRun, stopRunnable
				if first == "the Runnable" {
					stopAsked, stopFirst, stopSecond = belongs, stopRunnable, stopRun
				}
				started := make(chan struct{})
				runnable := manager.LeaderOnly(e, crmanager.RunnableFunc(func(context.Context) error {
					close(started)
					<-stopAsked.Done()
					return errClosed
				}), manager.FailManager())
				membership := begin(func() error { return runnable.Start(belongs) })
				run := begin(func() error { return e.Run(runs) })
				<-started
				stopFirst()
				synctest.Wait()
				stopSecond()
				<-run.done
				<-membership.done
				if run.err != nil || membership.err != nil {
					t.Errorf("%s first: Run returned %v and Start returned %v, want nil", first, run.err, membership.err)
				}
				if cause := e.State().EndCause; !errors.Is(cause, leaderelection.ErrCancelled) {
					t.Errorf("%s first: the term ended because of %v, want ErrCancelled", first, cause)
				}
				if len(p.logs.with("level=ERROR", errClosed.Error())) != 1 {
					t.Errorf("%s first: the error of the Runnable is missing in the log", first)
				}
			})
			if t.Failed() {
				return
			}
		}
	}
}

func TestStart_SteppingDownDuringAGracefulStopDoesNotExtendTheGracePeriod(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		const grace = 5 * time.Second
		w := newWorker(time.Minute)
		p := m.leader("a", grace, w)
		stopAsked := time.Now()
		p.cancel()
		time.Sleep(grace - time.Second)
		down := begin(func() error { return p.elector().StepDown(t.Context()) })
		<-p.done
		if took := time.Since(stopAsked); took != grace {
			t.Errorf("Start returned after %v, want %v", took, grace)
		}
		if !errors.Is(p.err, leaderelection.ErrSteppedDown) || !errors.Is(p.err, leaderelection.ErrWorkStillRunning) {
			t.Errorf("Start returned %v, want ErrSteppedDown and ErrWorkStillRunning", p.err)
		}
		if holder := m.holder(); holder != "a" {
			t.Errorf("the Lease is held by %q while the work of a runs", holder)
		}
		<-w.returned
		<-down.done
		time.Sleep(time.Minute)
	})
}
