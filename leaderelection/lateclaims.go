package leaderelection

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
)

// releaseLateClaims finds out what became of claims that were not answered when ctx ended,
// and releases the Lease if one of them was won. It ends with the last claim's
// window.
func (e *Elector) releaseLateClaims() {
	if !e.config.ReleaseOnCancel {
		return
	}
	e.turning.within(e.config.Window())
	for {
		e.mu.Lock()
		w, lease, changed := e.unsettledLocked()
		if lease != nil {
			e.beginTenureLocked(*w, lease)
			e.tenure.yielding = true
		}
		t := e.tenure
		e.mu.Unlock()
		switch {
		case w == nil:
			return
		case t != nil:
			e.leaveTenure(t, func() { _ = e.newLock(nil).release(e.giveUp, t) })
			return
		}
		_, _ = e.read(e.giveUp, e.config.attemptTimeout())
		_ = pause(e.giveUp, nil, e.config.RetryPeriod/8) // what was read may itself be a change
		_ = pause(e.giveUp, changed, e.config.attemptTimeout())
	}
}

// unsettledLocked returns a claim that may yet be won, or has been: then with the
// Lease that it left.
func (e *Elector) unsettledLocked() (*write, *coordinationv1.Lease, <-chan struct{}) {
	if w, ok := e.writes.open.find(e.config.Identity, e.observer.view.lease); ok && w.kind == claiming {
		return &w, e.observer.view.lease, e.changed
	}
	for _, w := range e.writes.open {
		if w.kind == claiming && !w.refused && w.sent.age(time.Now()) < e.config.Window() {
			return &w, nil, e.changed
		}
	}
	return nil, nil, e.changed
}
