package dispatch

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestCall_ReturnsTheResultsOfTheFunction(t *testing.T) {
	want := errors.New("refused")
	value, err := Call(t.Context(), &Calls{}, func(context.Context) (int, error) { return 7, want }, nil)
	if value != 7 || !errors.Is(err, want) {
		t.Errorf("Call = %d, %v", value, err)
	}
}

func TestCall_DoesNotWaitForAFunctionThatIgnoresItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls Calls
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		var discarded int
		began := time.Now()
		_, err := Call(ctx, &calls, func(context.Context) (int, error) {
			time.Sleep(time.Hour)
			return 7, nil
		}, func(value int) { discarded = value })
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took > 2*time.Second {
			t.Errorf("Call returned %v after %v", err, took)
		}
		if count, since := calls.Abandoned(); count != 1 || time.Since(since) > time.Second {
			t.Errorf("Abandoned = %d since %v", count, since)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if count, _ := calls.Abandoned(); count != 0 || discarded != 7 {
			t.Errorf("Abandoned = %d and the discarded value is %d, want 0 and 7", count, discarded)
		}
	})
}

// A function that honours its context must have returned before Call returns, because
// nothing may run after the Elector has stopped.
func TestCall_WaitsForAFunctionThatHonoursItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls Calls
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		returned := false
		_, err := Call(ctx, &calls, func(ctx context.Context) (int, error) {
			<-ctx.Done()
			time.Sleep(cancelGrace / 2) // a slow machine
			returned = true
			return 0, ctx.Err()
		}, nil)
		if !returned || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Call returned %v, and the function had returned: %t", err, returned)
		}
	})
}

// A client that ignores contexts must not fill the memory with goroutines.
func TestCall_LimitsTheNumberOfAbandonedFunctions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls Calls
		var started atomic.Int64
		for range 2 * maxAbandoned {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			_, err := Call(ctx, &calls, func(context.Context) (int, error) {
				started.Add(1)
				time.Sleep(time.Hour)
				return 0, nil
			}, nil)
			cancel()
			if err == nil {
				t.Fatal("Call returned no error")
			}
		}
		if started := started.Load(); started != maxAbandoned {
			t.Errorf("%d functions were started, want %d", started, maxAbandoned)
		}
		time.Sleep(2 * time.Hour)
	})
}
