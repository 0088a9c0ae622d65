package leaderelection

import (
	"context"
	"time"
)

// A singleFlight lets concurrent calls of Confirm share one read.
type singleFlight struct {
	turn  chan struct{} // is full while a caller reads the Lease; guards the other fields
	began uint64        // sequence number of the last shared read
	err   error         // the error of the last shared read
}

// readSince ensures that the Lease was read with a sequence number greater than seq. It
// returns the error of this read.
func (f *singleFlight) readSince(ctx context.Context, e *Elector, seq uint64) error {
	select {
	case f.turn <- struct{}{}:
		defer func() { <-f.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if f.began > seq {
		return f.err
	}
	began, timeout := e.nextSeq(), e.readTimeout()
	deadline, short := ctx.Deadline()
	short = short && time.Until(deadline) < timeout
	_, err := e.read(ctx, timeout)
	if err == nil || !short && ctx.Err() == nil { // other callers must not receive an error that this caller's context caused
		f.began, f.err = began, err
	}
	return err
}
