package leaderelection

import (
	"errors"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// The reasons of the events that an Elector records.
const (
	// EventReason is that of what happens in the course of things, as client-go has
	// it: "pod-1 became leader", "pod-1 stopped leading", "pod-1 stepped down".
	EventReason = "LeaderElection"
	// EventReasonLost is that of a warning: "pod-1 lost leadership: the Lease could
	// not be renewed in time".
	EventReasonLost = "LeadershipLost"
	// EventReasonOverran is that of a warning: "pod-1 overran: its work has not
	// stopped 3s after it was told to, and nothing was released".
	EventReasonOverran = "LeadershipOverran"
)

// WithPod records the events on the Elector's pod as well, if there is a recorder.
// Without its UID, "kubectl describe pod" does not show them. Default: on the Lease
// only.
func WithPod(namespace, name string, uid types.UID) Option {
	return func(o *options) {
		o.pod = &corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: namespace, Name: name, UID: uid}
	}
}

// eventTrace records events. Like every Trace it is called by a goroutine that
// nobody waits for: a recorder that blocks, or an API server that is away, delays
// no term.
func (e *Elector) eventTrace() Trace {
	return Trace{
		TermStarted: func(TermStarted) {
			e.record(corev1.EventTypeNormal, EventReason, "%s became leader", e.config.Identity)
		},
		TermStopping: func(ending TermStopping) {
			switch cause := ending.Cause; {
			case errors.Is(cause, ErrSteppedDown):
				e.record(corev1.EventTypeNormal, EventReason, "%s stepped down", e.config.Identity)
			case !isLoss(cause):
				e.record(corev1.EventTypeNormal, EventReason, "%s stopped leading", e.config.Identity)
			default:
				e.record(corev1.EventTypeWarning, EventReasonLost, "%s lost leadership: %s",
					e.config.Identity, strings.TrimPrefix(cause.Error(), "leaderelection: "))
			}
		},
		TermEnded: func(end TermEnded) {
			if end.Overran {
				e.record(corev1.EventTypeWarning, EventReasonOverran, "%s overran: its work has not stopped %v after it was told to, and nothing was released",
					e.config.Identity, end.StopTook.Round(time.Millisecond))
			}
		},
	}
}

func (e *Elector) record(kind, reason, format string, args ...any) {
	var subjects []runtime.Object
	if e.config.Enabled {
		subjects = append(subjects, e.eventSubject())
	}
	if e.options.pod != nil {
		subjects = append(subjects, e.options.pod)
	}
	for _, subject := range subjects {
		e.options.recorder.Eventf(subject, kind, reason, format, args...)
	}
}

// eventSubject is the Lease as it was last seen.
func (e *Elector) eventSubject() *coordinationv1.Lease {
	subject := &coordinationv1.Lease{
		TypeMeta:   metav1.TypeMeta{APIVersion: coordinationv1.SchemeGroupVersion.String(), Kind: "Lease"},
		ObjectMeta: metav1.ObjectMeta{Name: e.config.LeaseName, Namespace: e.config.LeaseNamespace},
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if seen := e.observer.view.lease; seen != nil {
		subject.UID, subject.ResourceVersion = seen.UID, seen.ResourceVersion
	}
	return subject
}
