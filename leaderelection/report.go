package leaderelection

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Config returns what the Elector was made with, its zero durations filled in.
func (e *Elector) Config() Config { return e.config }

// State is what the Elector knows now. See Changes to hear of each change.
func (e *Elector) State() State {
	state, _ := e.state()
	return state
}

// LastContact is when the API server last told something of the Lease: by an
// answer to a request, or by the watch. It is the zero Time if it never has.
func (e *Elector) LastContact() time.Time {
	if at := e.contact.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// Stuck returns nil as long as the Elector does its work, also while the API
// server does not answer. It returns an error that says what stands still if one
// of its loops has not turned for LeaseDuration longer than it meant to, as
// happens when a client ignores the contexts of its requests; or if the work has
// outlived its term, see ErrWorkStillRunning. Only a new process helps then. A
// process that was frozen is stuck for the moment in which it wakes.
func (e *Elector) Stuck() error {
	late := max(e.turning.late(), e.looking.late())
	if late > e.config.LeaseDuration {
		return fmt.Errorf("leaderelection: the elector is stuck: it has stood still for %v longer than it meant to", late.Round(time.Millisecond))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if w := e.work; w != nil && isClosed(w.over) && !w.hasReturned() && errors.Is(w.err, ErrWorkStillRunning) {
		return w.err
	}
	return nil
}

// pulseBase is where pulses count from, by the monotonic clock.
var pulseBase = time.Now()

// A pulse is a loop's promise of when it turns next.
type pulse struct {
	due atomic.Int64 // nanoseconds after pulseBase; 0: nothing is promised
}

// within promises to turn within d from now.
func (p *pulse) within(d time.Duration) {
	if d == forever {
		p.rest()
		return
	}
	p.due.Store(int64(time.Since(pulseBase) + max(0, d)))
}

// rest takes the promise back: the loop waits for something that has no limit, or
// does not run.
func (p *pulse) rest() { p.due.Store(0) }

// late is for how long the promise has been broken, negative or zero if it is not.
func (p *pulse) late() time.Duration {
	due := p.due.Load()
	if due == 0 {
		return 0
	}
	return time.Since(pulseBase) - time.Duration(due)
}
