package dispatch

import (
	"context"
	"time"
)

// cancelGrace is how long Call waits for a function whose context is done.
const cancelGrace = 100 * time.Millisecond

// Call calls f with ctx and returns the results of f. If f has not returned soon after
// ctx is done, Call returns the error of ctx, and f continues in its own goroutine. This
// happens, for example, if a credential plugin hangs and ignores ctx. If f succeeds
// later, Call passes the value to the function discard, which may be nil.
func Call[T any](ctx context.Context, f func(context.Context) (T, error), discard func(T)) (T, error) {
	type result struct {
		value T
		err   error
	}
	results, abandoned := make(chan result), make(chan struct{})
	go func() {
		value, err := f(ctx)
		select {
		case results <- result{value, err}:
		case <-abandoned:
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
		close(abandoned)
		var none T
		return none, ctx.Err()
	}
}
