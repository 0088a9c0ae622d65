package lab

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

func TestJournal_AwaitFindsPastAndFutureEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &Journal{}
		is := func(seq int) func(Event) bool { return func(e Event) bool { return e.Seq == seq } }
		j.Add(Event{Seq: 7})
		go func() {
			time.Sleep(time.Second)
			j.Add(Event{Seq: 9})
		}()
		for _, n := range []int{7, 9} {
			if e, err := j.Await(t.Context(), time.Minute, "it", is(n)); err != nil || e.Seq != n {
				t.Errorf("Await(%d) = %v, %v", n, e, err)
			}
		}
		if _, err := j.Await(t.Context(), time.Minute, "event 11", is(11)); err == nil || err.Error() != "waited 1m0s in vain for event 11" {
			t.Errorf("err = %v", err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(io.ErrUnexpectedEOF)
		if _, err := j.Await(ctx, time.Minute, "event 11", is(11)); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("err = %v, want the cause", err)
		}
	})
}
