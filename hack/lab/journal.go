package lab

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A Journal stores the events of all replicas in the order of their arrival. The zero
// value is an empty Journal that is ready to use.
type Journal struct {
	// OnEvent is called with each event that is added. Two calls of OnEvent never
	// overlap. OnEvent must not call methods of the Journal. OnEvent may be nil.
	OnEvent func(Event)

	mu     sync.Mutex
	events []Event
	more   chan struct{} // closed when the next event is added; nil if no call of Await is waiting
}

// Add adds the event e to the Journal and calls OnEvent.
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

// Do locks the Journal and calls f. OnEvent does not run at the same time
// as f. f must not call methods of the Journal.
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

// Await returns the first event for which match returns true. It waits
// until the Journal contains a matching event. Await returns an error after the
// timeout, or if ctx is done. The parameter what describes the event in the error
// message.
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

// after returns all events except the first n events. It also returns a channel that is
// closed when another event is added.
func (j *Journal) after(n int) ([]Event, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.more == nil {
		j.more = make(chan struct{})
	}
	return j.events[n:], j.more
}
