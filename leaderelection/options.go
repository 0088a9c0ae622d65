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

// An Option changes how an Elector behaves, beyond the plain values of Config.
type Option func(*options)

type options struct {
	recorder      resourcelock.EventRecorder
	pod           *corev1.ObjectReference
	labels        map[string]string
	claimUnmarked bool
	shared        *SharedWatch
	priority      int32
	traces        []Trace
	wrappers      []func(*Elector, Callbacks) Callbacks
	companions    []func(context.Context, *Elector, *slog.Logger)
}

func newOptions(opts []Option) (o options) {
	for _, option := range opts {
		if option != nil {
			option(&o)
		}
	}
	return o
}

// problems names everything that is wrong with the options.
func (o options) problems(c Config) (errs []error) {
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, key := range slices.Sorted(maps.Keys(o.labels)) {
		for _, msg := range utilvalidation.IsQualifiedName(key) {
			refuse("WithLeaseLabels: %q is no key for a label: %s", key, msg)
		}
		for _, msg := range utilvalidation.IsValidLabelValue(o.labels[key]) {
			refuse("WithLeaseLabels: %s=%q is no value for a label: %s", key, o.labels[key], msg)
		}
	}
	if s := o.shared; s != nil && c.Enabled {
		if isNil(s.clientset) {
			refuse("WithSharedWatch: its clientset is nil: give NewSharedWatch a kubernetes.Interface")
		}
		if s.namespace != c.LeaseNamespace {
			refuse("WithSharedWatch: it watches namespace %q, and LeaseNamespace is %q", s.namespace, c.LeaseNamespace)
		}
	}
	return errs
}

// WithEventRecorder makes the Elector record an event on the Lease when it
// becomes leader, when it stops or steps down, when it loses leadership and when
// its work overran, see EventReason. A missing right to create events harms
// nothing. Default: no events.
func WithEventRecorder(recorder resourcelock.EventRecorder) Option {
	return func(o *options) { o.recorder = recorder }
}

// WithLeaseLabels sets labels on the Lease with each write; other labels stay.
// Default: none.
func WithLeaseLabels(labels map[string]string) Option {
	labels = maps.Clone(labels)
	return func(o *options) { o.labels = labels }
}

// WithoutForeignReleaseDelay claims a Lease that was freed by another kind
// of candidate at once. client-go releases before its work has stopped, so by
// default such a Lease is left alone for one RetryPeriod. Use it only if no
// other kind of candidate is on the Lease, or their work stops at once.
func WithoutForeignReleaseDelay() Option {
	return func(o *options) { o.claimUnmarked = true }
}

// WithPriority ranks this candidate among the followers: the one with the highest
// priority, and of these a new one rather than an old one, is the heir, who claims
// a released Lease first. Candidates in one process are of an age: only a priority
// sets them apart. It takes no Lease from a leader. Default 0.
func WithPriority(priority int32) Option {
	return func(o *options) { o.priority = priority }
}

// WithCallbackMiddleware has wrap put something around the Callbacks that New was given: it
// returns those that the Elector calls in their place, and should call them. New
// hands it the Elector that it returns. What of several is given last is outermost.
// For packages that do something beside the work of a term, or before the Lease is
// released. Default: none.
func WithCallbackMiddleware(wrap func(*Elector, Callbacks) Callbacks) Option {
	return func(o *options) {
		if wrap != nil {
			o.wrappers = append(o.wrappers, wrap)
		}
	}
}

// WithBackgroundTask has run called beside each Run that campaigns, in a goroutine of its
// own, with the Elector and its logger. It delays nothing but the end: when ctx of Run
// is done, or Run ends, its own is done, and Run returns when it has returned. For
// packages that do something while the Elector campaigns. Default: none.
func WithBackgroundTask(run func(context.Context, *Elector, *slog.Logger)) Option {
	return func(o *options) {
		if run != nil {
			o.companions = append(o.companions, run)
		}
	}
}
