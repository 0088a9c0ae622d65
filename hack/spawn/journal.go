package spawn

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A Journal keeps what processes tell, in the order in which it was heard. The
// zero Journal is empty.
type Journal[E any] struct {
	// Tell is called with each entry, one after the other; it may be nil.
	Tell func(E)

	mu      sync.Mutex
	entries []E
	more    chan struct{} // closed and replaced when an entry is added; nil if nobody waits
}

// Add adds an entry.
func (j *Journal[E]) Add(entry E) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, entry)
	if j.Tell != nil {
		j.Tell(entry)
	}
	if j.more != nil {
		close(j.more)
		j.more = nil
	}
}

// Do calls f while nothing is added.
func (j *Journal[E]) Do(f func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f()
}

// All is what has been told so far.
func (j *Journal[E]) All() []E {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.entries)
}

// Await returns the first entry that matches, also if it is an old one.
func (j *Journal[E]) Await(ctx context.Context, timeout time.Duration, what string, match func(E) bool) (entry E, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("waited %v in vain for %s", timeout, what))
	defer cancel()
	for next := 0; ; {
		entries, more := j.after(next)
		next += len(entries)
		if i := slices.IndexFunc(entries, match); i >= 0 {
			return entries[i], nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return entry, context.Cause(ctx)
		}
	}
}

// after returns the entries from number next on, and what tells of more.
func (j *Journal[E]) after(next int) ([]E, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.more == nil {
		j.more = make(chan struct{})
	}
	return j.entries[next:], j.more
}
