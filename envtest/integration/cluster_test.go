package integration_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// plane is a control plane that several tests use. The first test that calls
// get starts the control plane. TestMain stops the control plane.
type plane struct {
	options envtest.Options
	mu      sync.Mutex // locked while one test uses the control plane alone
	once    sync.Once
	started *envtest.ControlPlane
	err     error
}

var (
	// shared is the control plane for tests that do not stop its servers. These
	// tests run in parallel.
	shared = plane{}
	// exclusive is the control plane for tests that stop, kill or restore its
	// servers. These tests run one after the other.
	exclusive = plane{options: envtest.Options{APIServers: 2}}
)

func (p *plane) get(t *testing.T) *envtest.ControlPlane {
	t.Helper()
	p.once.Do(func() { p.started, p.err = envtest.Start(p.options) })
	if p.err != nil {
		t.Fatal(p.err)
	}
	return p.started
}

// alone waits until no other test uses this plane, and returns the control
// plane. No other test can use the plane until this test has ended.
func (p *plane) alone(t *testing.T) *envtest.ControlPlane {
	t.Helper()
	t.Parallel()
	p.mu.Lock()
	t.Cleanup(p.mu.Unlock)
	cp := p.get(t)
	must(t, cp.Etcd().Start()) // an earlier test that failed may have stopped etcd
	for i := range cp.APIServers() {
		must(t, cp.APIServer(i).Start())
	}
	return cp
}

func TestMain(m *testing.M) {
	flag.Parse()
	// Tests spend most of their time waiting. Therefore many tests can run in
	// parallel.
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	code := m.Run()
	for _, p := range []*plane{&shared, &exclusive} {
		if err := p.started.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// timeout returns a channel that receives a value after two minutes.
func timeout() <-chan time.Time { return time.After(2 * time.Minute) }

var (
	// shortLease is for tests that wait until a Lease expires.
	shortLease = timing(6*time.Second, 4*time.Second)
	// longLease is for tests in which no Lease expires, even on a busy machine.
	longLease = timing(12*time.Second, 9*time.Second)
	// veryLongLease is for tests in which a term must continue while a server
	// is restarted.
	veryLongLease = timing(60*time.Second, 50*time.Second)
)

func timing(leaseDuration, renewDeadline time.Duration) leaderelection.Config {
	return leaderelection.Config{
		LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: 500 * time.Millisecond,
		Enabled: true, ReleaseOnCancel: true, LeaseName: leaseName,
	}
}

// leaseName is the name of the Lease in each test. Each test has its own
// namespace.
const leaseName = "my-app-leader"

// testCluster is one Lease and the candidates that compete for it. The referee
// detects overlapping work. The ledger shows the order in which the API server
// applied the writes of the leaders.
type testCluster struct {
	*testing.T
	cp        *envtest.ControlPlane
	namespace string
	config    leaderelection.Config // the configuration of new candidates
	referee   *envtest.Referee
	ledger    ledger
	logs      *logs

	mu         sync.Mutex
	candidates []*candidate
	mayOverlap bool
}

// newCluster returns a test cluster. The test fails if the work of two
// candidates overlaps.
func newCluster(t *testing.T, cp *envtest.ControlPlane, timing leaderelection.Config) *testCluster {
	t.Helper()
	s := &testCluster{T: t, cp: cp, referee: &envtest.Referee{}, config: timing, logs: &logs{}}
	s.namespace = cp.Namespace(t)
	s.config.LeaseNamespace = s.namespace
	s.ledger = ledger{client: cp.Admin().Clientset(), namespace: s.namespace}
	t.Cleanup(s.end)
	return s
}

// newSharedCluster returns a test cluster on the shared control plane.
func newSharedCluster(t *testing.T, timing leaderelection.Config) *testCluster {
	t.Helper()
	t.Parallel()
	return newCluster(t, shared.get(t), timing)
}

// allowOverlap makes the test accept overlapping work. Call allowOverlap in
// tests of client-go's elector, because this elector permits overlaps.
func (s *testCluster) allowOverlap() { s.mayOverlap = true }

// end stops the candidates that still run, and checks that no work overlapped.
func (s *testCluster) end() {
	defer func() {
		if s.Failed() {
			s.Logf("timeline:\n%slogs:\n%s", s.referee.Timeline(), s.logs)
		}
	}()
	for _, c := range s.candidates {
		c.stopAtEnd()
	}
	for _, c := range s.candidates {
		c.awaitEnd()
	}
	if !s.mayOverlap {
		s.referee.Check(s)
		s.ledger.check(s)
	}
}

// note adds a line to the timeline. who is the name of a candidate, or empty.
func (s *testCluster) note(who, what string) { s.referee.Note(who, "%s", what) }

// requireOverlap fails the test if no work overlapped. Call requireOverlap in
// tests which show that client-go's elector permits overlaps.
func (s *testCluster) requireOverlap() {
	s.Helper()
	overlaps := s.referee.Overlaps()
	if len(overlaps) == 0 {
		s.Errorf("client-go had one leader at a time, so the corresponding test of the Elector shows nothing")
	}
	for _, o := range overlaps {
		s.Logf("expected overlap of client-go: %v", o)
	}
}

// logs collects the logs of all candidates.
type logs struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

func (l *logs) logger(who string) *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{
		Level: slog.LevelInfo,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.String("t", a.Value.Time().Format("05.000"))
			}
			return a
		},
	})).With("who", who)
}

// await waits until done is closed. The test fails if this takes
// more than two minutes.
func await(t testing.TB, done <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-done:
	case <-timeout():
		t.Fatalf("waited too long for %s", what)
	}
}

// within returns a context for one request. The context is cancelled after one
// minute.
func within() (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(context.Background(), time.Minute, fmt.Errorf("no reply for a minute"))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually calls f until f succeeds. The test fails if f does not succeed
// within one minute.
func eventually(t *testing.T, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var before error
	attempts := 1
	for err := f(ctx); err != nil; err = f(ctx) {
		if ctx.Err() != nil {
			t.Fatalf("failed for a minute, in %d attempts: %v; the attempt before: %v", attempts, err, before)
		}
		before = err
		attempts++
		time.Sleep(10 * time.Millisecond)
	}
}

// next returns the next value from c. The test fails if no value
// arrives within two minutes.
func next[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v, ok := <-c:
		if !ok {
			t.Fatal("the channel was closed")
		}
		return v
	case <-t.Context().Done():
		t.Fatal("the test ended")
	case <-timeout():
		t.Fatal("received nothing")
	}
	panic("unreachable")
}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
}
