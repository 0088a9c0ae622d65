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

// problems returns everything that is wrong with the options.
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

// WithEventRecorder makes the Elector record an event on the Lease when it becomes
// leader, stops leading, steps down or loses leadership, and when its work overran; see
// EventReason. A missing right to create events has no other effect. Default: no events.
func WithEventRecorder(recorder resourcelock.EventRecorder) Option {
	return func(o *options) { o.recorder = recorder }
}

// WithLeaseLabels sets labels on the Lease with each write. Other labels stay. Default:
// none.
func WithLeaseLabels(labels map[string]string) Option {
	labels = maps.Clone(labels)
	return func(o *options) { o.labels = labels }
}

// WithoutForeignReleaseDelay claims a Lease at once that was released by another kind of
// candidate. client-go releases before its work has stopped, so by default such a Lease
// is claimed one RetryPeriod later. Use this option only if no other kind of candidate
// campaigns for the Lease, or if its work stops at once.
func WithoutForeignReleaseDelay() Option {
	return func(o *options) { o.noForeignReleaseDelay = true }
}

// WithPriority sets the rank of this candidate among the followers. The follower with
// the highest priority is the successor, which claims a released Lease first. Among
// followers of the same priority, a new process is preferred to an old one. Candidates
// in one process have the same age, so only a priority orders them. A priority never
// takes the Lease from a leader. Default 0.
func WithPriority(priority int32) Option {
	return func(o *options) { o.priority = priority }
}

// WithCallbackMiddleware makes New replace the Callbacks by those that wrap returns. wrap
// receives the Elector that New returns and the Callbacks, and the new ones should call
// them. wrap must not call methods of the Elector before New has returned. Of several
// middlewares, the last one is the outermost. It is for packages that act beside the
// work of a term or before the Lease is released. Default: none.
func WithCallbackMiddleware(wrap func(*Elector, Callbacks) Callbacks) Option {
	return func(o *options) {
		if wrap != nil {
			o.middleware = append(o.middleware, wrap)
		}
	}
}

// WithBackgroundTask runs a function in a goroutine of its own during each Run of an
// enabled election. The function receives the Elector and its logger. Its context ends when the context of Run ends or when Run is
// about to return, and Run returns only after the function has returned. It is for
// packages that act while the Elector campaigns. Default: none.
func WithBackgroundTask(run func(context.Context, *Elector, *slog.Logger)) Option {
	return func(o *options) {
		if run != nil {
			o.background = append(o.background, run)
		}
	}
}
