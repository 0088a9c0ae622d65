package leaderelection

import (
	"errors"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// These are the reasons of the events that an Elector records.
const (
	// EventReason is the reason of normal events. client-go uses the same reason. The
	// messages are "pod-1 became leader", "pod-1 stopped leading" and "pod-1 stepped
	// down". If the previous leader's container had terminated, the first message states
	// this.
	EventReason = "LeaderElection"
	// EventReasonLost is the reason of the warning that leadership was lost. Example
	// message: "pod-1 lost leadership: the Lease could not be renewed in time".
	EventReasonLost = "LeadershipLost"
	// EventReasonOverran is the reason of the warning that the work did not stop in
	// time. Example message: "pod-1 overran: its work has not stopped within 3s, and
	// the Lease was not released".
	EventReasonOverran = "LeadershipOverran"
)

// WithPod makes the Elector record its events on the given pod, in addition to the
// Lease. It has no effect without WithEventRecorder. Pass the UID of the pod, because
// "kubectl describe pod" shows only events with this UID. Default: the Elector records
// events on the Lease only.
func WithPod(namespace, name string, uid types.UID) Option {
	return func(o *options) {
		o.pod = &corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: namespace, Name: name, UID: uid}
	}
}

type eventRecorder struct {
	options *options
	config  *Config
	lease   func() *coordinationv1.Lease // returns the last observed Lease, or nil if the Lease does not exist
}

func (r eventRecorder) trace() Trace {
	identity := r.config.Identity
	return Trace{
		TermStarted: func(started TermStarted) {
			message := "%s became leader"
			if started.Previous == PreviousTerminated {
				message += " because the previous leader's container has terminated"
			}
			r.record(corev1.EventTypeNormal, EventReason, message, identity)
		},
		TermStopping: func(stopping TermStopping) {
			switch cause := stopping.Cause; {
			case errors.Is(cause, ErrSteppedDown):
				r.record(corev1.EventTypeNormal, EventReason, "%s stepped down", identity)
			case !isLoss(cause):
				r.record(corev1.EventTypeNormal, EventReason, "%s stopped leading", identity)
			default:
				r.record(corev1.EventTypeWarning, EventReasonLost, "%s lost leadership: %s",
					identity, strings.TrimPrefix(cause.Error(), "leaderelection: "))
			}
		},
		TermEnded: func(end TermEnded) {
			if end.Overran {
				r.record(corev1.EventTypeWarning, EventReasonOverran, "%s overran: its work has not stopped within %v, and the Lease was not released",
					identity, end.StopTook.Round(time.Millisecond))
			}
		},
	}
}

func (r eventRecorder) record(kind, reason, format string, args ...any) {
	if r.config.Enabled {
		r.options.recorder.Eventf(r.subject(), kind, reason, format, args...)
	}
	if r.options.pod != nil {
		r.options.recorder.Eventf(r.options.pod, kind, reason, format, args...)
	}
}

// subject returns the Lease, without its spec, as the object that the events describe.
func (r eventRecorder) subject() *coordinationv1.Lease {
	subject := &coordinationv1.Lease{
		TypeMeta:   metav1.TypeMeta{APIVersion: coordinationv1.SchemeGroupVersion.String(), Kind: "Lease"},
		ObjectMeta: metav1.ObjectMeta{Name: r.config.LeaseName, Namespace: r.config.LeaseNamespace},
	}
	if lease := r.lease(); lease != nil {
		subject.UID, subject.ResourceVersion = lease.UID, lease.ResourceVersion
	}
	return subject
}
