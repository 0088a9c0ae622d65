package leaderelection

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// A requestHealth records which requests for the Lease fail now. Reads and writes are
// separate, because reads may fail while writes succeed. The Elector's mutex guards it.
type requestHealth struct {
	reads  requestFailure
	writes requestFailure
}

// lastError returns the error of the requests that fail now, "" if no requests fail.
func (h *requestHealth) lastError() string {
	for _, f := range []requestFailure{h.writes, h.reads} {
		if f.err != nil {
			return f.err.Error()
		}
	}
	return ""
}

// readsFail reports whether reading the Lease fails now.
func (h *requestHealth) readsFail() bool { return h.reads.kind != "" }

// forgetWrites drops a failure of writes without a log line. It is called when another
// candidate leads: this elector then writes nothing, and no request has succeeded again.
func (h *requestHealth) forgetWrites() { h.writes = requestFailure{} }

// A requestFailure is the present failure of reads or of writes. kind is "" while they
// succeed.
type requestFailure struct {
	kind  string
	err   error
	since time.Time
}

// update records the result of a request. It returns the log line for a change of the
// kind of failure, nil if there is no change. Requests that the elector has cancelled
// itself are ignored.
func (f *requestFailure) update(operation string, err error, log *slog.Logger) (logChange func()) {
	before, kind := *f, errorKind(err)
	if kind == before.kind || errors.Is(err, context.Canceled) {
		return nil
	}
	if kind == "" {
		*f = requestFailure{}
		after := time.Since(before.since).Round(time.Millisecond)
		return func() {
			log.Info("Lease requests succeeding again", "operation", operation, "after", after, "failure", before.kind)
		}
	}
	if before.kind == "" {
		f.since = time.Now()
	}
	f.kind, f.err = kind, err
	return func() {
		log.Warn("Lease requests failing; retrying", "operation", operation, "failure", kind, "err", err)
	}
}
