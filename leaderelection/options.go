package leaderelection

import (
	"maps"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// An Option changes how an Elector behaves, beyond the plain values of Config.
type Option func(*options)

type options struct {
	recorder      resourcelock.EventRecorder
	labels        map[string]string
	claimUnmarked bool
	shared        *SharedWatch
	priority      int32
	traces        []Trace
}

// WithEventRecorder makes the Elector record an event on the Lease when it
// becomes leader and when it stops. A missing right to create events harms
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

// WithoutPauseAfterForeignRelease claims a Lease that was freed by another kind
// of candidate at once. client-go releases before its work has stopped, so by
// default such a Lease is left alone for one RetryPeriod. Use it only if no
// other kind of candidate is on the Lease, or their work stops at once.
func WithoutPauseAfterForeignRelease() Option {
	return func(o *options) { o.claimUnmarked = true }
}

// WithPriority ranks this candidate among the followers: the one with the highest
// priority, and of these the one whose process started last, is the heir, who
// claims a released Lease first. It takes no Lease from a leader. Default 0.
func WithPriority(priority int32) Option {
	return func(o *options) { o.priority = priority }
}
