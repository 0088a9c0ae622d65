package manager

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/record"
)

// A recorder records the events of the Elector. The Manager's own recorder is not used,
// because it stops before the Elector stops.
type recorder struct {
	client   kubernetes.Interface
	identity string
	logger   logr.Logger
	target   atomic.Pointer[resourcelock.EventRecorder] // nil means that events are dropped
}

var _ resourcelock.EventRecorder = (*recorder)(nil)

// Eventf passes the event to target. It drops the event if target is nil.
func (r *recorder) Eventf(object runtime.Object, eventType, reason, message string, args ...any) {
	if target := r.target.Load(); target != nil {
		(*target).Eventf(object, eventType, reason, message, args...)
	}
}

// use sets the recorder that receives all later events.
func (r *recorder) use(target resourcelock.EventRecorder) { r.target.Store(&target) }

// start starts an event broadcaster and passes all later events to it. It does nothing
// if r already has a target. The returned function waits until all events have been
// sent, but not longer than timeout. It then stops the broadcaster.
//
// Do not call start in New, because the goroutines of the broadcaster would leak if the
// Manager is never started.
func (r *recorder) start() (stop func(timeout time.Duration)) {
	if r.target.Load() != nil {
		return func(time.Duration) {}
	}
	s := newEventSink(r.client.CoreV1().Events(""), r.logger)
	broadcaster := record.NewBroadcaster(record.WithContext(logr.NewContext(context.Background(), r.logger)))
	broadcaster.StartRecordingToSink(s)
	target := broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: r.identity})
	r.use(target)
	return func(timeout time.Duration) {
		r.target.Store(nil)
		// Events are sent in order. Therefore the sink receives this additional event
		// after all other events.
		target.Event(&corev1.ObjectReference{Namespace: corev1.NamespaceDefault, Name: r.identity}, corev1.EventTypeNormal, reasonLast, "")
		s.awaitLast(timeout)
		// Without the wait above, Shutdown would drop the remaining events or send them
		// later.
		broadcaster.Shutdown()
		s.close()
	}
}

// eventTimeout limits the duration of one request that sends an event.
const eventTimeout = 10 * time.Second

// reasonLast is the reason of a marker event that follows all other events. The sink
// does not send the marker event to the API server.
const reasonLast = "Last"

// An eventSink sends events to the API server. It sets a timeout for each request,
// because the elector's client has no timeout.
type eventSink struct {
	events typedcorev1.EventInterface
	logger logr.Logger
	denied sync.Once
	last   chan struct{} // closed when the event with the reason reasonLast arrives

	ctx    context.Context // the parent of the contexts of all requests
	cancel context.CancelFunc
	busy   chan struct{} // is full during a request
}

func newEventSink(events typedcorev1.EventInterface, logger logr.Logger) *eventSink {
	s := &eventSink{events: events, logger: logger, last: make(chan struct{}), busy: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// awaitLast waits until the event with the reason reasonLast has arrived, but not
// longer than timeout.
func (s *eventSink) awaitLast(timeout time.Duration) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-s.last:
	case <-timer.C:
	}
}

// close cancels the current request and waits until it has ended. It does not wait for a
// request that ignores its context. Later requests fail.
func (s *eventSink) close() {
	s.cancel()
	timer := time.NewTimer(cancelGrace)
	defer timer.Stop()
	select {
	case s.busy <- struct{}{}:
		<-s.busy
	case <-timer.C:
	}
}

// cancelGrace is how long a request may take to end after it was cancelled.
const cancelGrace = 100 * time.Millisecond

// send calls request with a context that has a timeout. If the sink is closed, send
// returns an error and does not call request.
func (s *eventSink) send(request func(context.Context) (*corev1.Event, error)) (*corev1.Event, error) {
	s.busy <- struct{}{}
	defer func() { <-s.busy }()
	ctx, cancel := context.WithTimeout(s.ctx, eventTimeout)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return request(ctx)
}

func (s *eventSink) Create(event *corev1.Event) (*corev1.Event, error) {
	if event.Reason == reasonLast {
		close(s.last)
		return event, nil
	}
	created, err := s.send(func(ctx context.Context) (*corev1.Event, error) {
		return s.events.CreateWithEventNamespaceWithContext(ctx, event)
	})
	return s.tolerate(event, created, err)
}

func (s *eventSink) Update(event *corev1.Event) (*corev1.Event, error) {
	return s.send(func(ctx context.Context) (*corev1.Event, error) {
		return s.events.UpdateWithEventNamespaceWithContext(ctx, event)
	})
}

func (s *eventSink) Patch(event *corev1.Event, data []byte) (*corev1.Event, error) {
	patched, err := s.send(func(ctx context.Context) (*corev1.Event, error) {
		return s.events.PatchWithEventNamespaceWithContext(ctx, event, data)
	})
	return s.tolerate(event, patched, err)
}

// tolerate returns the result of a request that sends an event. If the API server
// forbids the request, tolerate logs the missing right once and returns no error.
func (s *eventSink) tolerate(event, response *corev1.Event, err error) (*corev1.Event, error) {
	if !apierrors.IsForbidden(err) {
		return response, err
	}
	s.denied.Do(func() {
		s.logger.Error(err, "Recording events is forbidden; the election works without them", "missingRights", "create and patch on events")
	})
	return event, nil
}
