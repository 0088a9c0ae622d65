package explain

import (
	"context"
	"errors"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	typedv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
)

const (
	requestTimeout = 10 * time.Second   // of requests that do not keep contact
	readTimeout    = SilenceTimeout / 2 // of reads that do, and of opening a watch
	retryInterval  = time.Second        // after a failure
)

// A Watcher observes one Lease and keeps contact: by a watch, by reads while the watch
// is silent, and by reads alone if watching is forbidden.
type Watcher struct {
	// Leases are those of the Lease's namespace, Name is its name. Required.
	Leases typedv1.LeaseInterface
	Name   string

	// OnObserved is called with the observations after each one, and when one that is
	// due did not arrive. Run ends when it returns false. Required.
	OnObserved func(Observed) bool

	// OnError is called when the Lease cannot be read or watched, once for each change
	// of the reason, and with nil when it can again. Default: errors are dropped.
	OnError func(error)
}

// Run watches until ctx is done or OnObserved returns false. It fails only if the
// first read does. Both functions are called on its own goroutine.
func (w Watcher) Run(ctx context.Context) error {
	r := &watchRun{Watcher: w}
	if r.read(ctx, requestTimeout); r.readErr != nil {
		return r.readErr
	}
	r.report(ctx)
	for r.goesOn(ctx) {
		if r.readErr == nil || apierrors.IsForbidden(r.readErr) { // a user without the right to get may have that to watch
			for r.goesOn(ctx) && r.watch(ctx) {
				continue
			}
		}
		if !r.goesOn(ctx) {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryInterval):
			if r.read(ctx, readTimeout); r.readErr != nil {
				r.report(ctx) // otherwise the watch reports, which is opened next
			}
		}
	}
	return nil
}

// A watchRun is one run of a Watcher.
type watchRun struct {
	Watcher
	observed Observed
	version  string    // the resourceVersion of the last observation, "" if there is no Lease
	readErr  error     // of the last read
	readAt   time.Time // when the last read ended
	watchErr error     // why the Lease cannot be watched
	reported string    // the kind of the error that was reported last
	stopped  bool      // OnObserved has returned false
}

func (r *watchRun) goesOn(ctx context.Context) bool { return !r.stopped && ctx.Err() == nil }

func (r *watchRun) read(ctx context.Context, timeout time.Duration) {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	sent := time.Now()
	lease, err := r.Leases.Get(limited, r.Name, metav1.GetOptions{})
	r.readAt = time.Now()
	switch {
	case apierrors.IsNotFound(err):
		r.observed, r.version, r.readErr = r.observed.WithRead(nil, sent, r.readAt), "", nil
	case err != nil:
		r.readErr = fmt.Errorf("the Lease cannot be read: %w", err)
		if !apierrors.IsForbidden(r.watchErr) {
			r.watchErr = nil // it has the same cause
		}
	default:
		r.observed, r.version, r.readErr = r.observed.WithRead(lease, sent, r.readAt), lease.ResourceVersion, nil
	}
}

// watch applies events until the watch ends. It returns true if another watch should
// be opened at once, because a read has shown that this one is behind.
func (r *watchRun) watch(ctx context.Context) (behind bool) {
	stream, err := r.open(ctx)
	r.watchErr = err
	if ctx.Err() != nil || err != nil {
		r.report(ctx)
		return false
	}
	defer stream.Stop()
	if r.observed.ContactLost(time.Now()) { // OnObserved took long, which is no loss of contact
		r.read(ctx, readTimeout)
	}
	for r.report(ctx); r.goesOn(ctx); r.report(ctx) {
		timer := time.NewTimer(time.Until(r.nextRead()))
		select {
		case <-ctx.Done():
		case <-timer.C:
			known := r.version
			if r.read(ctx, readTimeout); r.version != known {
				r.report(ctx)
				return true
			}
		case event, open := <-stream.ResultChan():
			if !open || event.Type == watch.Error {
				timer.Stop()
				return false // the next read shows whether that matters
			}
			if r.observed.ContactLost(time.Now()) { // the event may be from before contact was lost
				timer.Stop()
				r.read(ctx, readTimeout)
				return r.readErr == nil
			}
			r.apply(event)
		}
		timer.Stop()
	}
	return false
}

// open opens a watch. The API server answers such a request at once or never, so it is
// given up after readTimeout.
func (r *watchRun) open(ctx context.Context) (watch.Interface, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	late := time.AfterFunc(readTimeout, func() { cancel(context.DeadlineExceeded) })
	stream, err := r.Leases.Watch(ctx, metav1.ListOptions{
		FieldSelector: "metadata.name=" + r.Name, ResourceVersion: r.version, AllowWatchBookmarks: true,
	})
	if !late.Stop() && err == nil {
		stream.Stop()
		err = context.DeadlineExceeded
	}
	if err == nil {
		return &openWatch{Interface: stream, cancel: cancel}, nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	cancel(nil)
	if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		return watch.NewEmptyWatch(), nil // the next read returns a newer version
	}
	return nil, fmt.Errorf("the Lease cannot be watched, so it is read every second: %w", err)
}

// openWatch is a watch that cancels its context when it stops.
type openWatch struct {
	watch.Interface
	cancel context.CancelCauseFunc
}

// Stop implements [watch.Interface].
func (o *openWatch) Stop() {
	o.Interface.Stop()
	o.cancel(nil)
}

func (r *watchRun) nextRead() time.Time {
	if r.readErr != nil {
		return r.readAt.Add(retryInterval)
	}
	return r.observed.readAt()
}

func (r *watchRun) apply(event watch.Event) {
	now := time.Now()
	lease, ok := event.Object.(*coordinationv1.Lease)
	switch {
	case event.Type == watch.Bookmark:
		r.observed = r.observed.With(r.observed.lease, now)
	case !ok || lease.Name != r.Name: // fake clientsets ignore field selectors
	case event.Type == watch.Deleted:
		r.observed, r.version = r.observed.With(nil, now), ""
	default:
		r.observed, r.version = r.observed.With(lease, now), lease.ResourceVersion
	}
}

// report calls OnError if the kind of error has changed, and OnObserved.
func (r *watchRun) report(ctx context.Context) {
	if !r.goesOn(ctx) {
		return
	}
	if kind, err := r.health(); kind != r.reported {
		r.reported = kind
		if r.OnError != nil {
			r.OnError(err)
		}
	}
	r.stopped = !r.OnObserved(r.observed)
}

// health returns the present read or watch error, and its kind.
func (r *watchRun) health() (kind string, err error) {
	switch {
	case r.readErr != nil:
		return "read: " + kindOf(r.readErr), r.readErr
	case r.watchErr != nil:
		return "watch: " + kindOf(r.watchErr), r.watchErr
	default:
		return "", nil
	}
}

// kindOf returns one text for all errors with the same reason, because the texts of
// the errors differ from request to request.
func kindOf(err error) string {
	switch reason := apierrors.ReasonForError(err); {
	case reason != metav1.StatusReasonUnknown:
		return string(reason)
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer"
	default:
		return "no connection"
	}
}
