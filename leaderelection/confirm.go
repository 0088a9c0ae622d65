package leaderelection

import (
	"context"
	"time"
)

// Confirm looks at the Lease once, and reports whether that term goes on. If the
// Lease says otherwise the term ends, as if the watch had told. It is for those
// whose write was refused as stale: package fencing asks it.
func (e *Elector) Confirm(ctx context.Context, term Term) (bool, error) {
	if !e.isIn(term) {
		return false, nil
	}
	if e.leases != nil {
		if err := e.lookSince(ctx, e.tick()); err != nil {
			return false, err
		}
	}
	return e.isIn(term), nil
}

// confirming is the look at the Lease that those who ask at one time share. A client
// that sends few requests a second would else have none left for the renewals.
type confirming struct {
	turn  chan struct{} // held by who looks; guards the rest
	began uint64        // when the last look began
	err   error         // what came of it
}

// lookSince looks at the Lease, unless somebody else has begun to later than asked.
func (e *Elector) lookSince(ctx context.Context, asked uint64) error {
	c := &e.confirming
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if c.began > asked {
		return c.err
	}
	began, timeout := e.tick(), e.readTimeout()
	deadline, hasty := ctx.Deadline()
	hasty = hasty && time.Until(deadline) < timeout
	_, err := e.read(ctx, timeout)
	if err == nil || !hasty && ctx.Err() == nil { // else it says nothing to those who are more patient
		c.began, c.err = began, err
	}
	return err
}

// isIn reports whether this process leads in that term.
func (e *Elector) isIn(term Term) bool {
	present, leads := e.Term()
	return leads && present == term
}
