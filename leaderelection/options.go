package leaderelection

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// An Option changes the behaviour of an Elector. Set plain values, such as durations,
// in Config instead.
type Option func(*options)

type options struct {
	recorder              resourcelock.EventRecorder
	pod                   *corev1.ObjectReference
	labels                map[string]string
	noForeignReleaseDelay bool
	shared                *SharedWatch
	priority              int32
	traces                []Trace
	middleware            []func(*Elector, Callbacks) Callbacks
	background            []func(context.Context, *Elector, *slog.Logger)
}

func newOptions(opts []Option) (o options) {
	for _, option := range opts {
		if option != nil {
			option(&o)
		}
	}
	return o
}

// problems returns one error for each problem of the options. c is the configuration of
// the same Elector.
func (o options) problems(c Config) (errs []error) {
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, key := range slices.Sorted(maps.Keys(o.labels)) {
		for _, msg := range utilvalidation.IsQualifiedName(key) {
			refuse("WithLeaseLabels: %q is not a valid label key: %s", key, msg)
		}
		for _, msg := range utilvalidation.IsValidLabelValue(o.labels[key]) {
			refuse("WithLeaseLabels: %s=%q is not a valid label value: %s", key, o.labels[key], msg)
		}
	}
	if s := o.shared; s != nil && c.Enabled {
		if isNil(s.clientset) {
			refuse("WithSharedWatch: its clientset is nil: pass a kubernetes.Interface to NewSharedWatch")
		}
		if s.namespace != c.LeaseNamespace {
			refuse("WithSharedWatch: it watches namespace %q, but LeaseNamespace is %q: use one SharedWatch for each namespace", s.namespace, c.LeaseNamespace)
		}
	}
	return errs
}

// WithEventRecorder makes the Elector record events on the Lease. It records an event
// when it becomes leader, stops leading, steps down or loses leadership, and when its
// work did not stop in time. See EventReason. If the right to create events is missing,
// no events are recorded, and the election still works. Default: no events.
func WithEventRecorder(recorder resourcelock.EventRecorder) Option {
	return func(o *options) { o.recorder = recorder }
}

// WithLeaseLabels makes the Elector set the given labels on the Lease with each write.
// Other labels of the Lease are kept. Default: none.
func WithLeaseLabels(labels map[string]string) Option {
	labels = maps.Clone(labels)
	return func(o *options) { o.labels = labels }
}

// WithoutForeignReleaseDelay removes the delay after a release by client-go. A
// candidate that uses client-go directly releases the Lease before its work has
// stopped. By default, an Elector therefore waits one RetryPeriod before it claims a
// Lease that was released in this way. Use this option only if all candidates use this
// library, or if the work of the other candidates stops at once.
func WithoutForeignReleaseDelay() Option {
	return func(o *options) { o.noForeignReleaseDelay = true }
}

// WithPriority sets the priority of this candidate among the followers. The follower
// with the highest priority becomes the successor, which claims a released Lease first.
// Among followers of the same priority, a process that started later is preferred.
// Candidates in one process have the same start time, and only the priority decides
// between them. A candidate with a higher priority never takes the Lease from a leader.
// Default 0.
func WithPriority(priority int32) Option {
	return func(o *options) { o.priority = priority }
}

// WithCallbackMiddleware replaces the Callbacks of the Elector. New calls the function
// wrap with two arguments: the new Elector and the original Callbacks. The Elector then
// uses the Callbacks that the function wrap returns. The returned Callbacks should call
// the original Callbacks. If several options of this kind are passed to New, their
// functions are called in the order of the options. Each function receives the result
// of the previous function. Use the option in packages that act at the start or the end
// of a term. Default: none.
func WithCallbackMiddleware(wrap func(*Elector, Callbacks) Callbacks) Option {
	return func(o *options) {
		if wrap != nil {
			o.middleware = append(o.middleware, wrap)
		}
	}
}

// WithBackgroundTask makes Elector.Run call the function task in a new goroutine. The
// function task receives a context, the Elector and the Elector's logger. The context
// is cancelled when the context of Run is done, or when Run is about to return. Run
// returns only after the function task has returned. Use the option in packages that
// act while the Elector campaigns. Default: none.
func WithBackgroundTask(task func(context.Context, *Elector, *slog.Logger)) Option {
	return func(o *options) {
		if task != nil {
			o.background = append(o.background, task)
		}
	}
}
