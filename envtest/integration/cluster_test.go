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

// A plane is started when the first test asks for it, and stopped in TestMain.
type plane struct {
	options envtest.Options
	mu      sync.Mutex // of those who want it for themselves
	once    sync.Once
	started *envtest.ControlPlane
	err     error
}

var (
	// shared is for all tests that leave its processes alone. They run in parallel.
	shared = plane{}
	// battered is for the tests that stop, kill and restore. Each has it for
	// itself.
	battered = plane{options: envtest.Options{APIServers: 2}}
)

func (p *plane) get(t *testing.T) *envtest.ControlPlane {
	t.Helper()
	p.once.Do(func() { p.started, p.err = envtest.Start(p.options) })
	if p.err != nil {
		t.Fatal(p.err)
	}
	return p.started
}

// alone runs the test in parallel to those on other planes.
func (p *plane) alone(t *testing.T) *envtest.ControlPlane {
	t.Helper()
	t.Parallel()
	p.mu.Lock()
	t.Cleanup(p.mu.Unlock)
	cp := p.get(t)
	must(t, cp.Etcd().Start()) // a test that failed may have left it down
	for i := range cp.APIServers() {
		must(t, cp.APIServer(i).Start())
	}
	return cp
}

func TestMain(m *testing.M) {
	flag.Parse()
	// Most of a test is waiting: for a Lease to run out, for its turn.
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	code := m.Run()
	for _, p := range []*plane{&shared, &battered} {
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

// limit ends waits for what does not come.
func limit() <-chan time.Time { return time.After(2 * time.Minute) }

var (
	// brisk is for tests that wait for a Lease to run out. Work has 1.5 s to stop.
	brisk = timing(6*time.Second, 4*time.Second)
	// calm is for tests in which nothing runs out: a leader that gets no answer
	// for 9.5 s, W, would be lost on the busiest machine only.
	calm = timing(12*time.Second, 9*time.Second)
	// patient lets a leader see an API server restart.
	patient = timing(60*time.Second, 50*time.Second)
)

func timing(leaseDuration, renewDeadline time.Duration) leaderelection.Config {
	return leaderelection.Config{
		LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: 500 * time.Millisecond,
		Enabled: true, ReleaseOnCancel: true, LeaseName: leaseName,
	}
}

// leaseName is the same everywhere: each stage has a namespace of its own.
const leaseName = "crown"

// A stage is one Lease, the candidates for it, and those who watch them: a
// referee for the time, a ledger for what they wrote.
type stage struct {
	*testing.T
	cp        *envtest.ControlPlane
	namespace string
	config    leaderelection.Config // of candidates made from now on
	referee   *envtest.Referee
	ledger    ledger
	logs      *logs

	mu         sync.Mutex
	candidates []*candidate
	unjudged   bool
}

// newStage returns a stage on which, at the end of the test, nobody has worked
// beside another.
func newStage(t *testing.T, cp *envtest.ControlPlane, timing leaderelection.Config) *stage {
	t.Helper()
	s := &stage{T: t, cp: cp, referee: &envtest.Referee{}, config: timing, logs: &logs{}}
	s.namespace = cp.Namespace(t)
	s.config.LeaseNamespace = s.namespace
	s.ledger = ledger{client: cp.Admin().Clientset(), namespace: s.namespace}
	t.Cleanup(s.end)
	return s
}

// newParallelStage is a stage on the shared control plane.
func newParallelStage(t *testing.T, timing leaderelection.Config) *stage {
	t.Helper()
	t.Parallel()
	return newStage(t, shared.get(t), timing)
}

// expectOverlap takes back what newStage promises, for those of whom it is known
// that they work beside each other.
func (s *stage) expectOverlap() { s.unjudged = true }

// end stops who is left, and judges.
func (s *stage) end() {
	defer func() {
		if s.Failed() {
			s.Logf("who worked when:\n%slogs:\n%s", s.referee.Timeline(), s.logs)
		}
	}()
	for _, c := range s.candidates {
		c.quit()
	}
	for _, c := range s.candidates {
		c.awaitEnd()
	}
	if !s.unjudged {
		s.referee.Check(s)
		s.ledger.check(s)
	}
}

// do notes what the test does to somebody, for the timeline.
func (s *stage) note(who, what string) { s.referee.Note(who, "%s", what) }

// overlap fails the test if nobody worked beside another: the scenario is then
// not what it was meant to be.
func (s *stage) requireOverlap() {
	s.Helper()
	overlaps := s.referee.Overlaps()
	if len(overlaps) == 0 {
		s.Errorf("client-go kept to one leader at a time here: the test of ours shows nothing")
	}
	for _, o := range overlaps {
		s.Logf("as expected of client-go: %v", o)
	}
}

// logs keeps what all candidates of a stage log.
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

// await waits for done, but not for ever.
func await(t testing.TB, done <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-done:
	case <-limit():
		t.Fatalf("waited too long for: %s", what)
	}
}

// within is a context for one question.
func within() (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(context.Background(), time.Minute, fmt.Errorf("no answer for a minute"))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// awaitAnswer asks until there is an answer: after etcd was away, the API server
// needs a moment to find it.
func awaitAnswer(t *testing.T, ask func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var before error
	attempts := 1
	for err := ask(ctx); err != nil; err = ask(ctx) {
		if ctx.Err() != nil {
			t.Fatalf("no answer for a minute, in %d attempts: %v; the one before: %v", attempts, err, before)
		}
		before = err
		attempts++
		time.Sleep(10 * time.Millisecond)
	}
}

// next receives from c, but not for ever.
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
	case <-limit():
		t.Fatal("nothing came")
	}
	panic("unreachable")
}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
}
