package leaderelection

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
)

// maxWatchPause is how long a watch that is refused again and again is left
// alone. Meanwhile the Lease is polled.
const maxWatchPause = 30 * time.Second

// A watcher keeps one watch open. It asks for no resourceVersion, so each new
// watch begins with the present state: there is nothing to list, nothing to
// store and no version that could be too old. What it tells is a hint: whoever
// hears nothing for a while looks for himself.
type watcher struct {
	leases  coordinationclient.LeaseInterface
	options metav1.ListOptions
	connect time.Duration              // how long the server may take to begin
	pause   time.Duration              // before the first new try
	tell    func(watch.Event)          // each event, in order
	changed func(open bool, err error) // the watch was opened, or has ended

	mu      sync.Mutex
	restart context.CancelFunc // ends the present watch
	opened  time.Time          // when it was opened; zero while it is not
}

// run keeps the watch open until ctx is done.
func (w *watcher) run(ctx context.Context) {
	delay := w.pause
	for ctx.Err() == nil {
		began := time.Now()
		told, err := w.once(ctx)
		w.changed(false, err)
		if told && time.Since(began) >= 8*w.pause { // one that ends at once would cost more than polling
			delay = w.pause
		}
		_ = pause(ctx, nil, delay/2+rand.N(delay/2+1))
		delay = min(2*delay, maxWatchPause)
	}
}

// again ends a watch that was found to keep silent, if it has been open for
// patience: a younger one may not have had its say.
func (w *watcher) again(patience time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.opened.IsZero() && time.Since(w.opened) >= patience {
		w.opened = time.Time{}
		w.restart()
	}
}

// began notes that a watch is opened, or was at opened; stop ends it.
func (w *watcher) began(stop context.CancelFunc, opened time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.restart, w.opened = stop, opened
}

var errWatchEnded = errors.New("the watch has ended")

// once opens a watch and tells what it says until it ends. It reports whether it
// said anything.
func (w *watcher) once(ctx context.Context) (told bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.began(cancel, time.Time{})
	hung := time.AfterFunc(w.connect, cancel)
	defer hung.Stop()
	stream, err := w.leases.Watch(ctx, w.options)
	if err != nil {
		return false, err
	}
	hung.Stop()
	defer stream.Stop()
	w.began(cancel, time.Now())
	w.changed(true, nil)
	for {
		select {
		case <-ctx.Done():
			return told, context.Cause(ctx)
		case event, ok := <-stream.ResultChan():
			switch {
			case !ok:
				return told, errWatchEnded
			case event.Type == watch.Error:
				return told, apierrors.FromObject(event.Object)
			}
			w.tell(event)
			told = true
		}
	}
}

// leaseIn returns the Lease in an event, nil for bookmarks and for nonsense.
func leaseIn(event watch.Event) *coordinationv1.Lease {
	switch event.Type {
	case watch.Added, watch.Modified, watch.Deleted:
		lease, _ := event.Object.(*coordinationv1.Lease)
		return lease
	default:
		return nil
	}
}

// sightEvent takes in what a watch says. Events of other Leases are dropped, for
// not every server knows selectors. Where objects have no resourceVersion, an
// event cannot be told from an echo: it makes the elector look.
func (e *Elector) sightEvent(event watch.Event) {
	lease := leaseIn(event)
	if lease == nil || lease.Name != e.config.LeaseName || lease.Namespace != e.config.LeaseNamespace {
		return
	}
	s := sighting{lease: lease, version: versionOf(lease), at: time.Now()}
	e.contacted(s.at)
	if s.version == 0 {
		e.lookSoon()
		return
	}
	if event.Type == watch.Deleted {
		s.lease = nil
	}
	e.sight(s)
}

// newWatcher is a watch of this elector's own, on its one Lease.
func (e *Elector) newWatcher() *watcher {
	return &watcher{
		leases:  e.leases,
		options: metav1.ListOptions{FieldSelector: "metadata.name=" + e.config.LeaseName},
		connect: e.config.shortestRead(),
		pause:   e.config.RetryPeriod / 4,
		tell:    e.sightEvent,
		changed: e.watchChanged,
	}
}

// watchChanged notes whether the Lease is watched or polled. That watching is not
// allowed is told once, until it is.
func (e *Elector) watchChanged(open bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.watched(open, err)
	if e.following.watching != open {
		e.following.watching = open
		e.signalLocked()
	}
	switch forbidden := apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsMethodNotSupported(err); {
	case forbidden && !e.following.mayNotWatch:
		e.following.mayNotWatch = true
		e.log.Warn("Watching the lease is forbidden; polling instead", "missing", "watch", "err", err)
	case open && e.following.mayNotWatch:
		e.following.mayNotWatch = false
		e.log.Info("Watching the lease is allowed again")
	case err != nil && !forbidden:
		e.log.Debug("The watch has ended: a new one is opened", "err", err)
	}
}
