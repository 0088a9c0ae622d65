package manager

import (
	"context"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

// eventTimeout is how long one event may take.
const eventTimeout = 10 * time.Second

// reasonLast is that of an event that is not sent: it says that no other comes.
const reasonLast = "Last"

// A sink sends events to the API server. The elector's client has no timeout, for
// the elector sets one for each request; so does the sink.
type sink struct {
	events typedcorev1.EventInterface
	logger logr.Logger
	denied sync.Once
	last   chan struct{} // closed when the last event has come

	ctx    context.Context // that of all requests
	cancel context.CancelFunc
	busy   sync.Mutex // held by the request that is under way
}

func newSink(events typedcorev1.EventInterface, logger logr.Logger) *sink {
	s := &sink{events: events, logger: logger, last: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// awaitLast waits for the last event, in vain if the API server does not answer.
func (s *sink) awaitLast(patience time.Duration) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-s.last:
	case <-timer.C:
	}
}

// close ends the request that is under way. It returns when there is none, nor ever
// will be.
func (s *sink) close() {
	s.cancel()
	s.busy.Lock()
	defer s.busy.Unlock()
}

// send makes one request, unless the sink is closed.
func (s *sink) send(request func(context.Context) (*corev1.Event, error)) (*corev1.Event, error) {
	s.busy.Lock()
	defer s.busy.Unlock()
	ctx, cancel := context.WithTimeout(s.ctx, eventTimeout)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return request(ctx)
}

func (s *sink) Create(event *corev1.Event) (*corev1.Event, error) {
	if event.Reason == reasonLast {
		close(s.last)
		return event, nil
	}
	created, err := s.send(func(ctx context.Context) (*corev1.Event, error) {
		return s.events.CreateWithEventNamespaceWithContext(ctx, event)
	})
	return s.tolerate(event, created, err)
}

func (s *sink) Update(event *corev1.Event) (*corev1.Event, error) {
	return s.send(func(ctx context.Context) (*corev1.Event, error) {
		return s.events.UpdateWithEventNamespaceWithContext(ctx, event)
	})
}

func (s *sink) Patch(event *corev1.Event, data []byte) (*corev1.Event, error) {
	patched, err := s.send(func(ctx context.Context) (*corev1.Event, error) {
		return s.events.PatchWithEventNamespaceWithContext(ctx, event, data)
	})
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
