package leaderelectiontest

import (
	"context"
	"fmt"
	"io"
	"net/http"
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
	defaultWatchTimeout = 45 * time.Minute // a real API server uses 30 to 60 minutes
	bookmarkPeriod      = time.Minute
)

// event records one write, from which each watch creates a watch event.
type event struct {
	revision      int64
	at            time.Time
	before, after *coordinationv1.Lease // the Lease before and after the write; nil if the Lease did not exist
	object        *coordinationv1.Lease // the Lease in a DELETED event
}

// watchStream is the body of the server's reply to a watch. A watchStream has
// no goroutine. The method Read waits for events. Other goroutines may call
// only the method Close.
type watchStream struct {
	*call
	options    readOptions
	after      int64 // the watch has processed all events up to this revision
	pending    []frame
	read       time.Time // the time of the event that the most recent call of Read returned
	ended      error     // Read returns this error when pending is empty
	deadline   time.Time
	bookmarkAt time.Time

	closeOnce sync.Once
	closed    chan struct{}
}

func (c *call) newWatchStream(options readOptions) *watchStream {
	now := time.Now()
	if options.timeout <= 0 {
		options.timeout = defaultWatchTimeout
	}
	w := &watchStream{
		call: c, options: options, after: options.resourceVersion, closed: make(chan struct{}),
		deadline: now.Add(options.timeout), bookmarkAt: now.Add(bookmarkPeriod),
	}
	streamList := options.sendInitialEvents != nil && *options.sendInitialEvents
	if streamList {
		if err := c.awaitRevision(options.resourceVersion); err != nil {
			w.fail(err)
			return w
		}
	}
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	switch {
	case streamList || (options.resourceVersion == 0 && options.sendInitialEvents == nil):
		for _, lease := range c.server.matchingLocked(options) {
			w.send(now, watch.Added, withKind(lease))
		}
		w.after = c.server.revision
		if streamList && options.bookmarks {
			w.bookmark(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
		}
	case options.resourceVersion == 0:
		w.after = c.server.revision
	}
	return w
}

// Read copies data of the next event into p. If there is no event, Read waits.
func (w *watchStream) Read(p []byte) (int, error) {
	for len(w.pending) == 0 {
		if w.ended != nil {
			return 0, w.ended
		}
		if err := w.fill(); err != nil {
			return 0, err
		}
	}
	next := &w.pending[0]
	w.read = next.happened
	n := copy(p, next.text)
	if next.text = next.text[n:]; len(next.text) == 0 {
		w.pending = w.pending[1:]
	}
	return n, nil
}

// happened implements timedBody.
func (w *watchStream) happened() time.Time { return w.read }

// Close ends the watch. A waiting call of Read returns an error.
func (w *watchStream) Close() error {
	w.closeOnce.Do(func() { close(w.closed) })
	return nil
}

// fill puts new events into the field pending. If there are no new events, fill
// waits once. The wait ends when the server changes, or at the time that the
// method collect returned.
func (w *watchStream) fill() error {
	changed := w.server.change() // call change before collect, so that no change is missed
	due, err := w.collect()
	if err != nil || len(w.pending) > 0 || w.ended != nil {
		w.read = time.Now()
		return err
	}
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-changed:
	case <-w.closed:
		return http.ErrBodyReadAfterClose
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	}
	return nil
}

// collect puts all events with a revision above w.after into the field pending.
// It returns the time at which the next bookmark or the end of the watch is
// due.
func (w *watchStream) collect() (due time.Time, err error) {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	now := time.Now()
	switch {
	case w.server.closed:
		return due, errServerClosed
	case w.server.epoch != w.epoch:
		return due, io.ErrUnexpectedEOF
	case w.after < w.server.compacted:
		w.fail(apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %d (%d)", w.after, w.server.compacted)))
		return due, nil
	case !now.Before(w.deadline):
		return due, io.EOF
	}
	for _, e := range w.server.eventsAfterLocked(w.after) {
		w.after = e.revision
		w.sendEvent(e)
	}
	if !w.options.bookmarks {
		return w.deadline, nil
	}
	if !now.Before(w.bookmarkAt) {
		w.bookmarkAt = now.Add(bookmarkPeriod)
		if w.server.revision >= w.after {
			w.after = w.server.revision
			w.bookmark(nil)
		}
	}
	if w.bookmarkAt.Before(w.deadline) {
		return w.bookmarkAt, nil
	}
	return w.deadline, nil
}

func (s *Server) eventsAfterLocked(revision int64) []event {
	first := len(s.events)
	for first > 0 && s.events[first-1].revision > revision {
		first--
	}
	return s.events[first:]
}

// sendEvent sends the event for one write to the watch. The kind of the event
// depends on the selectors of the watch. If the selectors match the Lease only
// after the write, the event is ADDED. If the selectors match the Lease only
// before the write, the event is DELETED.
func (w *watchStream) sendEvent(e event) {
	before, after := w.options.matches(e.before), w.options.matches(e.after)
	switch {
	case before && after:
		w.send(e.at, watch.Modified, withKind(e.after))
	case after:
		w.send(e.at, watch.Added, withKind(e.after))
	case before && e.after == nil:
		w.send(e.at, watch.Deleted, withKind(e.object))
	case before:
		last := withKind(e.before)
		last.ResourceVersion = strconv.FormatInt(e.revision, 10)
		w.send(e.at, watch.Deleted, last)
	}
}

func (w *watchStream) bookmark(annotations map[string]string) {
	w.send(time.Now(), watch.Bookmark, withKind(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
		ResourceVersion: strconv.FormatInt(w.after, 10), Annotations: annotations,
	}}))
}

// fail ends the stream with an ERROR event, like a real API server.
func (w *watchStream) fail(err error) {
	w.send(time.Now(), watch.Error, answerError(err).object)
	w.ended = io.EOF
}

func (w *watchStream) send(happened time.Time, kind watch.EventType, object runtime.Object) {
	text, err := w.encodeEvent(kind, object)
	if err != nil {
		panic("bug: " + err.Error())
	}
	w.pending = append(w.pending, frame{happened, text})
}

// frame is one encoded event of a watch.
type frame struct {
	happened time.Time
	text     []byte
}
