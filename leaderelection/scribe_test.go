package leaderelection_test

import (
	"context"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// A handler like the one of a program whose log pipe is full.
type stuckHandler struct {
	slog.Handler
	let chan struct{}
}

func (h stuckHandler) Handle(context.Context, slog.Record) error { <-h.let; return nil }
func (h stuckHandler) WithAttrs([]slog.Attr) slog.Handler        { return h }
func (h stuckHandler) Enabled(context.Context, slog.Level) bool  { return true }

func TestElector_ALogThatBlocksKeepsNoTermAlive(t *testing.T) {
	play(t, func(s *stage) {
		let := make(chan struct{})
		defer close(let)
		client := s.server.Client("a")
		ended := make(chan time.Duration, 1)
		elector, err := leaderelection.New(config("a"), client.Clientset(), leaderelection.Callbacks{
			OnStartedLeading: func(ctx context.Context) { <-ctx.Done(); ended <- s.clock() },
		}, slog.New(stuckHandler{debugLogger.Handler(), let}))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(s.Context())
		ran := make(chan error)
		go func() { ran <- elector.Run(ctx) }()
		time.Sleep(21 * time.Second)
		client.Network().Cut(hang)
		if at := <-ended; at != 32*time.Second {
			t.Errorf("the work was told to stop at %v, want at the end of trust: 32 s", at)
		}
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestElector_RunDoesNotWaitForALogThatBlocks(t *testing.T) {
	play(t, func(s *stage) {
		let := make(chan struct{})
		defer close(let)
		elector, err := leaderelection.New(config("a"), s.server.Client("a").Clientset(), leaderelection.Callbacks{},
			slog.New(stuckHandler{debugLogger.Handler(), let}))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(s.Context())
		ran := make(chan error)
		go func() { ran <- elector.Run(ctx) }()
		time.Sleep(21 * time.Second)
		stopped := s.clock()
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run = %v", err)
		}
		if took := s.clock() - stopped; took > time.Second {
			t.Errorf("Run returned after %v: it waited for the log", took)
		}
	})
}

// A handler that asks the elector, as one does that adds the term to each line.
type askingHandler struct {
	slog.Handler
	elector func() *leaderelection.Elector
}

func (h askingHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h askingHandler) Handle(ctx context.Context, r slog.Record) error {
	if e := h.elector(); e != nil {
		term, _ := e.Term()
		r.AddAttrs(slog.Any("now", term))
	}
	return h.Handler.Handle(ctx, r)
}

func TestElector_ALogHandlerMayAskTheElector(t *testing.T) {
	play(t, func(s *stage) {
		var elector *leaderelection.Elector
		handler := askingHandler{debugLogger.Handler(), func() *leaderelection.Elector { return elector }}
		var err error
		elector, err = leaderelection.New(config("a"), s.server.Client("a").Clientset(), leaderelection.Callbacks{}, slog.New(handler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
		defer cancel()
		if err := elector.Run(ctx); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// A handler that does to the goroutine what t.FailNow does.
type exitingHandler struct {
	slog.Handler
	lines *[]string
}

func (h exitingHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h exitingHandler) Handle(_ context.Context, r slog.Record) error {
	*h.lines = append(*h.lines, r.Message)
	runtime.Goexit()
	return nil
}

func TestElector_ALogHandlerThatEndsItsGoroutineEndsNothingElse(t *testing.T) {
	play(t, func(s *stage) {
		var lines []string
		handler := exitingHandler{debugLogger.Handler(), &lines}
		elector, err := leaderelection.New(config("a"), s.server.Client("a").Clientset(), leaderelection.Callbacks{}, slog.New(handler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
		defer cancel()
		if err := elector.Run(ctx); err != nil {
			t.Errorf("Run = %v", err)
		}
		synctest.Wait()
		if !slices.Contains(lines, "Released the Lease") {
			t.Errorf("the last lines are missing: %q", lines)
		}
	})
}

// A handler whose Enabled asks the elector something that needs its mutex.
type askingLevel struct {
	slog.Handler
	elector func() *leaderelection.Elector
}

func (h askingLevel) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h askingLevel) Enabled(context.Context, slog.Level) bool {
	if e := h.elector(); e != nil {
		_, _ = e.Term()
	}
	return true
}

func TestElector_TheLevelOfALogMayDependOnTheElector(t *testing.T) {
	play(t, func(s *stage) {
		var elector *leaderelection.Elector
		handler := askingLevel{debugLogger.Handler(), func() *leaderelection.Elector { return elector }}
		var err error
		elector, err = leaderelection.New(config("a"), s.server.Client("a").Clientset(), leaderelection.Callbacks{}, slog.New(handler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
		defer cancel()
		if err := elector.Run(ctx); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// What a handler that was blocked has missed is counted.
func TestElector_LostLogLinesAreCounted(t *testing.T) {
	play(t, func(s *stage) {
		let, out := make(chan struct{}), &lineHandler{}
		handler := lateHandler{out.logger().Handler(), let}
		elector, err := leaderelection.New(config("a"), s.server.Client("a").Clientset(), leaderelection.Callbacks{}, slog.New(handler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(s.Context())
		ran := make(chan error)
		go func() { ran <- elector.Run(ctx) }()
		time.Sleep(2 * time.Hour) // client-go has a line for each renewal
		close(let)
		synctest.Wait()
		cancel()
		<-ran
		if lines := strings.Join(out.all(), "\n"); !strings.Contains(lines, "Log lines were lost") {
			t.Errorf("nothing tells of lost lines: %q", lines)
		}
	})
}

// lateHandler writes nothing until it is let.
type lateHandler struct {
	slog.Handler
	let chan struct{}
}

func (h lateHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h lateHandler) Handle(ctx context.Context, r slog.Record) error {
	<-h.let
	return h.Handler.Handle(ctx, r)
}
