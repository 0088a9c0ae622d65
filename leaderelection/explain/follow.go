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
	requestTimeout = 10 * time.Second // of requests that are no news of contact
	lookTimeout    = Patience / 2
	again          = time.Second // after a failure
)

// A Follower follows one Lease and keeps contact: by a watch, by looks of its own
// whenever the watch is silent, and by looks alone where it may not watch.
type Follower struct {
	// Leases are those of the Lease's namespace, Name is its name. Required.
	Leases typedv1.LeaseInterface
	Name   string

	// Hear is called with what was seen whenever the Lease was heard of, and when it
	// was not though it should have been. Following ends when it answers false.
	// Required.
	Hear func(Seen) bool

	// Trouble is told why the Lease cannot be read or watched, once for each change
	// of that reason, and nil when there is none any more. Default: nobody is told.
	Trouble func(error)
}

// Run follows until ctx is done or Hear has had enough. It fails only if the first
// look does. All calls come from its own goroutine.
func (f Follower) Run(ctx context.Context) error {
	p := &pursuit{Follower: f}
	if p.look(ctx, requestTimeout); p.blind != nil {
		return p.blind
	}
	p.tell(ctx)
	for p.goesOn(ctx) {
		if p.blind == nil || apierrors.IsForbidden(p.blind) { // who may not look may be allowed to watch
			for p.goesOn(ctx) && p.watch(ctx) {
				continue
			}
		}
		if !p.goesOn(ctx) {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(again):
			if p.look(ctx, lookTimeout); p.blind != nil {
				p.tell(ctx) // else a watch is tried first
			}
		}
	}
	return nil
}

// A pursuit is one run of a Follower.
type pursuit struct {
	Follower
	seen    Seen
	version string    // of the Lease as it was seen last, "" if there is none
	blind   error     // why the last look failed
	tried   time.Time // when it did
	deaf    error     // why it cannot be watched
	told    string    // the trouble that was told last
	over    bool      // Hear has had enough
}

func (p *pursuit) goesOn(ctx context.Context) bool { return !p.over && ctx.Err() == nil }

// look reads the Lease.
func (p *pursuit) look(ctx context.Context, timeout time.Duration) {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	sent := time.Now()
	lease, err := p.Leases.Get(limited, p.Name, metav1.GetOptions{})
	p.tried = time.Now()
	switch {
	case apierrors.IsNotFound(err):
		p.seen, p.version, p.blind = p.seen.AfterRead(nil, sent, p.tried), "", nil
	case err != nil:
		p.blind = fmt.Errorf("the Lease cannot be read: %w", err)
		if !apierrors.IsForbidden(p.deaf) {
			p.deaf = nil // it is of the same making
		}
	default:
		p.seen, p.version, p.blind = p.seen.AfterRead(lease, sent, p.tried), lease.ResourceVersion, nil
	}
}

// watch takes in what happens until the watch ends. It answers true if another one
// should follow at once: this one is behind what a look has shown.
func (p *pursuit) watch(ctx context.Context) (behind bool) {
	stream, err := p.open(ctx)
	p.deaf = err
	if ctx.Err() != nil || err != nil {
		p.tell(ctx)
		return false
	}
	defer stream.Stop()
	if p.seen.Lost(time.Now()) { // whoever heard it last took his time
		p.look(ctx, lookTimeout)
	}
	for p.tell(ctx); p.goesOn(ctx); p.tell(ctx) {
		timer := time.NewTimer(time.Until(p.lookAt()))
		select {
		case <-ctx.Done():
		case <-timer.C:
			known := p.version
			if p.look(ctx, lookTimeout); p.version != known {
				p.tell(ctx)
				return true
			}
		case event, open := <-stream.ResultChan():
			if !open || event.Type == watch.Error {
				timer.Stop()
				return false // the next look tells whether that matters
			}
			if p.seen.Lost(time.Now()) { // what comes now is the past
				timer.Stop()
				p.look(ctx, lookTimeout)
				return p.blind == nil
			}
			p.take(event)
		}
		timer.Stop()
	}
	return false
}

// open begins a watch. The answer to that comes at once, or never.
func (p *pursuit) open(ctx context.Context) (watch.Interface, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	late := time.AfterFunc(lookTimeout, func() { cancel(context.DeadlineExceeded) })
	stream, err := p.Leases.Watch(ctx, metav1.ListOptions{
		FieldSelector: "metadata.name=" + p.Name, ResourceVersion: p.version, AllowWatchBookmarks: true,
	})
	if !late.Stop() && err == nil {
		stream.Stop()
		err = context.DeadlineExceeded
	}
	if err == nil {
		return &opened{Interface: stream, end: cancel}, nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	cancel(nil)
	if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		return watch.NewEmptyWatch(), nil // the next look gives a newer version
	}
	return nil, fmt.Errorf("the Lease cannot be watched, so it is looked at every second: %w", err)
}

// opened is a watch whose context ends with it.
type opened struct {
	watch.Interface
	end context.CancelCauseFunc
}

// Stop implements [watch.Interface].
func (o *opened) Stop() {
	o.Interface.Stop()
	o.end(nil)
}

func (p *pursuit) lookAt() time.Time {
	if p.blind != nil {
		return p.tried.Add(again)
	}
	return p.seen.lookAt()
}

func (p *pursuit) take(event watch.Event) {
	now := time.Now()
	lease, ok := event.Object.(*coordinationv1.Lease)
	switch {
	case event.Type == watch.Bookmark:
		p.seen = p.seen.After(p.seen.lease, now)
	case !ok || lease.Name != p.Name: // fakes ignore field selectors
	case event.Type == watch.Deleted:
		p.seen, p.version = p.seen.After(nil, now), ""
	default:
		p.seen, p.version = p.seen.After(lease, now), lease.ResourceVersion
	}
}

// tell tells what was seen, and of trouble that is new.
func (p *pursuit) tell(ctx context.Context) {
	if !p.goesOn(ctx) {
		return
	}
	if kind, err := p.trouble(); kind != p.told {
		p.told = kind
		if p.Trouble != nil {
			p.Trouble(err)
		}
	}
	p.over = !p.Hear(p.seen)
}

// trouble is why there is no contact, or only by looks, and of which kind that is.
func (p *pursuit) trouble() (kind string, err error) {
	switch {
	case p.blind != nil:
		return "blind: " + kindOf(p.blind), p.blind
	case p.deaf != nil:
		return "deaf: " + kindOf(p.deaf), p.deaf
	default:
		return "", nil
	}
}

// kindOf tells reasons apart, though each failure words its own differently.
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
