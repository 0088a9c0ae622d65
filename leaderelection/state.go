package leaderelection

// A State is what an Elector knows at one moment.
type State struct {
	// Running is whether Run was called and has not returned.
	Running bool
	// Leading is whether the work's context is live. Term is the term then.
	Leading bool
	Term    Term
	// Leader is the identity that GetLeader returns.
	Leader string
	// Watching is whether the Lease is watched. Otherwise it is polled.
	Watching bool
	// Successor is the follower that claims first when the Lease is released, "" if
	// there is none.
	Successor string
	// LastError is the error of the requests for the Lease that fail now, "" if none
	// fail.
	LastError string
	// EndCause is why the last term ended, nil if none has.
	EndCause error
}
