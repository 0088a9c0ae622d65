package lab

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A Journal keeps the events of all replicas in the order in which they arrived. The
// zero Journal is empty.
type Journal struct {
	// OnEvent is called with each event, one after the other; it may be nil.
	OnEvent func(Event)

	mu     sync.Mutex
	events []Event
	more   chan struct{} // closed and replaced when an event is added; nil if nobody waits
}

// Add adds an event.
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

// Do calls f while no event is added.
func (j *Journal) Do(f func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f()
}

// All returns the events so far.
func (j *Journal) All() []Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.events)
}

// Await returns the first event that matches, past events included. It fails when
// none has arrived after timeout.
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

// after returns the events from number next on, and a channel that is closed when
// the next event arrives.
func (j *Journal) after(next int) ([]Event, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.more == nil {
		j.more = make(chan struct{})
	}
	return j.events[next:], j.more
}
