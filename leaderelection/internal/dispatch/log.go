package dispatch

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// A LogQueue passes log lines to the caller's handler without ever blocking. A handler
// blocks when its pipe is full, for instance, and must not keep the elector from ending
// a term.
type LogQueue struct{ outbox Outbox[logLine] }

type logLine struct {
	handler slog.Handler
	record  slog.Record
}

// NewLogQueue returns an empty queue.
func NewLogQueue() *LogQueue {
	return &LogQueue{Outbox[logLine]{Deliver: logLine.write, Dropped: func(count int, next logLine) {
		r := slog.NewRecord(time.Now(), slog.LevelWarn, "Log lines dropped; the log handler was blocked", 0)
		r.AddAttrs(slog.Int("lines", count))
		logLine{next.handler, r}.write()
	}}}
}

// Handler returns a handler that queues each line for handler.
func (q *LogQueue) Handler(handler LazyHandler) slog.Handler { return asyncHandler{handler, q} }

// Flush waits until every line is written, for at most timeout.
func (q *LogQueue) Flush(timeout time.Duration) { q.outbox.Flush(timeout) }

func (l logLine) write() {
	ctx := context.Background()
	if l.handler.Enabled(ctx, l.record.Level) {
		_ = l.handler.Handle(ctx, l.record) // the log is the only place where this error could be reported
	}
}

// asyncHandler queues lines.
type asyncHandler struct {
	LazyHandler
	queue *LogQueue
}

// Enabled returns true. The queue's goroutine asks the caller's handler, which may
// block.
func (h asyncHandler) Enabled(context.Context, slog.Level) bool { return true }

// Handle never blocks and never fails.
func (h asyncHandler) Handle(_ context.Context, r slog.Record) error {
	h.queue.outbox.Put(logLine{h.LazyHandler, r.Clone()})
	return nil
}

// WithAttrs returns a handler with the same queue.
func (h asyncHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return asyncHandler{h.withAttrs(attrs), h.queue}
}

// WithGroup returns a handler with the same queue.
func (h asyncHandler) WithGroup(name string) slog.Handler {
	return asyncHandler{h.withGroup(name), h.queue}
}

// A LazyHandler creates the caller's handler when the first line is written: its
// WithAttrs may block, too, and a term begins with one.
type LazyHandler struct{ create func() slog.Handler }

// Lazy returns a LazyHandler that calls create for each line.
func Lazy(create func() slog.Handler) LazyHandler { return LazyHandler{create} }

// Enabled asks the created handler.
func (h LazyHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return h.create().Enabled(ctx, l)
}

// Handle writes through the created handler.
func (h LazyHandler) Handle(ctx context.Context, r slog.Record) error {
	return h.create().Handle(ctx, r)
}

// WithAttrs calls nothing yet.
func (h LazyHandler) WithAttrs(attrs []slog.Attr) slog.Handler { return h.withAttrs(attrs) }

// WithGroup calls nothing yet.
func (h LazyHandler) WithGroup(name string) slog.Handler { return h.withGroup(name) }

func (h LazyHandler) withAttrs(attrs []slog.Attr) LazyHandler {
	return LazyHandler{sync.OnceValue(func() slog.Handler { return h.create().WithAttrs(attrs) })}
}

func (h LazyHandler) withGroup(name string) LazyHandler {
	return LazyHandler{sync.OnceValue(func() slog.Handler { return h.create().WithGroup(name) })}
}
