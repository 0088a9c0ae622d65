package leaderelection_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/clock"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

func TestMain(m *testing.M) {
	clock.ProcessStart = time.Now // a replica is a process that starts when its Elector is created
	goleak.VerifyTestMain(m)
}

// debugLogger formats each log line and then discards it.
var debugLogger = slog.New(slog.NewTextHandler(discardWriter{}, &slog.HandlerOptions{Level: slog.LevelDebug}))

type discardWriter struct{}

func (discardWriter) Write(p []byte) (int, error) { return len(p), nil }

const hang, refuse = leaderelectiontest.Hang, leaderelectiontest.Refuse

// A harness runs an in-memory API server and several replicas in fake time.
type harness struct {
	*testing.T
	server *leaderelectiontest.Server

	mu       sync.Mutex
	working  map[string]leaderelection.Term // the current terms of the replicas that work, keyed by identity
	events   []string                       // starts and stops of work, in order
	replicas []*replica                     // all replicas that were run
}

// withHarness runs f in fake time. The test fails if two replicas work at the same
// time.
func withHarness(t *testing.T, f func(h *harness)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &harness{T: t, server: leaderelectiontest.NewServer(), working: map[string]leaderelection.Term{}}
		defer h.server.Close()
		defer h.stopAll()
		f(h)
	})
}

// A replica represents one process with one candidate.
type replica struct {
	*leaderelection.Elector
	harness    *harness
	network    *leaderelectiontest.Network
	cancel     context.CancelFunc
	ran        chan struct{}
	err        error
	config     leaderelection.Config
	work       func(ctx context.Context) // the work of a term; nil means that the work waits until ctx is cancelled
	cause      error                     // the cause of the end of the last term
	leaders    []string                  // the arguments of all calls of OnNewLeader
	roundTrip  roundTrip                 // called for each request; may be nil
	client     string                    // the name of its client; its identity by default
	opts       []leaderelection.Option
	wrap       func(kubernetes.Interface) kubernetes.Interface // changes its clientset; may be nil
	logger     *slog.Logger
	unrecorded bool // true if the replica has its own Lease, and may therefore work while other replicas work
}

type send = func(*http.Request) (*http.Response, error)

// A roundTrip sends a request with next. It may change the request and the
// response.
type roundTrip func(r *http.Request, next send) (*http.Response, error)

type roundTripper struct {
	http.RoundTripper
	roundTrip roundTrip
}

func (t roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.roundTrip(r, t.RoundTripper.RoundTrip)
}

// config returns an enabled configuration with the default durations.
func config(identity string) *leaderelection.Config {
	return &leaderelection.Config{
		Enabled: true, Identity: identity, LeaseName: "my-app-leader", LeaseNamespace: "default",
		LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
		ReleaseOnCancel: true,
	}
}

// A setting changes a replica before its Elector is created.
type setting func(*replica)

func withRoundTrip(f roundTrip) setting { return func(r *replica) { r.roundTrip = f } }

func withLog(lines *lineHandler) setting {
	return func(r *replica) { r.logger = lines.logger() }
}

func withWork(f func(context.Context)) setting { return func(r *replica) { r.work = f } }

func withConfig(f func(*leaderelection.Config)) setting {
	return func(r *replica) { f(&r.config) }
}

// newReplica creates a replica that does not run yet.
func (h *harness) newReplica(identity string, opts []leaderelection.Option, settings ...setting) *replica {
	h.Helper()
	r := &replica{harness: h, client: identity, config: *config(identity), logger: debugLogger, opts: opts}
	for _, set := range settings {
		set(r)
	}
	client := h.server.Client(r.client)
	r.network = client.Network()
	requests := client.Config()
	if r.roundTrip != nil {
		requests.Transport = roundTripper{requests.Transport, r.roundTrip}
	}
	clientset, err := kubernetes.NewForConfig(requests)
	if err != nil {
		h.Fatal(err)
	}
	var all kubernetes.Interface = clientset
	if r.wrap != nil {
		all = r.wrap(clientset)
	}
	elector, err := leaderelection.New(&r.config, all, leaderelection.Callbacks{
		OnStartedLeading: r.started,
		OnStoppedLeading: func() { h.record(identity + " stopped") },
		OnNewLeader: func(leader string) {
			h.mu.Lock()
			defer h.mu.Unlock()
			r.leaders = append(r.leaders, leader)
		},
	}, r.logger, r.opts...)
	if err != nil {
		h.Fatal(err)
	}
	r.Elector = elector
	r.StartedAt(time.Now())
	return r
}

