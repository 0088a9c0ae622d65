package leaderelection

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// A scribe writes our own lines into the caller's handler: one that blocks, as a
// handler does whose pipe is full, must not keep the elector from ending a term.
type scribe struct{ outbox[line] }

type line struct {
	handler slog.Handler
	record  slog.Record
}

func newScribe() *scribe {
	return &scribe{outbox[line]{deliver: line.write, missed: func(lost int, next line) {
		r := slog.NewRecord(time.Now(), slog.LevelWarn, "Log lines dropped; the log handler was blocked", 0)
		r.AddAttrs(slog.Int("lines", lost))
		line{next.handler, r}.write()
	}}}
}

func (l line) write() {
	ctx := context.Background()
	if l.handler.Enabled(ctx, l.record.Level) {
		_ = l.handler.Handle(ctx, l.record) // there is nobody to tell
	}
}

// patientHandler hands lines to a scribe.
type patientHandler struct {
	lateHandler
	scribe *scribe
}

// Enabled does not ask the caller's handler: the scribe does, where it may take
// its time.
func (h patientHandler) Enabled(context.Context, slog.Level) bool { return true }

// Handle never blocks and never fails.
func (h patientHandler) Handle(_ context.Context, r slog.Record) error {
	h.scribe.put(line{h.lateHandler, r.Clone()})
	return nil
}

// WithAttrs and WithGroup keep the scribe.
func (h patientHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return patientHandler{h.withAttrs(attrs), h.scribe}
}

// WithGroup is like WithAttrs.
func (h patientHandler) WithGroup(name string) slog.Handler {
	return patientHandler{h.withGroup(name), h.scribe}
}

// lateHandler is a handler that is made when its first line is written: making one
// may block, too, and a term begins with one.
type lateHandler struct{ made func() slog.Handler }

// Enabled is the made handler's.
func (h lateHandler) Enabled(ctx context.Context, l slog.Level) bool { return h.made().Enabled(ctx, l) }

// Handle is the made handler's.
func (h lateHandler) Handle(ctx context.Context, r slog.Record) error { return h.made().Handle(ctx, r) }

// WithAttrs makes nothing yet.
func (h lateHandler) WithAttrs(attrs []slog.Attr) slog.Handler { return h.withAttrs(attrs) }

// WithGroup makes nothing yet.
func (h lateHandler) WithGroup(name string) slog.Handler { return h.withGroup(name) }

func (h lateHandler) withAttrs(attrs []slog.Attr) lateHandler {
	return lateHandler{sync.OnceValue(func() slog.Handler { return h.made().WithAttrs(attrs) })}
}

func (h lateHandler) withGroup(name string) lateHandler {
	return lateHandler{sync.OnceValue(func() slog.Handler { return h.made().WithGroup(name) })}
}
