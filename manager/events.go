package manager

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
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
// it, and waits for the last events for at most a while. The goroutines of a
// broadcaster begin with it, hence not in New.
func (r *recorder) start() (stop func(patience time.Duration)) {
	if r.target.Load() != nil {
		return func(time.Duration) {}
	}
	s := newSink(r.client.CoreV1().Events(""), r.logger)
	broadcaster := record.NewBroadcaster(record.WithContext(logr.NewContext(context.Background(), r.logger)))
	broadcaster.StartRecordingToSink(s)
	target := broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: r.identity})
	r.use(target)
	return func(patience time.Duration) {
		r.target.Store(nil)
		// What comes last says that all else has been sent: they come one by one.
		target.Event(&corev1.ObjectReference{Namespace: corev1.NamespaceDefault, Name: r.identity}, corev1.EventTypeNormal, reasonLast, "")
		s.awaitLast(patience)
		broadcaster.Shutdown() // alone it would lose what is left, or send it after the end
		s.close()
	}
}
