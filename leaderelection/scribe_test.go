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
type logHook struct {
	slog.Handler
	enabled func() // nil: nothing more
	handle  func(context.Context, slog.Record) error
}

func (h logHook) WithAttrs([]slog.Attr) slog.Handler              { return h }
func (h logHook) Handle(ctx context.Context, r slog.Record) error { return h.handle(ctx, r) }
func (h logHook) Enabled(ctx context.Context, level slog.Level) bool {
	if h.enabled != nil {
		h.enabled()
	}
	return true
}

// withLog lets handle do what the replica logs.
func withLog(handle func(context.Context, slog.Record) error) setting {
	return func(r *replica) { r.logger = slog.New(logHook{Handler: debugLogger.Handler(), handle: handle}) }
}

// blockedLog is the log of a program whose pipe is full.
func blockedLog(let chan struct{}) setting {
	return withLog(func(context.Context, slog.Record) error { <-let; return nil })
}

func TestElector_ALogThatBlocksKeepsNoTermAlive(t *testing.T) {
	play(t, func(s *stage) {
		let := make(chan struct{})
		defer close(let)
		ended := make(chan time.Duration, 1)
		leader := s.start("a", blockedLog(let), withWork(func(ctx context.Context) { <-ctx.Done(); ended <- s.clock() }))
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

func TestElector_RunDoesNotWaitForALogThatBlocks(t *testing.T) {
	play(t, func(s *stage) {
		let := make(chan struct{})
		defer close(let)
		leader := s.start("a", blockedLog(let))
		time.Sleep(21 * time.Second)
		stopped := s.clock()
		if err := leader.stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
		if took := s.clock() - stopped; took > time.Second {
			t.Errorf("Run returned after %v: it waited for the log", took)
		}
	})
}

// A handler that adds the term to each line, or whose level depends on it, takes
// the elector's mutex.
func TestElector_ALogHandlerMayAskTheElector(t *testing.T) {
	play(t, func(s *stage) {
		var leader *replica
		var asked atomic.Int32
		ask := func() {
			if leader != nil {
				_, _ = leader.Term()
				asked.Add(1)
			}
		}
		leader = s.candidate("a", nil, func(r *replica) {
			r.logger = slog.New(logHook{debugLogger.Handler(), ask, func(context.Context, slog.Record) error { ask(); return nil }})
		})
		leader.run()
		time.Sleep(time.Minute)
		if err := leader.stop(); err != nil || asked.Load() == 0 {
			t.Errorf("Run = %v, and the handler asked %d times", err, asked.Load())
		}
	})
}

// Goexit is what t.FailNow does.
func TestElector_ALogHandlerThatEndsItsGoroutineEndsNothingElse(t *testing.T) {
	play(t, func(s *stage) {
		var lines []string
		leader := s.start("a", withLog(func(_ context.Context, r slog.Record) error {
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
func TestElector_LostLogLinesAreCounted(t *testing.T) {
	play(t, func(s *stage) {
		let, out := make(chan struct{}), &lineHandler{}
		leader := s.start("a", withLog(func(ctx context.Context, r slog.Record) error {
			<-let
			return out.logger().Handler().Handle(ctx, r)
		}))
		time.Sleep(2 * time.Hour) // client-go has a line for each renewal
		close(let)
		synctest.Wait()
		_ = leader.stop()
		if lines := strings.Join(out.all(), "\n"); !strings.Contains(lines, "Log lines dropped") {
			t.Errorf("nothing tells of lost lines: %q", lines)
		}
	})
}

// A lockedLog is a handler that lets one at a time in, also to make another handler
// of it: while a line is written nobody else gets in.
type lockedLog struct {
	slog.Handler
	turn chan struct{}
	let  chan struct{} // lets the lines be written
}

func (l lockedLog) Enabled(context.Context, slog.Level) bool { return true }

func (l lockedLog) Handle(context.Context, slog.Record) error {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	<-l.let
	return nil
}

func (l lockedLog) WithAttrs([]slog.Attr) slog.Handler {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	return l
}

func TestElector_ALogThatBlocksWithATermDelaysNoWork(t *testing.T) {
	play(t, func(s *stage) {
		let := make(chan struct{})
		defer close(let)
		a := s.start("a", func(r *replica) { r.logger = slog.New(lockedLog{debugLogger.Handler(), make(chan struct{}, 1), let}) })
		s.until(time.Second, a.IsLeader)
		s.expect(a)
	})
}
