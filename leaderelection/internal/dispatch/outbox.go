package dispatch

import (
	"context"
	"sync"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/clock"
)

// maxQueued is the number of items that an Outbox keeps while the receiver blocks.
// Further items are dropped and counted.
const maxQueued = 1000

// An Outbox delivers items in order to the receiver, which is the function Deliver. The
// receiver may block, and may call the elector. Put never blocks, and may be called
// while a mutex is locked. The goroutine of an Outbox exists only while the queue is
// not empty.
type Outbox[T any] struct {
	Deliver func(T)                 // receives each item
	Dropped func(count int, next T) // called before Deliver(next) if count items were dropped since the last delivery; may be nil

	tasks Tasks
	mu    sync.Mutex
	queue []T
	lost  int // the number of items that were dropped since the last delivery
	busy  bool
	idle  chan struct{} // closed when the goroutine has ended
}

// Put adds x to the queue, or drops x if the queue is full.
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

// deliverAll delivers items until the queue is empty. If the receiver calls
// runtime.Goexit, a new goroutine delivers the remaining items.
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

// Flush waits until the queue is empty. It waits for no longer than timeout.
func (o *Outbox[T]) Flush(timeout time.Duration) {
	o.mu.Lock()
	idle, busy := o.idle, o.busy
	o.mu.Unlock()
	if busy {
		_ = clock.Sleep(context.Background(), idle, timeout)
	}
}
