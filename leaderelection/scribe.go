package leaderelection

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// A scribe writes our own lines into the caller's handler, in order, and in a
// goroutine that exists only while there is something to write: a handler that
// blocks, as one does whose pipe is full, must not keep the elector from ending a
// term, and one that asks the Elector something must not find its mutex held.
type scribe struct {
	tasks tasks

	mu    sync.Mutex
	queue []line
	lost  int // lines that the queue had no room for
	busy  bool
	idle  chan struct{} // closed when the goroutine has ended
}

type line struct {
	handler slog.Handler
	record  slog.Record
}

// maxLines bounds what is kept for a handler that blocks; what comes then is lost.
const maxLines = 1000

// patientHandler hands lines to a scribe.
type patientHandler struct {
	slog.Handler
	scribe *scribe
}

// Enabled does not ask the caller's handler: the scribe does, where it may take
// its time.
func (h patientHandler) Enabled(context.Context, slog.Level) bool { return true }

// Handle never blocks and never fails.
func (h patientHandler) Handle(_ context.Context, r slog.Record) error {
	h.scribe.write(line{h.Handler, r.Clone()})
	return nil
}

// WithAttrs and WithGroup keep the scribe.
func (h patientHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return patientHandler{h.Handler.WithAttrs(attrs), h.scribe}
}

// WithGroup is like WithAttrs.
func (h patientHandler) WithGroup(name string) slog.Handler {
	return patientHandler{h.Handler.WithGroup(name), h.scribe}
}

func (s *scribe) write(l line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == maxLines {
		s.lost++
		return
	}
	s.queue = append(s.queue, l)
	if !s.busy {
		s.busy, s.idle = true, make(chan struct{})
		s.tasks.detach(s.work)
	}
}

// work writes until the queue is empty. A handler that ends its goroutine ends
// this one only: the next line gets another.
func (s *scribe) work() {
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.queue) > 0 {
			s.tasks.detach(s.work)
			return
		}
		s.busy = false
		close(s.idle)
	}()
	for {
		next, ok := s.next()
		if !ok {
			return
		}
		ctx := context.Background()
		if next.handler.Enabled(ctx, next.record.Level) {
			_ = next.handler.Handle(ctx, next.record) // there is nobody to tell
		}
	}
}

// next takes the first line of the queue; after lines were lost, one that says so.
func (s *scribe) next() (line, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return line{}, false
	}
	first := s.queue[0]
	if s.lost > 0 && len(s.queue) < maxLines {
		r := slog.NewRecord(time.Now(), slog.LevelWarn, "Log lines were lost: the handler was blocked", 0)
		r.AddAttrs(slog.Int("lines", s.lost))
		s.lost = 0
		return line{first.handler, r}, true
	}
	s.queue = s.queue[1:]
	return first, true
}

// flush waits until everything is written, for at most timeout.
func (s *scribe) flush(timeout time.Duration) {
	s.mu.Lock()
	idle, busy := s.idle, s.busy
	s.mu.Unlock()
	if busy {
		_ = pause(context.Background(), idle, timeout)
	}
}
