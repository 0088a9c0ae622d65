package spawn

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

func TestJournal_AwaitFindsOldAndNewEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &Journal[int]{}
		is := func(n int) func(int) bool { return func(e int) bool { return e == n } }
		j.Add(7)
		go func() {
			time.Sleep(time.Second)
			j.Add(9)
		}()
		for _, n := range []int{7, 9} {
			if e, err := j.Await(t.Context(), time.Minute, "it", is(n)); err != nil || e != n {
				t.Errorf("await(%d) = %v, %v", n, e, err)
			}
		}
		if _, err := j.Await(t.Context(), time.Minute, "the moon", is(11)); err == nil || err.Error() != "waited 1m0s in vain for the moon" {
			t.Errorf("err = %v", err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(io.ErrUnexpectedEOF)
		if _, err := j.Await(ctx, time.Minute, "the moon", is(11)); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("err = %v, want the cause", err)
		}
	})
}
