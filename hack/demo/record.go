package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// record keeps every event, in the order in which the director heard of them.
type record struct {
	mu     sync.Mutex
	events []event
	more   chan struct{} // closed and replaced when an event is added
	print  func(event)
}

func newRecord(printEvent func(event)) *record {
	return &record{more: make(chan struct{}), print: printEvent}
}

func (r *record) add(e event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	r.print(e)
	close(r.more)
	r.more = make(chan struct{})
}

// all is what has happened so far.
func (r *record) all() []event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// await returns the first event that matches, also if it is an old one.
func (r *record) await(ctx context.Context, timeout time.Duration, what string, match func(event) bool) (event, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("waited %v in vain for %s", timeout, what))
	defer cancel()
	for next := 0; ; {
		r.mu.Lock()
		events, more := r.events[next:], r.more
		next = len(r.events)
		r.mu.Unlock()
		if i := slices.IndexFunc(events, match); i >= 0 {
			return events[i], nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return event{}, context.Cause(ctx)
		}
	}
}

// lastEntry is the last entry that the ledger took before the one given, which
// is the newest of all if it is the zero event.
func lastEntry(events []event, before event) event {
	var last event
	for _, e := range events {
		if e == before {
			break
		}
		if e.Kind == appended {
			last = e
		}
	}
	return last
}
