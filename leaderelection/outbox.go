package leaderelection

import (
	"context"
	"sync"
	"time"
)

// maxWaiting bounds what an outbox keeps for a receiver that blocks; what comes
// then is lost.
const maxWaiting = 1000

// An outbox hands things to code of the caller's, a log handler for instance: in
// order, and in a goroutine that exists only while there is something to hand
// over. So it can be given something with the Elector's mutex held, and a receiver
// that blocks, or that asks the Elector something, delays only what comes after.
type outbox[T any] struct {
	deliver func(T)
	missed  func(lost int, next T) // called before next if some were lost; may be nil
	tasks   tasks

	mu    sync.Mutex
	queue []T
	lost  int // what the queue had no room for
	busy  bool
	idle  chan struct{} // closed when the goroutine has ended
}

func (o *outbox[T]) put(x T) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == maxWaiting {
		o.lost++
		return
	}
	o.queue = append(o.queue, x)
	if !o.busy {
		o.busy, o.idle = true, make(chan struct{})
		o.tasks.detach(o.work)
	}
}

// work delivers until the queue is empty. A receiver that ends its goroutine ends
// this one only: what is left gets another.
func (o *outbox[T]) work() {
	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if len(o.queue) > 0 {
			o.tasks.detach(o.work)
			return
		}
		o.busy = false
		close(o.idle)
	}()
	for {
		next, lost, ok := o.next()
		if !ok {
			return
		}
		if lost > 0 && o.missed != nil {
			o.missed(lost, next)
		}
		o.deliver(next)
	}
}

func (o *outbox[T]) next() (next T, lost int, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 {
		return next, 0, false
	}
	next, lost = o.queue[0], o.lost
	o.queue, o.lost = o.queue[1:], 0
	return next, lost, true
}

// flush waits until everything is delivered, for at most timeout.
func (o *outbox[T]) flush(timeout time.Duration) {
	o.mu.Lock()
	idle, busy := o.idle, o.busy
	o.mu.Unlock()
	if busy {
		_ = pause(context.Background(), idle, timeout)
	}
}
