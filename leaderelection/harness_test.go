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
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// debugLogger formats each line, and throws it away: nowhere is not io.Discard, for
// which slog would skip the work.
var debugLogger = slog.New(slog.NewTextHandler(discardWriter{}, &slog.HandlerOptions{Level: slog.LevelDebug}))

type discardWriter struct{}

func (discardWriter) Write(p []byte) (int, error) { return len(p), nil }

const hang, refuse = leaderelectiontest.Hang, leaderelectiontest.Refuse

// A stage is one server and the candidates on it, in fake time.
type harness struct {
	*testing.T
	server *leaderelectiontest.Server

	mu       sync.Mutex
	working  map[string]leaderelection.Term // by identity
	events   []string                       // who started and stopped, in order
	replicas []*replica                     // all that were run
}

// play runs a test in fake time. Two that work at once fail it.
func withHarness(t *testing.T, f func(h *harness)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &harness{T: t, server: leaderelectiontest.NewServer(), working: map[string]leaderelection.Term{}}
		defer h.server.Close()
		defer h.stopAll()
		f(h)
	})
}

// A replica is one candidate.
type replica struct {
	*leaderelection.Elector
	harness    *harness
	network    *leaderelectiontest.Network
	cancel     context.CancelFunc
	ran        chan struct{}
	err        error
	config     leaderelection.Config
	work       func(ctx context.Context) // after it was recorded; nil: until ctx is done
	cause      error                     // of the last term
	leaders    []string                  // what OnNewLeader said
	roundTrip  roundTrip                 // each of its requests; nil: just sends it
	logger     *slog.Logger
	unrecorded bool // its work is not recorded: it is one of many on Leases of their own
}

type send = func(*http.Request) (*http.Response, error)

// A trip is how a request goes to the server and comes back.
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

type setting func(*replica)

func withRoundTrip(f roundTrip) setting { return func(r *replica) { r.roundTrip = f } }

func withWork(f func(context.Context)) setting { return func(r *replica) { r.work = f } }
func withConfig(f func(*leaderelection.Config)) setting {
	return func(r *replica) { f(&r.config) }
}

// candidate makes a replica that does not run yet.
func (h *harness) newReplica(identity string, opts []leaderelection.Option, settings ...setting) *replica {
	h.Helper()
	client := h.server.Client(identity)
	r := &replica{harness: h, network: client.Network(), config: *config(identity), logger: debugLogger}
	for _, set := range settings {
		set(r)
	}
	requests := client.Config()
	if r.roundTrip != nil {
		requests.Transport = roundTripper{requests.Transport, r.roundTrip}
	}
	clientset, err := kubernetes.NewForConfig(requests)
	if err != nil {
		h.Fatal(err)
	}
	elector, err := leaderelection.New(&r.config, clientset, leaderelection.Callbacks{
		OnStartedLeading: r.started,
		OnStoppedLeading: func() { h.record(identity + " stopped") },
		OnNewLeader: func(leader string) {
			h.mu.Lock()
			defer h.mu.Unlock()
			r.leaders = append(r.leaders, leader)
		},
	}, r.logger, opts...)
	if err != nil {
		h.Fatal(err)
	}
	r.Elector = elector
	r.StartedAt(time.Now())
	return r
}

// start makes a replica and runs it.
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

// stopAll leaves nothing running: fake time stands still when a test is over.
func (h *harness) stopAll() {
	for _, r := range h.replicas {
		r.cancel()
	}
	for _, r := range h.replicas {
		<-r.ran
	}
}

// stop ends the replica and waits until it has returned.
func (r *replica) stop() error {
	r.cancel()
	<-r.ran
	return r.err
}

func (r *replica) started(ctx context.Context) {
	if r.unrecorded {
		<-ctx.Done()
		return
	}
	h, identity := r.harness, r.config.Identity
	term, ok := leaderelection.TermFromContext(ctx)
	h.mu.Lock()
	for other, their := range h.working {
		h.Errorf("%s works in term %v beside %s in term %v", identity, term, other, their)
	}
	h.working[identity] = term
	h.events = append(h.events, identity+" started")
	h.mu.Unlock()
	if !ok || term.Identity != identity || term.Token == 0 {
		h.Errorf("the work of %s is in term %+v", identity, term)
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

func (h *harness) record(line string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, line)
}

// workers is who works now.
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

// expect fails the test unless exactly who works now, and knows it.
func (h *harness) expectLeader(who *replica) {
	h.Helper()
	workers := h.workingNow()
	switch {
	case who == nil && len(workers) != 0:
		h.Fatalf("%v work at %v, want nobody", workers, h.elapsed())
	case who != nil && (len(workers) != 1 || workers[0] != who.config.Identity):
		h.Fatalf("%v work at %v, want %s", workers, h.elapsed(), who.config.Identity)
	case who != nil && !who.IsLeader():
		h.Fatalf("%s works at %v and IsLeader is false", workers[0], h.elapsed())
	}
}

// until returns how long it took until done was true, at most limit.
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
	h.Fatalf("it did not happen within %v, at %v", limit, h.elapsed())
	return 0
}

// clock is how much time has passed in the bubble.
func (h *harness) elapsed() time.Duration {
	return time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
}

// edit changes the Lease as somebody with kubectl would.
func (h *harness) editLease(edit func(*coordinationv1.Lease)) {
	h.Helper()
	if err := h.server.Edit("default", "my-app-leader", edit); err != nil {
		h.Fatal(err)
	}
}

func (h *harness) leaseHolder() string {
	h.Helper()
	lease, err := h.server.Get("default", "my-app-leader")
	if err != nil {
		h.Fatal(err)
	}
	return leaderelectiontest.Holder(lease)
}

func (h *harness) wantCause(r *replica, want error) {
	h.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if !errors.Is(r.cause, want) {
		h.Errorf("the term of %s ended because %v, want %v", r.config.Identity, r.cause, want)
	}
}

// A lineHandler keeps what is logged above debug level.
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

// Write takes one line in slog's text form.
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
