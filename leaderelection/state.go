package leaderelection

// A State is a snapshot of what an Elector knows.
type State struct {
	// Running is true while Run runs.
	Running bool
	// Leading is true while this process leads: the work's context is not cancelled.
	// Term is the present term while Leading is true.
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
	// LastError is the error with which requests for the Lease fail at present. It is
	// "" if they succeed.
	LastError string
	// EndCause is the reason for the end of the last term. It is nil if no term has
	// ended yet.
	EndCause error
}
