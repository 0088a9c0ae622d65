package manager

import (
	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// An Option says more about the election of a Manager made by New than
// ctrl.Options can.
type Option func(*options)

type options struct {
	identity string
	keep     bool
	guard    bool
	elector  []leaderelection.Option
}

// WithIdentity names this process in the Lease. It must be unique among all
// candidates, and should be new for each process. Default: POD_NAME or the
// hostname, "_", and a random suffix.
func WithIdentity(identity string) Option {
	return func(o *options) { o.identity = identity }
}

// WithoutRelease leaves the Lease as it is when the Manager has stopped, so that
// a successor waits until it runs out. Default: it is released once everything
// has stopped.
func WithoutRelease() Option {
	return func(o *options) { o.keep = true }
}

// WithWriteGuard makes the Manager's client refuse writes that no live term
// stands behind, see GuardClient. Runnables that also run on followers, such as
// webhooks, then write with another client, or not at all. Without
// LeaderElection it has no effect. Default: no guard.
func WithWriteGuard() Option {
	return func(o *options) { o.guard = true }
}

// WithElectorOptions gives the Elector inside further options. They win over what
// the Manager sets.
func WithElectorOptions(opts ...leaderelection.Option) Option {
	return func(o *options) { o.elector = append(o.elector, opts...) }
}
