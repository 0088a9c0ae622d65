package leaderelection

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// A requestHealth records whether reads and writes of the Lease currently fail. Reads
// and writes are separate, because reads may fail while writes succeed. The Elector's
// mutex guards it.
type requestHealth struct {
	reads  requestFailure
	writes requestFailure
}

// lastError returns the error of the requests that currently fail. It returns "" if no
// requests fail.
func (h *requestHealth) lastError() string {
	for _, f := range []requestFailure{h.writes, h.reads} {
		if f.err != nil {
			return f.err.Error()
		}
	}
	return ""
}

// readsFail reports whether reads of the Lease currently fail.
func (h *requestHealth) readsFail() bool { return h.reads.kind != "" }

// forgetWrites forgets the failure of writes. Call it when another candidate leads,
// because this elector then sends no more writes. forgetWrites logs nothing, because no
// write has succeeded again.
func (h *requestHealth) forgetWrites() { h.writes = requestFailure{} }

// A requestFailure is the current failure of reads or of writes. kind is "" while these
// requests succeed.
type requestFailure struct {
	kind  string
	err   error
	since time.Time
}

// update records the result of a request. If the kind of failure has changed, update
// returns a function that logs the change. If the kind has not changed, update returns
// nil. update ignores requests that the elector has cancelled.
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
