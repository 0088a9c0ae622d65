package dispatch

import (
	"context"
	"sync"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/clock"
)

// maxQueued is the number of items that an Outbox keeps for a receiver that blocks.
// Later items are dropped and counted.
const maxQueued = 1000

// An Outbox delivers items to the caller's code, in order. It has a goroutine only
// while the queue is not empty. Put never blocks, so it may be called with any mutex
// held, and the receiver may call the elector.
type Outbox[T any] struct {
	Deliver func(T)                 // receives each item
	Dropped func(count int, next T) // called before next if items were dropped; may be nil

	tasks Tasks
	mu    sync.Mutex
	queue []T
	lost  int // items that the queue had no room for
	busy  bool
	idle  chan struct{} // closed when the goroutine has ended
}

// Put queues x.
func (o *Outbox[T]) Put(x T) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == maxQueued {
		o.lost++
		return
	}
	o.queue = append(o.queue, x)
	if !o.busy {
		o.busy, o.idle = true, make(chan struct{})
		o.tasks.Detach(o.deliverAll)
	}
}

// deliverAll delivers until the queue is empty. A receiver may end its goroutine
// (runtime.Goexit). A new goroutine then delivers the rest.
func (o *Outbox[T]) deliverAll() {
	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if len(o.queue) > 0 {
			o.tasks.Detach(o.deliverAll)
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
		if lost > 0 && o.Dropped != nil {
			o.Dropped(lost, next)
		}
		o.Deliver(next)
	}
}

func (o *Outbox[T]) next() (next T, lost int, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 {
		return next, 0, false
	}
	next, lost = o.queue[0], o.lost
	o.queue, o.lost = o.queue[1:], 0
	return next, lost, true
}

// Flush waits until the queue is empty, for at most timeout.
func (o *Outbox[T]) Flush(timeout time.Duration) {
	o.mu.Lock()
	idle, busy := o.idle, o.busy
	o.mu.Unlock()
	if busy {
		_ = clock.Sleep(context.Background(), idle, timeout)
	}
}
