package leaderelection

import "context"

// Confirm looks at the Lease once, and reports whether that term goes on. If the
// Lease says otherwise the term ends, as if the watch had told. It is for those
// whose write was refused as stale: package fencing asks it.
func (e *Elector) Confirm(ctx context.Context, term Term) (bool, error) {
	if !e.isIn(term) {
		return false, nil
	}
	if e.leases != nil {
		if _, err := e.read(ctx, e.config.readTimeout()); err != nil {
			return false, err
		}
	}
	return e.isIn(term), nil
}

// isIn reports whether this process leads in that term.
func (e *Elector) isIn(term Term) bool {
	present, leads := e.Term()
	return leads && present == term
}
