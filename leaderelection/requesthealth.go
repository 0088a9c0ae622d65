package leaderelection

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// A requestHealth logs requests that fail. It logs the first failure, each change of
// the kind of failure, and the recovery. Reads and writes are recorded separately,
// because one may fail while the other succeeds.
type requestHealth struct {
	log     *slog.Logger // a logger that never blocks
	changed func()       // called after each change of reads or writes

	mu     sync.Mutex
	reads  requestFailure
	writes requestFailure
}

// A requestFailure is the present failure of reads or of writes. kind is "" while they
// succeed.
type requestFailure struct {
	kind  string
	err   error
	since time.Time
}

// readDone records the result of a read, and writeDone records the result of a write.
func (h *requestHealth) readDone(err error)  { h.done(&h.reads, "read", err) }
func (h *requestHealth) writeDone(err error) { h.done(&h.writes, "write", err) }

// forgetWrites forgets the failure of writes without logging a recovery. It is called
// when another candidate leads: this elector then sends no writes, and therefore no
// write has succeeded.
func (h *requestHealth) forgetWrites() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writes = requestFailure{}
}

// done records the result of a read or a write in f. It ignores requests that the
// elector itself cancelled.
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

// lastError returns the error with which requests fail at present. It returns "" if
// they succeed.
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

// readsFail reports whether the last read of the Lease failed.
func (h *requestHealth) readsFail() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reads.kind != ""
}
