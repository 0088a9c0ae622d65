package main

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A wire lies between one client and the API server. It counts the requests for
// Leases that go over it, and can be cut.
type wire struct {
	cut atomic.Bool // no request is let through any more

	reads, writes, watches atomic.Int64
	refused                atomic.Int64         // writes answered by 409
	pending                atomic.Int64         // writes not answered yet
	applied                atomic.Pointer[sent] // the last write that was applied

	traced atomic.Bool
	mu     sync.Mutex
	marks  []mark // since traced was set
}

// sent is when a request was sent.
type sent struct{ at time.Time }

// A mark is something that happened on a traced wire.
type mark struct {
	What string    `json:"what"`
	At   time.Time `json:"at"`
}

// What marks tell.
const (
	writeSent     = "write sent"
	writeAnswered = "write answered"
	watchHeard    = "watch heard"
)

func (w *wire) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) { return w.send(next, r) })
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (w *wire) send(next http.RoundTripper, r *http.Request) (*http.Response, error) {
	if w.cut.Load() {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	if !strings.Contains(r.URL.Path, "/leases") {
		return next.RoundTrip(r)
	}
	switch {
	case r.Method != http.MethodGet:
		return w.write(next, r)
	case r.URL.Query().Has("watch"):
		return w.watch(next, r)
	default:
		w.reads.Add(1)
		return next.RoundTrip(r)
	}
}

func (w *wire) write(next http.RoundTripper, r *http.Request) (*http.Response, error) {
	w.writes.Add(1)
	w.pending.Add(1)
	defer w.pending.Add(-1)
	at := time.Now()
	w.mark(writeSent, at)
	response, err := next.RoundTrip(r)
	w.mark(writeAnswered, time.Now())
	if err != nil {
		return response, err
	}
	switch response.StatusCode {
	case http.StatusOK, http.StatusCreated:
		w.applied.Store(&sent{at})
	case http.StatusConflict:
		w.refused.Add(1)
	}
	return response, nil
}

func (w *wire) watch(next http.RoundTripper, r *http.Request) (*http.Response, error) {
	w.watches.Add(1)
	response, err := next.RoundTrip(r)
	if err == nil && w.traced.Load() {
		response.Body = &tracedBody{ReadCloser: response.Body, wire: w}
	}
	return response, err
}

// lastApplied is when the last write that was applied was sent; zero if there was
// none, or if one is under way of which that is not known.
func (w *wire) lastApplied() time.Time {
	last := w.applied.Load()
	if last == nil || w.pending.Load() > 0 {
		return time.Time{}
	}
	return last.at
}

// trace begins to remember what happens; of watches, those that are opened from
// now on.
func (w *wire) trace() { w.traced.Store(true) }

func (w *wire) mark(what string, at time.Time) {
	if !w.traced.Load() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.marks = append(w.marks, mark{what, at})
}

// recent returns what happened since the last call.
func (w *wire) recent() []mark {
	w.mu.Lock()
	defer w.mu.Unlock()
	recent := w.marks
	w.marks = nil
	return recent
}

// tracedBody marks when a watch delivers.
type tracedBody struct {
	io.ReadCloser
	wire *wire
}

// Read implements io.Reader.
func (b *tracedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.wire.mark(watchHeard, time.Now())
	}
	return n, err
}

// traffic is what has gone over a wire.
type traffic struct{ reads, writes, watches, refused int64 }

func (w *wire) traffic() traffic {
	return traffic{w.reads.Load(), w.writes.Load(), w.watches.Load(), w.refused.Load()}
}

func (t traffic) minus(earlier traffic) traffic {
	return traffic{t.reads - earlier.reads, t.writes - earlier.writes, t.watches - earlier.watches, t.refused - earlier.refused}
}

func (t traffic) plus(more traffic) traffic {
	return traffic{t.reads + more.reads, t.writes + more.writes, t.watches + more.watches, t.refused + more.refused}
}
