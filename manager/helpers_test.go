package manager_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
	"github.com/haproxy-template-ic/incumbent/manager"
)

// All in-memory tests use these durations. The trust window is therefore 2.25 s, and
// the margin is 750 ms.
const (
	leaseDuration = 3 * time.Second
	renewDeadline = 2 * time.Second
	retryPeriod   = 250 * time.Millisecond
	trustWindow   = renewDeadline + retryPeriod
	margin        = leaseDuration - trustWindow
)

const leaseName = "operator"

// A newManager is a function that creates a Manager, either of controller-runtime or of
// this package.
type newManager func(*rest.Config, crmanager.Options) (crmanager.Manager, error)

func incumbent(more ...manager.Option) newManager {
	return func(cfg *rest.Config, opts crmanager.Options) (crmanager.Manager, error) {
		return manager.New(cfg, opts, more...)
	}
}

// controllerRuntime creates a Manager of controller-runtime that releases its Lease
// when it stops.
func controllerRuntime(cfg *rest.Config, opts crmanager.Options) (crmanager.Manager, error) {
	opts.LeaderElectionReleaseOnCancel = true
	return crmanager.New(cfg, opts)
}

// managerOptions returns the options that the Managers of all tests share.
func managerOptions(namespace string, log *logs) crmanager.Options {
	return crmanager.Options{
		Logger:                  log.logger(),
		LeaderElection:          true,
		LeaderElectionID:        leaseName,
		LeaderElectionNamespace: namespace,
		LeaseDuration:           ptr.To(leaseDuration),
		RenewDeadline:           ptr.To(renewDeadline),
		RetryPeriod:             ptr.To(retryPeriod),
		Metrics:                 metricsserver.Options{BindAddress: "0"},
	}
}

// A process is one simulated process of an operator. It contains a Manager and the
// error that Start returned.
type process struct {
	crmanager.Manager
	name   string
	logs   *logs
	cancel context.CancelFunc
	done   chan struct{} // closed when Start has returned
	err    error         // the error that Start returned; set before done is closed
}

// start starts the Manager of a process. The Manager is stopped when the test ends.
func start(t *testing.T, p *process) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p.cancel, p.done = cancel, make(chan struct{})
	go func() {
		defer close(p.done)
		p.err = p.Start(ctx)
	}()
	t.Cleanup(func() { _ = p.stop() })
	return p
}

// stop cancels the context of Start, waits until Start has returned, and returns the
// error of Start.
func (p *process) stop() error {
	p.cancel()
	<-p.done
	return p.err
}

func (p *process) stopped() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// A worker is a Runnable that records when it starts, is cancelled, and returns.
type worker struct {
	follows   bool          // true if the worker also runs on followers
	slow      time.Duration // how long the worker continues after its context is done
	fails     <-chan error  // if an error arrives, Start returns the error at once
	started   chan struct{}
	cancelled chan struct{} // closed when the worker has noticed that its context is done
	returned  chan struct{}
	cause     error           // the cause of the cancellation; set before cancelled is closed
	ctx       context.Context // the context of Start; set before started is closed
}

func newWorker(slow time.Duration) *worker {
	return &worker{slow: slow, started: make(chan struct{}), cancelled: make(chan struct{}), returned: make(chan struct{})}
}

func (w *worker) NeedLeaderElection() bool { return !w.follows }

func (w *worker) Start(ctx context.Context) error {
	w.ctx = ctx
	close(w.started)
	defer close(w.returned)
	select {
	case <-ctx.Done():
	case err := <-w.fails:
		return err
	}
	w.cause = context.Cause(ctx)
	close(w.cancelled)
	if w.slow > 0 {
		time.Sleep(w.slow)
	}
	return nil
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// logs records the log lines of one process.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) logger() logr.Logger {
	return logr.FromSlogHandler(slog.NewTextHandler(io.Writer(l), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// The method with returns the log lines that contain all of the given parts.
func (l *logs) with(parts ...string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for line := range strings.Lines(l.buf.String()) {
		all := true
		for _, part := range parts {
			all = all && strings.Contains(line, part)
		}
		if all {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// wantNoErrors fails the test if an error was logged. It ignores errors with the text
// "Server rejected event", because the in-memory API does not serve Events.
func (l *logs) wantNoErrors(t *testing.T) {
	t.Helper()
	for _, line := range l.with("level=ERROR") {
		if !strings.Contains(line, "Server rejected event") {
			t.Errorf("an error was logged: %s", line)
		}
	}
}

// A memory is the in-memory API server of a test that runs with fake time.
type memory struct {
	*leaderelectiontest.Server
	t *testing.T
}

// runInMemory runs f with fake time and an in-memory API server. The test fails if
// goroutines remain when f has returned.
func runInMemory(t *testing.T, f func(t *testing.T, m memory)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		t.Cleanup(server.Close)
		t.Cleanup(func() { manager.Metrics().Forget("default", leaseName) }) // a test outside of the bubble must not read these Electors
		f(t, memory{server, t})
	})
}

// make creates a process and its Manager, but does not start the Manager.
// The process and its client have the given name.
func (m memory) make(name string, create newManager, change ...func(*crmanager.Options)) *process {
	m.t.Helper()
	p := &process{name: name, logs: &logs{}}
	opts := managerOptions("default", p.logs)
	for _, f := range change {
		f(&opts)
	}
	var err error
	if p.Manager, err = create(m.Client(name).Config(), opts); err != nil {
		m.t.Fatal(err)
	}
	return p
}

// leader creates a Manager with the given Runnables and starts the Manager.
// It then waits until the Manager leads.
func (m memory) leader(name string, grace time.Duration, runnables ...crmanager.Runnable) *process {
	m.t.Helper()
	p := m.make(name, incumbent(manager.WithIdentity(name)), func(o *crmanager.Options) { o.GracefulShutdownTimeout = &grace })
	for _, r := range runnables {
		if err := p.Add(r); err != nil {
			m.t.Fatal(err)
		}
	}
	start(m.t, p)
	<-p.Elected()
	return p
}

// holder returns the holder of the Lease. It returns "" if there is no
// holder or no Lease.
func (m memory) holder() string {
	m.t.Helper()
	lease, err := m.Get("default", leaseName)
	if apierrors.IsNotFound(err) {
		return ""
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return leaderelectiontest.Holder(lease)
}

// give sets the holder of the Lease, like an administrator who edits the Lease.
func (m memory) give(holder string) {
	m.t.Helper()
	err := m.Edit("default", leaseName, func(lease *coordinationv1.Lease) { lease.Spec.HolderIdentity = &holder })
	if err != nil {
		m.t.Fatal(err)
	}
}

// elector returns the Elector of the process. It returns nil if New did not create the
// Manager.
func (p *process) elector() *leaderelection.Elector { return manager.ElectorOf(p.Manager) }

// hang is the network fault that the in-memory tests use. Requests wait until the fault
// is removed.
const hang = leaderelectiontest.Hang

type roundTripperFunc func(*http.Request) (*http.Response, error)

func (f roundTripperFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func okay(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

// post returns a POST request with the context ctx. The request creates a ConfigMap.
func post(t *testing.T, ctx context.Context) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://cluster/api/v1/namespaces/default/configmaps", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A task is a function call in a separate goroutine, together with its result.
type task struct {
	done chan struct{}
	err  error
}

func begin(f func() error) *task {
	t := &task{done: make(chan struct{})}
	go func() {
		defer close(t.done)
		t.err = f()
	}()
	return t
}

// stepDown waits until the term of e has ended, however long its work takes to stop.
func stepDown(e *leaderelection.Elector) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	return e.StepDown(ctx)
}
