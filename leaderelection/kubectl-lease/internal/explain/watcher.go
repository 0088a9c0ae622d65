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
	requestTimeout = 10 * time.Second   // limit of the first read, and of each request about rights and policies
	readTimeout    = SilenceTimeout / 2 // limit of each later read, and of each request that opens a watch
	retryInterval  = time.Second        // pause before the next attempt after a failure
)

// A Watcher watches one Lease. If no event arrives for a while, the Watcher reads the
// Lease. If the user may not watch the Lease, the Watcher reads the Lease every second.
type Watcher struct {
	// Leases is the client for Leases in the Lease's namespace. Name is the name of the
	// Lease. Required.
	Leases typedv1.LeaseInterface
	Name   string

	// OnObserved is called after each observation, and after each failed attempt to
	// observe the Lease. Its argument contains all observations so far. If OnObserved
	// returns false, Run returns. Required.
	OnObserved func(Observed) bool

	// OnError is called when the Lease cannot be read or watched. It is called again
	// when the reason changes. When the Lease can be read and watched again, OnError is
	// called with nil. If OnError is nil, errors are ignored.
	OnError func(error)
}

// Run observes the Lease until ctx is done or OnObserved returns false. It returns an
// error only if its first read fails. It calls OnObserved and OnError in the goroutine
// that called Run.
func (w Watcher) Run(ctx context.Context) error {
	r := &watchRun{Watcher: w}
	if r.read(ctx, requestTimeout); r.readErr != nil {
		return r.readErr
	}
	r.report(ctx)
	for r.goesOn(ctx) {
		if r.readErr == nil || apierrors.IsForbidden(r.readErr) { // a user who may not read the Lease may be allowed to watch it
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
				r.report(ctx) // if the read succeeds, the next call of r.watch calls r.report
			}
		}
	}
	return nil
}

// A watchRun is the state of one call of Watcher.Run.
type watchRun struct {
	Watcher
	observed Observed
	version  string    // the resourceVersion of the Lease at the last observation; "" if the Lease did not exist
	readErr  error     // the error of the last read, or nil
	readAt   time.Time // when the last read ended
	watchErr error     // the reason why the Lease cannot be watched, or nil
	reported string    // the kind of the last error that was passed to OnError
	stopped  bool      // true after OnObserved has returned false
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
			r.watchErr = nil // report only the read error, because both errors have the same cause
		}
	default:
		r.observed, r.version, r.readErr = r.observed.WithRead(lease, sent, r.readAt), lease.ResourceVersion, nil
	}
}

// watch opens a watch and applies the events until the watch ends. It returns true if
// the caller should open another watch at once. There are two reasons for this: a read
// returned a newer state than the watch, or a read succeeded after contact was lost.
func (r *watchRun) watch(ctx context.Context) (behind bool) {
	stream, err := r.open(ctx)
	r.watchErr = err
	if err == nil {
		defer stream.Stop()
	}
	if ctx.Err() != nil || err != nil {
		r.report(ctx)
		return false
	}
	if r.observed.ContactLost(time.Now()) { // after a slow call of OnObserved, only a read shows whether contact is lost
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
				return false // Run reads the Lease next
			}
			if r.observed.ContactLost(time.Now()) { // the event may be old, because it may have been sent before contact was lost
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

// open opens a watch. It returns an error if the API server does not respond within
// readTimeout.
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

// An openWatch is a watch whose method Stop also cancels the context of the request.
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
	case !ok || lease.Name != r.Name: // ignore events of other Leases, which fake clientsets send because they ignore the field selector
	case event.Type == watch.Deleted:
		r.observed, r.version = r.observed.With(nil, now), ""
	default:
		r.observed, r.version = r.observed.With(lease, now), lease.ResourceVersion
	}
}

// report calls OnError if the kind of the current error has changed since the last call
// of OnError. After that, report calls OnObserved.
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

// health returns the current error and its kind. If both reading and watching fail,
// health returns the read error.
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

// kindOf returns the same string for all errors with the same reason. The messages of
// such errors may differ from request to request.
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
