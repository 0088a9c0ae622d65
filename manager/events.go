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

// A recorder records the elector's events. The Manager's own recorder does not
// do: it is stopped before the elector is, and leads to the application's
// cluster also when the Lease is in another one.
type recorder struct {
	client   kubernetes.Interface
	identity string
	logger   logr.Logger
	target   atomic.Pointer[resourcelock.EventRecorder] // nil while nothing is recorded
}

var _ resourcelock.EventRecorder = (*recorder)(nil)

// Eventf records an event if there is something to record it with.
func (r *recorder) Eventf(object runtime.Object, eventType, reason, message string, args ...any) {
	if target := r.target.Load(); target != nil {
		(*target).Eventf(object, eventType, reason, message, args...)
	}
}

// use records with target from now on.
func (r *recorder) use(target resourcelock.EventRecorder) { r.target.Store(&target) }

// start begins to record, unless a target was set already, and returns what ends
// it. The goroutines of a broadcaster begin with it, hence not in New.
func (r *recorder) start() (stop func()) {
	if r.target.Load() != nil {
		return func() {}
	}
	broadcaster := record.NewBroadcaster(record.WithContext(logr.NewContext(context.Background(), r.logger)))
	broadcaster.StartRecordingToSink(&sink{events: r.client.CoreV1().Events(""), logger: r.logger})
	r.use(broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: r.identity}))
	return func() {
		r.target.Store(nil)
		broadcaster.Shutdown()
	}
}

// A sink sends events to the API server. The elector's client has no timeout, for
// the elector sets one for each request; so does the sink.
type sink struct {
	events typedcorev1.EventInterface
	logger logr.Logger
	denied sync.Once
}

func limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 10*time.Second)
}

func (s *sink) Create(event *corev1.Event) (*corev1.Event, error) {
	ctx, cancel := limited()
	defer cancel()
	created, err := s.events.CreateWithEventNamespaceWithContext(ctx, event)
	return s.tolerate(event, created, err)
}

func (s *sink) Update(event *corev1.Event) (*corev1.Event, error) {
	ctx, cancel := limited()
	defer cancel()
	return s.events.UpdateWithEventNamespaceWithContext(ctx, event)
}

func (s *sink) Patch(event *corev1.Event, data []byte) (*corev1.Event, error) {
	ctx, cancel := limited()
	defer cancel()
	patched, err := s.events.PatchWithEventNamespaceWithContext(ctx, event, data)
	return s.tolerate(event, patched, err)
}

// tolerate tells once that the right to record events is missing. The broadcaster
// would tell it each time, as an error.
func (s *sink) tolerate(event, answer *corev1.Event, err error) (*corev1.Event, error) {
	if !apierrors.IsForbidden(err) {
		return answer, err
	}
	s.denied.Do(func() {
		s.logger.Info("Events may not be recorded: the election works without them", "missing", "create and patch on events", "err", err.Error())
	})
	return event, nil
}