// start creates a replica and runs it.
func (h *harness) start(identity string, settings ...setting) *replica {
	h.Helper()
	r := h.newReplica(identity, nil, settings...)
	r.run()
	return r
}

func (r *replica) run() {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.ran = cancel, make(chan struct{})
	go func() {
		defer close(r.ran)
		r.err = r.Run(ctx)
	}()
	r.harness.replicas = append(r.harness.replicas, r)
}

// stopAll stops all replicas, because a test in fake time must not leave goroutines
// behind.
func (h *harness) stopAll() {
	for _, r := range h.replicas {
		r.cancel()
	}
	for _, r := range h.replicas {
		<-r.ran
	}
}

// stop cancels the replica's Run, waits for it and returns its error.
func (r *replica) stop() error {
	r.cancel()
	<-r.ran
	return r.err
}

// started is the OnStartedLeading callback of the replica. It records that the replica
// works, and reports an error if another replica works at the same time.
func (r *replica) started(ctx context.Context) {
	if r.unrecorded {
		<-ctx.Done()
		return
	}
	h, identity := r.harness, r.config.Identity
	term, ok := leaderelection.TermFromContext(ctx)
	h.mu.Lock()
	for other, otherTerm := range h.working {
		h.Errorf("%s works in term %v while %s works in term %v", identity, term, other, otherTerm)
	}
	h.working[identity] = term
	h.events = append(h.events, identity+" started")
	h.mu.Unlock()
	if !ok || term.Identity != identity || term.Token == 0 {
		h.Errorf("the work's context of %s carries term %+v", identity, term)
	}
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.working, identity)
		r.cause = context.Cause(ctx)
	}()
	if r.work != nil {
		r.work(ctx)
		return
	}
	<-ctx.Done()
}

// record adds a line to h.events.
func (h *harness) record(line string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, line)
}

// workingNow returns the identities of the replicas that currently work.
func (h *harness) workingNow() []string {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	var names []string
	for name := range h.working {
		names = append(names, name)
	}
	return names
}

// expectLeader requires that only the replica leader works, and that its IsLeader
// method returns true. If leader is nil, no replica may work.
func (h *harness) expectLeader(leader *replica) {
	h.Helper()
	workers := h.workingNow()
	switch {
	case leader == nil && len(workers) != 0:
		h.Fatalf("%v work at %v, want none", workers, h.elapsed())
	case leader != nil && (len(workers) != 1 || workers[0] != leader.config.Identity):
		h.Fatalf("%v work at %v, want %s", workers, h.elapsed(), leader.config.Identity)
	case leader != nil && !leader.IsLeader():
		h.Fatalf("%s works at %v, but IsLeader is false", workers[0], h.elapsed())
	}
}

// waitUntil waits until done returns true, and returns how long it waited. It fails the
// test if done still returns false after limit.
func (h *harness) waitUntil(limit time.Duration, done func() bool) time.Duration {
	h.Helper()
	const step = time.Millisecond
	for passed := time.Duration(0); passed <= limit; passed += step {
		synctest.Wait()
		if done() {
			return passed
		}
		time.Sleep(step)
	}
	h.Fatalf("the condition was not true within %v, at %v", limit, h.elapsed())
	return 0
}

// elapsed returns the fake time since the test started.
func (h *harness) elapsed() time.Duration {
	return time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
}

// editLease changes the Lease manually, like a user of kubectl.
func (h *harness) editLease(edit func(*coordinationv1.Lease)) {
	h.Helper()
	if err := h.server.Edit("default", "my-app-leader", edit); err != nil {
		h.Fatal(err)
	}
}

// leaseHolder returns the holder of the Lease.
func (h *harness) leaseHolder() string {
	h.Helper()
	lease, err := h.server.Get("default", "my-app-leader")
	if err != nil {
		h.Fatal(err)
	}
	return leaderelectiontest.Holder(lease)
}

// wantCause requires that the replica's last term ended with the cause want.
func (h *harness) wantCause(r *replica, want error) {
	h.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if !errors.Is(r.cause, want) {
		h.Errorf("the cause of the end of %s's term is %v, want %v", r.config.Identity, r.cause, want)
	}
}

// A lineHandler stores log lines of level Info and above.
type lineHandler struct {
	mu    sync.Mutex
	lines []string
}

func (h *lineHandler) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(h, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// Write stores one log line. It removes quotation marks and the keys "level" and "msg".
func (h *lineHandler) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	line := strings.NewReplacer("level=", "", "msg=", "", `"`, "").Replace(strings.TrimSpace(string(p)))
	h.lines = append(h.lines, line)
	return len(p), nil
}

func (h *lineHandler) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.lines)
}
