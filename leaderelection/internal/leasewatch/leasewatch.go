// Package leasewatch keeps one watch on Leases open and restarts it when it ends.
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

// maxBackoff bounds the pause before a watch that keeps failing is opened again.
// Meanwhile the Lease is polled.
const maxBackoff = 30 * time.Second

// ErrEnded is reported when the server has closed the watch.
var ErrEnded = errors.New("the watch has ended")

// A Watch keeps one watch open. It sends no resourceVersion, so each new watch begins
// with the present state: there is no list, no cache and no version that could be too
// old. Its events are hints. A receiver that gets none for a while must read the Lease
// itself.
type Watch struct {
	Open           func(context.Context) (watch.Interface, error) // opens a watch
	ConnectTimeout time.Duration                                  // how long opening may take
	Backoff        time.Duration                                  // before the first restart; it doubles with each further one
	Jitter         func(time.Duration) time.Duration              // spreads a pause
	Event          func(watch.Event)                              // receives each event, in order
	Changed        func(open bool, err error)                     // reports that the watch was opened or has ended

	mu     sync.Mutex
	cancel context.CancelFunc // ends the present watch
	opened time.Time          // when it was opened; zero while it is not open
}

// Run keeps the watch open until ctx is done.
func (w *Watch) Run(ctx context.Context) {
	pause := w.Backoff
	for ctx.Err() == nil {
		began := time.Now()
		delivered, err := w.once(ctx)
		w.Changed(false, err)
		// A watch that ends at once would cost more than polling, so only one that has
		// lasted resets the backoff.
		if delivered && time.Since(began) >= 8*w.Backoff {
			pause = w.Backoff
		}
		_ = clock.Sleep(ctx, nil, w.Jitter(pause))
		pause = min(2*pause, maxBackoff)
	}
}

// Restart ends a watch that has missed an event, if it has been open for silence. A
// younger watch may not have delivered yet.
func (w *Watch) Restart(silence time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.opened.IsZero() && time.Since(w.opened) >= silence {
		w.opened = time.Time{}
		w.cancel()
	}
}

func (w *Watch) set(cancel context.CancelFunc, opened time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cancel, w.opened = cancel, opened
}

// once opens a watch and passes its events on until it ends. It reports whether there
// was an event.
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

// LeaseOf returns the Lease in an event. It returns nil for a bookmark and for any
// other object.
func LeaseOf(event watch.Event) *coordinationv1.Lease {
	switch event.Type {
	case watch.Added, watch.Modified, watch.Deleted:
		lease, _ := event.Object.(*coordinationv1.Lease)
		return lease
	default:
		return nil
	}
}
