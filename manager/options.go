package manager

import (
	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
)

// An Option configures the election of a Manager that New returns, beyond
// ctrl.Options.
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

// WithIdentity sets the identity of this process in the Lease. It must be unique among
// all candidates, and should be new for each process. Default: POD_NAME or the
// hostname, "_", and a random suffix.
func WithIdentity(identity string) Option {
	return func(o *options) { o.identity = identity }
}

// WithoutRelease keeps the Lease unreleased after the Manager has stopped. Other
// candidates then wait until it expires. Default: the Lease is released after all
// Runnables have stopped.
func WithoutRelease() Option {
	return func(o *options) { o.keep = true }
}

// WithWriteGuard makes the Manager's client refuse writes that do not belong to the
// current term, see GuardClient. Runnables that also run on followers, such as webhooks,
// then need another client for their writes. Without LeaderElection it has no effect.
// Default: no guard.
func WithWriteGuard() Option {
	return func(o *options) { o.guard = true }
}

// WithFencing sets the mode of the Fence that the Manager's client writes through. The
// client then sends refused writes again if the term continues, see
// fencing.RetryTransport.
//
// With ByTerm, alone or with ByPod, the client also stamps its writes with the term, see
// fencing.StampTransport. A write whose context carries no term is then refused with
// fencing.ErrNoTerm, so Runnables on followers need another client, as with
// WithWriteGuard. Both options may be given. GetHTTPClient is not changed. Without
// LeaderElection WithFencing has no effect. Default: refusals are returned at once, and
// nothing is stamped. That suffices for a Fence ByPod if controllers retry.
func WithFencing(mode fencing.Mode) Option {
	return func(o *options) { o.fencing = &mode }
}

// WithoutRightsCheck disables the check of rights. Default: when the campaign begins,
// the Manager asks the API server once for the rights that the election needs, and logs
// a warning for each missing right. The check runs in the background and refuses
// nothing.
func WithoutRightsCheck() Option {
	return func(o *options) { o.unchecked = true }
}

// WithElectorOptions sets options of the Manager's Elector. They take precedence over
// the options that the Manager sets.
func WithElectorOptions(opts ...leaderelection.Option) Option {
	return func(o *options) { o.elector = append(o.elector, opts...) }
}
