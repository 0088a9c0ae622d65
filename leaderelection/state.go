package leaderelection

// A State describes an Elector at one point in time.
type State struct {
	// Running is true while Run runs.
	Running bool
	// Leading is true while this process leads, which means that the work's context is
	// not cancelled. Term is the current term while Leading is true.
	Leading bool
	Term    Term
	// Leader is the identity that GetLeader returns.
	Leader string
	// Watching is true while the Lease is watched. While it is false, the Lease is
	// polled.
	Watching bool
	// Successor is the identity of the follower that claims first when the Lease is
	// released. It is "" if there is no successor.
	Successor string
	// LastError is the error of the requests for the Lease that currently fail. It is
	// "" if the requests succeed.
	LastError string
	// EndCause is the reason for the end of the last term. It is nil if no term has
	// ended yet.
	EndCause error
}
