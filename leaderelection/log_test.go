package leaderelection_test

import (
	"context"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A hookHandler is a log handler that calls functions of the test.
type hookHandler struct {
	slog.Handler
	enabled func() // may be nil
	handle  func(context.Context, slog.Record) error
}

func (h hookHandler) WithAttrs([]slog.Attr) slog.Handler              { return h }
func (h hookHandler) Handle(ctx context.Context, r slog.Record) error { return h.handle(ctx, r) }
func (h hookHandler) Enabled(ctx context.Context, level slog.Level) bool {
	if h.enabled != nil {
		h.enabled()
	}
	return true
}

// withLogHandler passes the log records of a replica to handle.
func withLogHandler(handle func(context.Context, slog.Record) error) setting {
	return func(r *replica) { r.logger = slog.New(hookHandler{Handler: debugLogger.Handler(), handle: handle}) }
}

// withBlockedLog makes the log handler of a replica block until unblock is
// closed. For example, a real handler blocks when it writes to a full pipe.
func withBlockedLog(unblock chan struct{}) setting {
	return withLogHandler(func(context.Context, slog.Record) error { <-unblock; return nil })
}

func TestElector_ABlockedLogHandlerProlongsNoTerm(t *testing.T) {
	withHarness(t, func(h *harness) {
		unblock := make(chan struct{})
		defer close(unblock)
		ended := make(chan time.Duration, 1)
		leader := h.start("a", withBlockedLog(unblock), withWork(func(ctx context.Context) { <-ctx.Done(); ended <- h.elapsed() }))
		time.Sleep(21 * time.Second)
		leader.network.Cut(hang)
		if at := <-ended; at != 32*time.Second {
			t.Errorf("the work's context was cancelled at %v, want 32 s, the end of trust", at)
		}
		if err := leader.stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestElector_RunDoesNotWaitForABlockedLogHandler(t *testing.T) {
	withHarness(t, func(h *harness) {
		unblock := make(chan struct{})
		defer close(unblock)
		leader := h.start("a", withBlockedLog(unblock))
		time.Sleep(21 * time.Second)
		stopped := h.elapsed()
		if err := leader.stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
		if took := h.elapsed() - stopped; took > time.Second {
			t.Errorf("Run returned after %v, want at most 1 s", took)
		}
	})
}

// A log handler may call methods that lock the Elector's mutex, for example to add the
// current term to each line.
func TestElector_ALogHandlerMayCallTheElector(t *testing.T) {
	withHarness(t, func(h *harness) {
		var leader *replica
		var calls atomic.Int32
		call := func() {
			if leader != nil {
				_, _ = leader.Term()
				calls.Add(1)
			}
		}
		leader = h.newReplica("a", nil, func(r *replica) {
			r.logger = slog.New(hookHandler{debugLogger.Handler(), call, func(context.Context, slog.Record) error { call(); return nil }})
		})
		leader.run()
		time.Sleep(time.Minute)
		if err := leader.stop(); err != nil || calls.Load() == 0 {
			t.Errorf("Run = %v after %d calls by the handler, want nil and some calls", err, calls.Load())
		}
	})
}

// A log handler in a test may call t.FailNow, which calls runtime.Goexit. Only the
// goroutine of the log handler may end.
func TestElector_ALogHandlerThatCallsGoexitEndsNothingElse(t *testing.T) {
	withHarness(t, func(h *harness) {
		var lines []string
		leader := h.start("a", withLogHandler(func(_ context.Context, r slog.Record) error {
			lines = append(lines, r.Message)
			runtime.Goexit()
			return nil
		}))
		time.Sleep(time.Minute)
		if err := leader.stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
		synctest.Wait()
		if !slices.Contains(lines, "Released lease") {
			t.Errorf("the last lines are missing: %q", lines)
		}
	})
}

// When the log handler no longer blocks, a log line must report how many lines were
// dropped.
func TestElector_DroppedLogLinesAreCounted(t *testing.T) {
	withHarness(t, func(h *harness) {
		unblock, out := make(chan struct{}), &lineHandler{}
		leader := h.start("a", withLogHandler(func(ctx context.Context, r slog.Record) error {
			<-unblock
			return out.logger().Handler().Handle(ctx, r)
		}))
		time.Sleep(2 * time.Hour) // long enough to fill the queue, because client-go logs a line for each renewal
		close(unblock)
		synctest.Wait()
		_ = leader.stop()
		if lines := strings.Join(out.all(), "\n"); !strings.Contains(lines, "Log lines dropped") {
			t.Errorf("no line reports the dropped lines: %q", lines)
		}
	})
}

// A lockedHandler holds a mutex in Handle and in WithAttrs. Therefore WithAttrs blocks
// while Handle writes a line.
type lockedHandler struct {
	slog.Handler
	mutex   chan struct{}
	unblock chan struct{} // Handle blocks until unblock is closed
}

func (l lockedHandler) Enabled(context.Context, slog.Level) bool { return true }

func (l lockedHandler) Handle(context.Context, slog.Record) error {
	l.mutex <- struct{}{}
	defer func() { <-l.mutex }()
	<-l.unblock
	return nil
}

func (l lockedHandler) WithAttrs([]slog.Attr) slog.Handler {
	l.mutex <- struct{}{}
	defer func() { <-l.mutex }()
	return l
}

func TestElector_ALogHandlerThatBlocksInWithAttrsDelaysNoWork(t *testing.T) {
	withHarness(t, func(h *harness) {
		unblock := make(chan struct{})
		defer close(unblock)
		a := h.start("a", func(r *replica) {
			r.logger = slog.New(lockedHandler{debugLogger.Handler(), make(chan struct{}, 1), unblock})
		})
		h.waitUntil(time.Second, a.IsLeader)
		h.expectLeader(a)
	})
}
