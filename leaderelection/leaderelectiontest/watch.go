package leaderelectiontest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

const (
	defaultWatchTimeout = 45 * time.Minute // a real server: 30 to 60 minutes
	bookmarkPeriod      = time.Minute
)

// event is a write as watches see it.
type event struct {
	revision      int64
	at            time.Time
	before, after *coordinationv1.Lease // nil: none
	object        *coordinationv1.Lease // what a DELETED event shows
}

// watchStream is the body of the reply to a watch. It has no goroutine: its
// reader waits in Read. Only Close may be called by another goroutine.
type watchStream struct {
	exchange
	options    readOptions
	drops      int   // of the network, when the watch began
	after      int64 // everything up to this revision has been delivered
	pending    []byte
	ended      error // what Read returns once pending is empty
	deadline   time.Time
	bookmarkAt time.Time

	closeOnce sync.Once
	closed    chan struct{}
}

func (x *exchange) newWatchStream(options readOptions) *watchStream {
	now := time.Now()
	if options.timeout <= 0 {
		options.timeout = defaultWatchTimeout
	}
	w := &watchStream{
		exchange: *x, options: options, after: options.resourceVersion, closed: make(chan struct{}),
		deadline: now.Add(options.timeout), bookmarkAt: now.Add(bookmarkPeriod),
	}
	streamList := options.sendInitialEvents != nil && *options.sendInitialEvents
	if streamList {
		if err := x.awaitRevision(options.resourceVersion); err != nil {
			w.fail(err)
			return w
		}
	}
	x.server.mu.Lock()
	defer x.server.mu.Unlock()
	w.drops = x.client.network.drops
	switch {
	case streamList || (options.resourceVersion == 0 && options.sendInitialEvents == nil):
		for _, lease := range x.server.matchingLocked(options) {
			w.send(watch.Added, withKind(lease))
		}
		w.after = x.server.revision
		if streamList && options.bookmarks {
			w.bookmark(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
		}
	case options.resourceVersion == 0:
		w.after = x.server.revision
	}
	return w
}

// Read waits for the next events.
func (w *watchStream) Read(p []byte) (int, error) {
	for len(w.pending) == 0 {
		if w.ended != nil {
			return 0, w.ended
		}
		if err := w.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, w.pending)
	w.pending = w.pending[n:]
	return n, nil
}

// Close ends the watch; a Read that waits returns.
func (w *watchStream) Close() error {
	w.closeOnce.Do(func() { close(w.closed) })
	return nil
}

// fill waits once: for an event that may be delivered, or for anything that
// makes it worth looking again.
func (w *watchStream) fill() error {
	changed := w.server.change() // before anything is looked at, so that nothing is missed
	held, refused := w.obstacles()
	due, err := w.collect(held, w.delay())
	if refused {
		err = errReset
	}
	if err != nil || len(w.pending) > 0 || w.ended != nil {
		return err
	}
	if due.IsZero() || due.After(w.deadline) {
		due = w.deadline
	}
	var alarm <-chan time.Time // none while nothing gets through, not even the end
	if !held {
		timer := time.NewTimer(time.Until(due))
		defer timer.Stop()
		alarm = timer.C
	}
	select {
	case <-alarm:
	case <-changed:
	case <-w.closed:
		return errors.New("http: read on closed response body")
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	}
	return nil
}

// obstacles says what the network does to events: it holds them back, or the
// connection breaks.
func (w *watchStream) obstacles() (held, refused bool) {
	held = len(w.client.network.current(w.request, stallWatches)) > 0
	for _, fault := range w.client.network.current(w.request, cut) {
		held = true
		refused = refused || fault.mode == Refuse
	}
	return held, refused
}

func (w *watchStream) delay() time.Duration {
	var sum time.Duration
	for _, fault := range w.client.network.current(w.request, delayWatches) {
		sum += fault.delay
	}
	return sum
}

// collect puts what may be delivered now into pending. It returns when to look
// again, should nothing change before that.
func (w *watchStream) collect(held bool, delay time.Duration) (due time.Time, err error) {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	now := time.Now()
	switch {
	case w.server.closed:
		return due, errClosed
	case w.server.epoch != w.epoch, w.client.network.drops != w.drops:
		return due, io.ErrUnexpectedEOF
	case held:
		return due, nil
	case w.after < w.server.compacted:
		w.fail(apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %d (%d)", w.after, w.server.compacted)))
		return due, nil
	case !now.Before(w.deadline):
		return due, io.EOF
	}
	for _, e := range w.server.eventsAfterLocked(w.after) {
		if due = e.at.Add(delay); due.After(now) {
			return due, nil
		}
		w.after = e.revision
		w.show(e)
	}
	if !w.options.bookmarks {
		return time.Time{}, nil
	}
	if !now.Before(w.bookmarkAt) {
		w.bookmarkAt = now.Add(bookmarkPeriod)
		if w.server.revision >= w.after {
			w.after = w.server.revision
			w.bookmark(nil)
		}
	}
	return w.bookmarkAt, nil
}

func (s *Server) eventsAfterLocked(revision int64) []event {
	first := len(s.events)
	for first > 0 && s.events[first-1].revision > revision {
		first--
	}
	return s.events[first:]
}

// show sends an event as one who watches a part of all Leases sees it: what
// comes into that part is added, what leaves it is deleted.
func (w *watchStream) show(e event) {
	before, after := w.options.matches(e.before), w.options.matches(e.after)
	switch {
	case before && after:
		w.send(watch.Modified, withKind(e.after))
	case after:
		w.send(watch.Added, withKind(e.after))
	case before && e.after == nil:
		w.send(watch.Deleted, withKind(e.object))
	case before:
		last := withKind(e.before)
		last.ResourceVersion = strconv.FormatInt(e.revision, 10)
		w.send(watch.Deleted, last)
	}
}

func (w *watchStream) bookmark(annotations map[string]string) {
	w.send(watch.Bookmark, withKind(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
		ResourceVersion: strconv.FormatInt(w.after, 10), Annotations: annotations,
	}}))
}

// fail ends the stream by an ERROR event, as a real server does once the
// options of the watch were found to be in order.
func (w *watchStream) fail(err error) {
	w.send(watch.Error, answerError(err).object)
	w.ended = io.EOF
}

func (w *watchStream) send(kind watch.EventType, object runtime.Object) {
	frame, err := w.frame(kind, object)
	if err != nil {
		panic("bug: " + err.Error())
	}
	w.pending = append(w.pending, frame...)
}
