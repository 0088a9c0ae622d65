package leaderelection

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// A requestHealth logs requests that fail: the first failure at once, then each change
// of its kind, and the recovery. Reads and writes are separate, because one may fail
// while the other succeeds.
type requestHealth struct {
	log     *slog.Logger // never blocks
	changed func()       // is called after each change

	mu     sync.Mutex
	reads  requestFailure
	writes requestFailure
}

// A requestFailure is the present failure of one kind of requests. kind is "" while
// they succeed.
type requestFailure struct {
	kind  string
	err   error
	since time.Time
}

// readDone and writeDone take in the result of a request.
func (h *requestHealth) readDone(err error)  { h.done(&h.reads, "read", err) }
func (h *requestHealth) writeDone(err error) { h.done(&h.writes, "write", err) }

// forgetWrites drops a failure of writes without a log line. Another candidate leads,
// so this elector writes nothing, and nothing has recovered.
func (h *requestHealth) forgetWrites() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writes = requestFailure{}
}

// done ignores requests that the elector has cancelled itself.
func (h *requestHealth) done(f *requestFailure, operation string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	kind := errorKind(err)
	h.mu.Lock()
	before := *f
	switch {
	case kind == before.kind:
		h.mu.Unlock()
		return
	case kind == "":
		*f = requestFailure{}
	case before.kind == "":
		*f = requestFailure{kind, err, time.Now()}
	default:
		f.kind, f.err = kind, err
	}
	h.mu.Unlock()
	if kind == "" {
		h.log.Info("Lease requests succeeding again", "operation", operation, "after", time.Since(before.since).Round(time.Millisecond), "failure", before.kind)
	} else {
		h.log.Warn("Lease requests failing; retrying", "operation", operation, "failure", kind, "err", err)
	}
	h.changed()
}

// lastError returns the error of the requests that fail now, "" if none fail.
func (h *requestHealth) lastError() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range []requestFailure{h.writes, h.reads} {
		if f.err != nil {
			return f.err.Error()
		}
	}
	return ""
}

// readsFail reports whether reading the Lease fails now.
func (h *requestHealth) readsFail() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reads.kind != ""
}
