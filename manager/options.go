package manager

import (
	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
)

// An Option configures a Manager that New returns, in addition to ctrl.Options.
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

// WithIdentity sets the identity of this process in the Lease. The identity must be
// unique among all candidates. Use a new identity for each process. Default: POD_NAME
// or the hostname, followed by "_" and a random suffix.
func WithIdentity(identity string) Option {
	return func(o *options) { o.identity = identity }
}

// WithoutRelease disables the release of the Lease. After the Manager has stopped,
// other candidates must then wait until the Lease expires. Default: the Lease is
// released after all Runnables have stopped.
func WithoutRelease() Option {
	return func(o *options) { o.keep = true }
}

// WithWriteGuard makes the Manager's client refuse writes that do not belong to the
// current term, see GuardClient. Runnables that also run on followers, such as
// webhooks, then need another client for their writes. WithWriteGuard has no effect if
// LeaderElection is false. Default: no guard.
func WithWriteGuard() Option {
	return func(o *options) { o.guard = true }
}

// WithFencing prepares the Manager's client for a Fence with the given mode. When the
// Fence refuses a write and the term continues, the client sends the write again, see
// fencing.RetryTransport.
//
// If mode includes ByTerm, the client also stamps its writes with the term, see
// fencing.StampTransport. The client then returns fencing.ErrNoTerm for a write whose
// context carries no term. Therefore Runnables on followers need another client for
// their writes.
//
// WithFencing can be combined with WithWriteGuard. It does not change the client that
// GetHTTPClient returns. It has no effect if LeaderElection is false. Default: the client
// does not repeat refused writes and does not stamp writes. The default suffices for a
// Fence with mode ByPod if controllers retry.
func WithFencing(mode fencing.Mode) Option {
	return func(o *options) { o.fencing = &mode }
}

// WithoutRightsCheck disables the check of rights. Default: when the campaign begins,
// the Manager checks once whether it has the rights that the election needs. The
// Manager logs an error for each missing right. The check runs in the background and
// does not delay or prevent the election.
func WithoutRightsCheck() Option {
	return func(o *options) { o.unchecked = true }
}

// WithElectorOptions passes options to the Manager's Elector. These options take
// precedence over the options that the Manager sets itself.
func WithElectorOptions(opts ...leaderelection.Option) Option {
	return func(o *options) { o.elector = append(o.elector, opts...) }
}
