package lab

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A Journal stores the events of all replicas in the order in which they arrived. The
// zero value is an empty Journal that is ready to use.
type Journal struct {
	// OnEvent is called for each event, and never for two events at the same time. It
	// must not call methods of the Journal. OnEvent may be nil.
	OnEvent func(Event)

	mu     sync.Mutex
	events []Event
	more   chan struct{} // closed when the next event is added; created when Await needs it
}

// Add appends the event e, calls OnEvent, and wakes all calls of Await.
func (j *Journal) Add(e Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, e)
	if j.OnEvent != nil {
		j.OnEvent(e)
	}
	if j.more != nil {
		close(j.more)
		j.more = nil
	}
}

// Do calls f. No event is added while f runs.
func (j *Journal) Do(f func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f()
}

// All returns all events that were added so far, oldest first.
func (j *Journal) All() []Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.events)
}

// Await returns the first event for which match returns true. The event may have been
// added before the call. If there is no such event within the timeout, Await returns an
// error. The parameter what describes the event in the error's text.
func (j *Journal) Await(ctx context.Context, timeout time.Duration, what string, match func(Event) bool) (Event, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("waited %v in vain for %s", timeout, what))
	defer cancel()
	for next := 0; ; {
		events, more := j.after(next)
		next += len(events)
		if i := slices.IndexFunc(events, match); i >= 0 {
			return events[i], nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return Event{}, context.Cause(ctx)
		}
	}
}

// after returns the events from index next on, and a channel that is closed when
// another event is added.
func (j *Journal) after(next int) ([]Event, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.more == nil {
		j.more = make(chan struct{})
	}
	return j.events[next:], j.more
}
