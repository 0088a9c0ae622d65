package dispatch

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// cancelGrace is how long Call waits for a function whose context is done.
const cancelGrace = 100 * time.Millisecond

// maxAbandoned is how many abandoned functions may run. Further calls fail.
const maxAbandoned = 32

// Calls counts the functions that Call has abandoned.
type Calls struct {
	mu        sync.Mutex
	abandoned int
	since     time.Time // the time from which on at least one abandoned function has been running
}

// Abandoned returns how many abandoned functions have not returned. since is
// the time since which there has been at least one.
func (c *Calls) Abandoned() (count int, since time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.abandoned, c.since
}

func (c *Calls) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.abandoned == 0 {
		c.since = time.Now()
	}
	c.abandoned += n
}

// Call calls f with ctx and returns the results of f. If f has not returned soon after
// ctx is done, Call abandons f: it returns the error of ctx, and f continues in its own
// goroutine. This happens, for example, if a credential plugin hangs and ignores ctx. If
// an abandoned f succeeds, its value is passed to discard, which may be
// nil.
func Call[T any](ctx context.Context, c *Calls, f func(context.Context) (T, error), discard func(T)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	if count, since := c.Abandoned(); count >= maxAbandoned {
		return none, fmt.Errorf("%d requests have ignored the end of their contexts since %v: restart the process", count, since.Round(time.Second))
	}
	results, abandoned := make(chan result), make(chan struct{})
	go func() {
		value, err := f(ctx)
		select {
		case results <- result{value, err}:
		case <-abandoned:
			c.add(-1)
			if err == nil && discard != nil {
				discard(value)
			}
		}
	}()
	select {
	case r := <-results:
		return r.value, r.err
	case <-ctx.Done():
	}
	timer := time.NewTimer(cancelGrace)
	defer timer.Stop()
	select {
	case r := <-results:
		return r.value, r.err
	case <-timer.C:
		c.add(1)
		close(abandoned)
		return none, ctx.Err()
	}
}
