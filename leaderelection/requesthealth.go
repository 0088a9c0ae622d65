package leaderelection

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"
)

// A requestHealth records whether reads of the Lease fail and whether writes fail. The
// Elector's mutex guards the fields.
type requestHealth struct {
	reads  requestFailure
	writes requestFailure
}

// failing returns the error of the failing writes, or of the failing reads if writes
// succeed. since is when these requests began to fail. If no requests fail,
// failing returns "" and the zero Time.
func (h *requestHealth) failing() (lastError string, since time.Time) {
	for _, f := range []requestFailure{h.writes, h.reads} {
		if f.err != nil {
			return cmp.Or(f.err.Error(), f.kind), f.since // a proxy may answer without a message
		}
	}
	return "", time.Time{}
}

// readsFail reports whether reads of the Lease currently fail.
func (h *requestHealth) readsFail() bool { return h.reads.kind != "" }

// forgetWrites removes the failure of writes. Call it when another candidate leads,
// because this elector sends no writes while another candidate leads.
func (h *requestHealth) forgetWrites() { h.writes = requestFailure{} }

// A requestFailure describes why reads fail, or why writes fail. kind is ""
// if the requests succeed.
type requestFailure struct {
	kind  string
	err   error
	since time.Time
}

// update records the result of a request. If the kind of failure has
// changed, update returns a function that logs the change. If not, update returns nil.
// It ignores requests that the elector has cancelled.
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
		log.Error("Lease requests failing; retrying", "operation", operation, "failure", kind, "err", err)
	}
}
