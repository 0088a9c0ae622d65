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

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// debugLogger formats each line, and throws it away: nowhere is not io.Discard, for
// which slog would skip the work.
var debugLogger = slog.New(slog.NewTextHandler(nowhere{}, &slog.HandlerOptions{Level: slog.LevelDebug}))

type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

const hang, refuse = leaderelectiontest.Hang, leaderelectiontest.Refuse

// A stage is one server and the candidates on it, in fake time.
type stage struct {
	*testing.T
	server *leaderelectiontest.Server

	mu      sync.Mutex
	working map[string]leaderelection.Term // by identity
	log     []string                       // who started and stopped, in order
	cast    []*replica                     // all that were run
}

// play runs a test in fake time. Two that work at once fail it.
func play(t *testing.T, f func(s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stage{T: t, server: leaderelectiontest.NewServer(), working: map[string]leaderelection.Term{}}
		defer s.server.Close()
		defer s.stopAll()
		f(s)
	})
}

// A replica is one candidate.
type replica struct {
	*leaderelection.Elector
	stage   *stage
	network *leaderelectiontest.Network
	cancel  context.CancelFunc
	ran     chan struct{}
	err     error
	config  leaderelection.Config
	work    func(ctx context.Context) // after it was recorded; nil: until ctx is done
	cause   error                     // of the last term
	leaders []string                  // what OnNewLeader said
	trip    trip                      // each of its requests; nil: just sends it
	logger  *slog.Logger
	quiet   bool // its work is not recorded: it is one of many on Leases of their own
}

type send = func(*http.Request) (*http.Response, error)

// A trip is how a request goes to the server and comes back.
type trip func(r *http.Request, next send) (*http.Response, error)

type tripper struct {
	http.RoundTripper
	trip trip
}

func (t tripper) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.trip(r, t.RoundTripper.RoundTrip)
}

type setting func(*replica)

func withTrip(f trip) setting { return func(r *replica) { r.trip = f } }

func withWork(f func(context.Context)) setting { return func(r *replica) { r.work = f } }
func withConfig(f func(*leaderelection.Config)) setting {
	return func(r *replica) { f(&r.config) }
}

// candidate makes a replica that does not run yet.
func (s *stage) candidate(identity string, opts []leaderelection.Option, settings ...setting) *replica {
	s.Helper()
	client := s.server.Client(identity)
	r := &replica{stage: s, network: client.Network(), config: *config(identity), logger: debugLogger}
	for _, set := range settings {
		set(r)
	}
	requests := client.Config()
	if r.trip != nil {
		requests.Transport = tripper{requests.Transport, r.trip}
	}
	clientset, err := kubernetes.NewForConfig(requests)
	if err != nil {
		s.Fatal(err)
	}
	elector, err := leaderelection.New(&r.config, clientset, leaderelection.Callbacks{
		OnStartedLeading: r.started,
		OnStoppedLeading: func() { s.note(identity + " stopped") },
		OnNewLeader: func(leader string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			r.leaders = append(r.leaders, leader)
		},
	}, r.logger, opts...)
	if err != nil {
		s.Fatal(err)
	}
	r.Elector = elector
	r.StartedAt(time.Now())
	return r
}

// start makes a replica and runs it.
func (s *stage) start(identity string, settings ...setting) *replica {
	s.Helper()
	r := s.candidate(identity, nil, settings...)
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
	r.stage.cast = append(r.stage.cast, r)
}

// stopAll leaves nothing running: fake time stands still when a test is over.
func (s *stage) stopAll() {
	for _, r := range s.cast {
		r.cancel()
	}
	for _, r := range s.cast {
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
	if r.quiet {
		<-ctx.Done()
		return
	}
	s, identity := r.stage, r.config.Identity
	term, ok := leaderelection.TermFromContext(ctx)
	s.mu.Lock()
	for other, their := range s.working {
		s.Errorf("%s works in term %v beside %s in term %v", identity, term, other, their)
	}
	s.working[identity] = term
	s.log = append(s.log, identity+" started")
	s.mu.Unlock()
	if !ok || term.Identity != identity || term.Token == 0 {
		s.Errorf("the work of %s is in term %+v", identity, term)
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.working, identity)
		r.cause = context.Cause(ctx)
	}()
	if r.work != nil {
		r.work(ctx)
		return
	}
	<-ctx.Done()
}

func (s *stage) note(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, line)
}

// workers is who works now.
func (s *stage) workers() []string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name := range s.working {
		names = append(names, name)
	}
	return names
}

// expect fails the test unless exactly who works now, and knows it.
func (s *stage) expect(who *replica) {
	s.Helper()
	workers := s.workers()
	switch {
	case who == nil && len(workers) != 0:
		s.Fatalf("%v work at %v, want nobody", workers, s.clock())
	case who != nil && (len(workers) != 1 || workers[0] != who.config.Identity):
		s.Fatalf("%v work at %v, want %s", workers, s.clock(), who.config.Identity)
	case who != nil && !who.IsLeader():
		s.Fatalf("%s works at %v and IsLeader is false", workers[0], s.clock())
	}
}

// until returns how long it took until done was true, at most limit.
func (s *stage) until(limit time.Duration, done func() bool) time.Duration {
	s.Helper()
	const step = time.Millisecond
	for passed := time.Duration(0); passed <= limit; passed += step {
		synctest.Wait()
		if done() {
			return passed
		}
		time.Sleep(step)
	}
	s.Fatalf("it did not happen within %v, at %v", limit, s.clock())
	return 0
}

// clock is how much time has passed in the bubble.
func (s *stage) clock() time.Duration {
	return time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
}

// edit changes the Lease as somebody with kubectl would.
func (s *stage) edit(edit func(*coordinationv1.Lease)) {
	s.Helper()
	if err := s.server.Edit("default", "my-app-leader", edit); err != nil {
		s.Fatal(err)
	}
}

func (s *stage) holder() string {
	s.Helper()
	lease, err := s.server.Get("default", "my-app-leader")
	if err != nil {
		s.Fatal(err)
	}
	return leaderelectiontest.Holder(lease)
}

func (s *stage) wantCause(r *replica, want error) {
	s.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !errors.Is(r.cause, want) {
		s.Errorf("the term of %s ended because %v, want %v", r.config.Identity, r.cause, want)
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
