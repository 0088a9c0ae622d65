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

	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// An Option changes the behaviour of an Elector. Set plain values, such as durations,
// in Config instead.
type Option func(*options)

type options struct {
	recorder              resourcelock.EventRecorder
	pod                   *corev1.ObjectReference
	labels                map[string]string
	process               *leasestate.Process // this process without its containerID; nil without WithProofOfDeath
	noForeignReleaseDelay bool
	shared                *SharedWatch
	priority              int32
	traces                []func(*Elector) Trace
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

// problems returns one error for each problem of the options. The parameters c and
// apiServer are the configuration and the API server of the same Elector.
func (o options) problems(c Config, apiServer string) (errs []error) {
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, key := range slices.Sorted(maps.Keys(o.labels)) {
		for _, msg := range utilvalidation.IsQualifiedName(key) {
			refuse("WithLeaseLabels: %q is not a valid label key: %s", key, msg)
		}
		for _, msg := range utilvalidation.IsValidLabelValue(o.labels[key]) {
			refuse("WithLeaseLabels: %s=%q is not a valid label value: %s", key, o.labels[key], msg)
		}
	}
	if p := o.process; p != nil {
		for _, field := range []struct{ name, value, remedy string }{
			{"namespace", p.Namespace, "metadata.namespace"}, {"pod", p.Pod, "metadata.name"}, {"uid", p.UID, "metadata.uid"},
		} {
			if field.value == "" {
				refuse("WithProofOfDeath: the %s is empty: set it from the downward API (%s)", field.name, field.remedy)
			}
		}
	}
	if s := o.shared; s != nil && c.Enabled {
		if isNil(s.clientset) {
			refuse("WithSharedWatch: its clientset is nil: pass a kubernetes.Interface to NewSharedWatch")
		}
		if server := apiServerOfClientset(s.clientset); server != "" && apiServer != "" && server != apiServer {
			refuse("WithSharedWatch: it watches the API server %q, but the clientset sends its requests to %q: use one SharedWatch for each cluster", server, apiServer)
		}
		if s.namespace != c.LeaseNamespace {
			refuse("WithSharedWatch: it watches namespace %q, but LeaseNamespace is %q: use one SharedWatch for each namespace", s.namespace, c.LeaseNamespace)
		}
	}
	return errs
}

// WithEventRecorder makes the Elector record events on the Lease. It records an event
// when it becomes leader, stops leading, steps down or loses leadership. It also
// records an event if the work did not stop in time. See EventReason. The election
// works even if the process has no right to create events. Default: no events.
func WithEventRecorder(recorder resourcelock.EventRecorder) Option {
	return func(o *options) { o.recorder = recorder }
}

// WithLeaseLabels makes the Elector set the given labels on the Lease with each write.
// Other labels of the Lease are kept. Default: none.
func WithLeaseLabels(labels map[string]string) Option {
	labels = maps.Clone(labels)
	return func(o *options) { o.labels = labels }
}

// WithoutForeignReleaseDelay makes the Elector claim a Lease at once after a release by
// a candidate that uses client-go directly. Such a candidate releases the Lease before
// its work has stopped. Default: the Elector waits one RetryPeriod. Use this option
// only if all candidates use this library, or if the work of the other candidates stops
// at once.
func WithoutForeignReleaseDelay() Option {
	return func(o *options) { o.noForeignReleaseDelay = true }
}

// WithPriority sets the priority of this candidate among the followers. The follower
// with the highest priority becomes the successor, which claims a released Lease first.
// Among followers of the same priority, a process that started later is preferred. The
// priority never ends the term of a leader. Default 0.
func WithPriority(priority int32) Option {
	return func(o *options) { o.priority = priority }
}

// WithCallbackMiddleware replaces the Callbacks of the Elector. New calls the function
// wrap with the new Elector and the current Callbacks. The Elector uses the Callbacks
// that wrap returns, which should call the Callbacks that wrap received. If New
// receives several of these options, it calls their functions in the order of the
// options. Default: none.
func WithCallbackMiddleware(wrap func(*Elector, Callbacks) Callbacks) Option {
	return func(o *options) {
		if wrap != nil {
			o.middleware = append(o.middleware, wrap)
		}
	}
}

// WithBackgroundTask makes Elector.Run call task in a new goroutine. The
// function task receives a context, the Elector and the Elector's logger. The context
// is cancelled when the context of Run is done, or when Run stops campaigning. Run
// returns after task has returned. If the election is not enabled, Run does not call task.
// Default: none.
func WithBackgroundTask(task func(context.Context, *Elector, *slog.Logger)) Option {
	return func(o *options) {
		if task != nil {
			o.background = append(o.background, task)
		}
	}
}
