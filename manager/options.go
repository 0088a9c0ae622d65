package manager

import (
	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
)

// An Option says more about the election of a Manager made by New than
// ctrl.Options can.
type Option func(*options)

type options struct {
	identity  string
	keep      bool
	guard     bool
	fencing   *fencing.Mode
	label     *LeaderLabel
	unchecked bool
	elector   []leaderelection.Option
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

// WithFencing says which kind of Fence the Manager's client writes through. It finds
// out what the API server's refusal of a stale write means, see RetryTransport of
// package leaderelection/fencing.
//
// For a Fence ByTerm, alone or with ByPod, it also stamps what it writes with the
// term, see StampTransport there. Writes whose context carries no term are then
// refused with fencing.ErrNoTerm, so the same holds as for WithWriteGuard, which may
// be given too. GetHTTPClient is not changed. Without LeaderElection it has no effect.
// Default: refusals are returned at once, and nothing is stamped, which is enough for
// a Fence ByPod if controllers try again.
func WithFencing(mode fencing.Mode) Option {
	return func(o *options) { o.fencing = &mode }
}

// WithoutRightsCheck does without asking the API server, beside the beginning of the
// campaign, for the rights that the election needs, and without the warning of each
// that is missing. Default: it asks once, which delays nothing and refuses nothing.
func WithoutRightsCheck() Option {
	return func(o *options) { o.unchecked = true }
}

// WithElectorOptions gives the Elector inside further options. They win over what
// the Manager sets.
func WithElectorOptions(opts ...leaderelection.Option) Option {
	return func(o *options) { o.elector = append(o.elector, opts...) }
}
