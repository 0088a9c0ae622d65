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
		return
	}
	s.queue = append(s.queue, l)
	if !s.busy {
		s.busy, s.idle = true, make(chan struct{})
		s.tasks.detach(s.work)
	}
}

func (s *scribe) work() {
	for {
		s.mu.Lock()
		if len(s.queue) == 0 {
			s.busy = false
			close(s.idle)
			s.mu.Unlock()
			return
		}
		next := s.queue[0]
		s.queue = s.queue[1:]
		s.mu.Unlock()
		_ = next.handler.Handle(context.Background(), next.record) // there is nobody to tell
	}
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
