package dispatch

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// A LogQueue keeps log lines until the caller's handler has written them. The caller's
// handler is the log handler that was passed to leaderelection.New. This handler may
// block, for example when it writes to a full pipe. Adding a line to the LogQueue never
// blocks. Therefore a blocked handler does not delay the end of a term.
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

// Handler returns a slog.Handler that adds each line to q. A goroutine of q passes the
// lines to the parameter handler.
func (q *LogQueue) Handler(handler LazyHandler) slog.Handler { return asyncHandler{handler, q} }

// Flush waits until every line is written. It waits for no longer than timeout.
func (q *LogQueue) Flush(timeout time.Duration) { q.outbox.Flush(timeout) }

func (l logLine) write() {
	ctx := context.Background()
	if l.handler.Enabled(ctx, l.record.Level) {
		_ = l.handler.Handle(ctx, l.record) // an error of the log cannot be logged
	}
}

// An asyncHandler adds each line to the queue and never blocks.
type asyncHandler struct {
	LazyHandler
	queue *LogQueue
}

// Enabled returns true for each level. write checks the level later, because
// the caller's handler may block.
func (h asyncHandler) Enabled(context.Context, slog.Level) bool { return true }

// Handle adds a line to the queue. Handle never blocks and never fails.
func (h asyncHandler) Handle(_ context.Context, r slog.Record) error {
	h.queue.outbox.Put(logLine{h.LazyHandler, r.Clone()})
	return nil
}

// WithAttrs returns a handler that adds attrs and uses the same queue.
func (h asyncHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return asyncHandler{h.withAttrs(attrs), h.queue}
}

// WithGroup returns a handler that adds the group and uses the same queue.
func (h asyncHandler) WithGroup(name string) slog.Handler {
	return asyncHandler{h.withGroup(name), h.queue}
}

// A LazyHandler creates the caller's handler when the first line is written. It does
// not create the handler earlier, because the WithAttrs method of the caller's handler
// may block. The elector adds attributes at the start of each term.
type LazyHandler struct{ create func() slog.Handler }

// Lazy returns a LazyHandler that gets the caller's handler from create.
func Lazy(create func() slog.Handler) LazyHandler { return LazyHandler{create} }

// Enabled reports whether the caller's handler is enabled for the level.
func (h LazyHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return h.create().Enabled(ctx, l)
}

// Handle passes the record to the caller's handler.
func (h LazyHandler) Handle(ctx context.Context, r slog.Record) error {
	return h.create().Handle(ctx, r)
}

// WithAttrs returns a LazyHandler that adds attrs when it creates the caller's handler.
func (h LazyHandler) WithAttrs(attrs []slog.Attr) slog.Handler { return h.withAttrs(attrs) }

// WithGroup returns a LazyHandler that adds the group when it creates the caller's
// handler.
func (h LazyHandler) WithGroup(name string) slog.Handler { return h.withGroup(name) }

func (h LazyHandler) withAttrs(attrs []slog.Attr) LazyHandler {
	return LazyHandler{sync.OnceValue(func() slog.Handler { return h.create().WithAttrs(attrs) })}
}

func (h LazyHandler) withGroup(name string) LazyHandler {
	return LazyHandler{sync.OnceValue(func() slog.Handler { return h.create().WithGroup(name) })}
}
