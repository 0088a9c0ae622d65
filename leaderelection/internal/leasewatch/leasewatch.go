// Package leasewatch keeps a watch on Leases open. When the watch ends, the package
// opens a new watch.
package leasewatch

import (
	"context"
	"errors"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/clock"
)

// maxBackoff is the longest pause between the end of a watch and the start of the next
// watch. During the pause, the elector polls the Lease.
const maxBackoff = 30 * time.Second

// ErrEnded is passed to Watch.Changed if the server has closed the watch.
var ErrEnded = errors.New("the watch has ended")

// A Watch keeps one watch open. The request for the watch contains no resourceVersion.
// Therefore each new watch begins with the current state of the Leases, and no list is
// needed. A watch may miss events. Therefore the receiver must read the Lease itself if
// no event arrives for some time.
type Watch struct {
	Open           func(context.Context) (watch.Interface, error) // opens a watch
	ConnectTimeout time.Duration                                  // how long Open may take
	Backoff        time.Duration                                  // the first pause before the watch is opened again; each further pause is twice as long
	Jitter         func(time.Duration) time.Duration              // randomizes a pause
	Event          func(watch.Event)                              // receives each event, in order
	Changed        func(open bool, err error)                     // called when the watch was opened or has ended

	mu     sync.Mutex
	cancel context.CancelFunc // ends the current watch
	opened time.Time          // when the current watch was opened; zero while no watch is open
}

// Run keeps the watch open until ctx is done.
func (w *Watch) Run(ctx context.Context) {
	pause := w.Backoff
	for ctx.Err() == nil {
		began := time.Now()
		delivered, err := w.once(ctx)
		w.Changed(false, err)
		// Reset the pause only if the watch lasted for some time. If a server ends each
		// watch at once, the pause must become long.
		if delivered && time.Since(began) >= 8*w.Backoff {
			pause = w.Backoff
		}
		_ = clock.Sleep(ctx, nil, w.Jitter(pause))
		pause = min(2*pause, maxBackoff)
	}
}

// Restart ends the current watch if it was opened at least minAge ago. Call Restart when
// the watch has missed an event. A watch that was opened more recently may still deliver
// the event.
func (w *Watch) Restart(minAge time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.opened.IsZero() && time.Since(w.opened) >= minAge {
		w.opened = time.Time{}
		w.cancel()
	}
}

func (w *Watch) set(cancel context.CancelFunc, opened time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cancel, w.opened = cancel, opened
}

// once opens a watch and passes each event to w.Event until the watch ends. delivered
// is true if there was an event.
func (w *Watch) once(ctx context.Context) (delivered bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.set(cancel, time.Time{})
	connecting := time.AfterFunc(w.ConnectTimeout, cancel)
	defer connecting.Stop()
	stream, err := w.Open(ctx)
	if err != nil {
		return false, err
	}
	connecting.Stop()
	defer stream.Stop()
	w.set(cancel, time.Now())
	w.Changed(true, nil)
	for {
		select {
		case <-ctx.Done():
			return delivered, context.Cause(ctx)
		case event, ok := <-stream.ResultChan():
			switch {
			case !ok:
				return delivered, ErrEnded
			case event.Type == watch.Error:
				return delivered, apierrors.FromObject(event.Object)
			}
			w.Event(event)
			delivered = true
		}
	}
}

// LeaseOf returns the Lease in an event. It returns nil for a bookmark, an error, or an
// object of another type.
func LeaseOf(event watch.Event) *coordinationv1.Lease {
	switch event.Type {
	case watch.Added, watch.Modified, watch.Deleted:
		lease, _ := event.Object.(*coordinationv1.Lease)
		return lease
	default:
		return nil
	}
}
