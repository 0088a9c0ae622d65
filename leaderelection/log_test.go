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

// A logHook is a log handler with a mind of its own.
type hookHandler struct {
	slog.Handler
	enabled func() // nil: nothing more
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

// withLog lets handle do what the replica logs.
func withLogHandler(handle func(context.Context, slog.Record) error) setting {
	return func(r *replica) { r.logger = slog.New(hookHandler{Handler: debugLogger.Handler(), handle: handle}) }
}

// blockedLog is the log of a program whose pipe is full.
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
			t.Errorf("the work was told to stop at %v, want at the end of trust: 32 s", at)
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
			t.Errorf("Run returned after %v: it waited for the log", took)
		}
	})
}

// A handler that adds the term to each line, or whose level depends on it, takes
// the elector's mutex.
func TestElector_ALogHandlerMayCallTheElector(t *testing.T) {
	withHarness(t, func(h *harness) {
		var leader *replica
		var asked atomic.Int32
		ask := func() {
			if leader != nil {
				_, _ = leader.Term()
				asked.Add(1)
			}
		}
		leader = h.newReplica("a", nil, func(r *replica) {
			r.logger = slog.New(hookHandler{debugLogger.Handler(), ask, func(context.Context, slog.Record) error { ask(); return nil }})
		})
		leader.run()
		time.Sleep(time.Minute)
		if err := leader.stop(); err != nil || asked.Load() == 0 {
			t.Errorf("Run = %v, and the handler asked %d times", err, asked.Load())
		}
	})
}

// Goexit is what t.FailNow does.
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

// What a handler that was blocked has missed is counted.
func TestElector_DroppedLogLinesAreCounted(t *testing.T) {
	withHarness(t, func(h *harness) {
		unblock, out := make(chan struct{}), &lineHandler{}
		leader := h.start("a", withLogHandler(func(ctx context.Context, r slog.Record) error {
			<-unblock
			return out.logger().Handler().Handle(ctx, r)
		}))
		time.Sleep(2 * time.Hour) // client-go has a line for each renewal
		close(unblock)
		synctest.Wait()
		_ = leader.stop()
		if lines := strings.Join(out.all(), "\n"); !strings.Contains(lines, "Log lines dropped") {
			t.Errorf("nothing tells of lost lines: %q", lines)
		}
	})
}

// A lockedLog is a handler that lets one at a time in, also to make another handler
// of it: while a line is written nobody else gets in.
type lockedHandler struct {
	slog.Handler
	mutex   chan struct{}
	unblock chan struct{} // lets the lines be written
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
