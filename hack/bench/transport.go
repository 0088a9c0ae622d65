package main

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A transport counts one client's requests for Leases. It can also block all requests
// of the client.
type transport struct {
	cut atomic.Bool // true if all new requests hang

	reads, writes, watches atomic.Int64
	refused                atomic.Int64         // the number of writes that the API server refused with status 409
	pending                atomic.Int64         // the number of writes that have no reply yet
	applied                atomic.Pointer[sent] // the last write that the API server applied

	traced atomic.Bool
	mu     sync.Mutex
	trace  []exchange // the recorded exchanges
}

// sent is the time at which a request was sent.
type sent struct{ at time.Time }

// An exchange records that a client sent a write, received the reply to a write, or
// received bytes of a watch.
type exchange struct {
	What string    `json:"what"`
	At   time.Time `json:"at"`
}

// The values of exchange.What.
const (
	writeSent     = "write sent"
	writeAnswered = "write answered"
	watchReceived = "watch received"
)

func (t *transport) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) { return t.send(next, r) })
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (t *transport) send(next http.RoundTripper, r *http.Request) (*http.Response, error) {
	if t.cut.Load() {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	if !strings.Contains(r.URL.Path, "/leases") {
		return next.RoundTrip(r)
	}
	switch {
	case r.Method != http.MethodGet:
		return t.write(next, r)
	case r.URL.Query().Has("watch"):
		return t.watch(next, r)
	default:
		t.reads.Add(1)
		return next.RoundTrip(r)
	}
}

func (t *transport) write(next http.RoundTripper, r *http.Request) (*http.Response, error) {
	t.writes.Add(1)
	t.pending.Add(1)
	defer t.pending.Add(-1)
	at := time.Now()
	t.record(writeSent, at)
	response, err := next.RoundTrip(r)
	t.record(writeAnswered, time.Now())
	if err != nil {
		return response, err
	}
	switch response.StatusCode {
	case http.StatusOK, http.StatusCreated:
		t.applied.Store(&sent{at})
	case http.StatusConflict:
		t.refused.Add(1)
	}
	return response, nil
}

func (t *transport) watch(next http.RoundTripper, r *http.Request) (*http.Response, error) {
	t.watches.Add(1)
	response, err := next.RoundTrip(r)
	if err == nil && t.traced.Load() {
		response.Body = &tracedBody{ReadCloser: response.Body, transport: t}
	}
	return response, err
}

// lastApplied returns the time at which the client sent the last successful write. It
// returns the zero time if no write has succeeded, or if a write has no reply yet.
func (t *transport) lastApplied() time.Time {
	last := t.applied.Load()
	if last == nil || t.pending.Load() > 0 {
		return time.Time{}
	}
	return last.at
}

// startTrace starts to record exchanges. Call startTrace before the client opens a
// watch.
func (t *transport) startTrace() { t.traced.Store(true) }

func (t *transport) record(what string, at time.Time) {
	if !t.traced.Load() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trace = append(t.trace, exchange{what, at})
}

// recent returns the recorded exchanges and removes them from the transport.
func (t *transport) recent() []exchange {
	t.mu.Lock()
	defer t.mu.Unlock()
	recent := t.trace
	t.trace = nil
	return recent
}

// A tracedBody is the body of the response to a watch request. It records when the
// client receives bytes.
type tracedBody struct {
	io.ReadCloser
	transport *transport
}

// Read implements io.Reader.
func (b *tracedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.transport.record(watchReceived, time.Now())
	}
	return n, err
}

// traffic contains the numbers of requests that a client has sent.
type traffic struct{ reads, writes, watches, refused int64 }

func (t *transport) traffic() traffic {
	return traffic{t.reads.Load(), t.writes.Load(), t.watches.Load(), t.refused.Load()}
}

func (t traffic) minus(earlier traffic) traffic {
	return traffic{t.reads - earlier.reads, t.writes - earlier.writes, t.watches - earlier.watches, t.refused - earlier.refused}
}

func (t traffic) plus(more traffic) traffic {
	return traffic{t.reads + more.reads, t.writes + more.writes, t.watches + more.watches, t.refused + more.refused}
}
