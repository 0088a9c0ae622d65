package registry

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// If a method of an Elector blocks, probes and scrapes must not collect goroutines.
func TestQuestions_WaitInOneGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q questions
		var calls atomic.Int32
		blocked := make(chan struct{})
		read := func() Sample {
			calls.Add(1)
			<-blocked
			return Sample{ValidFor: 1}
		}
		first := q.ask(read)
		for range 10 {
			if q.ask(read) != first {
				t.Error("another question was asked before the first answer")
			}
		}
		synctest.Wait()
		if got := calls.Load(); got != 1 {
			t.Errorf("%d goroutines wait, want 1", got)
		}
		close(blocked)
		<-first.done
		if first.sample.ValidFor != 1 {
			t.Errorf("the answer is %v", first.sample)
		}
		if next := q.ask(read); next == first {
			t.Error("an old answer was returned")
		} else {
			<-next.done
		}
	})
}
