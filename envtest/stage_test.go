package envtest_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

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
