package leaderelection

import "time"

// A State describes an Elector at one point in time.
type State struct {
	// Running is true while Run runs.
	Running bool
	// Leading is true while the work of a term runs and its context is not cancelled.
	// Term is the current term. It is the zero Term if Leading is false.
	Leading bool
	Term    Term
	// Leader is the identity that GetLeader returns.
	Leader string
	// Watching is true while a watch reports changes of the Lease. If it is false, the
	// Elector polls the Lease.
	Watching bool
	// Successor is the identity of the follower that claims first when the Lease is
	// released. It is "" if there is no successor.
	Successor string
	// LastError is the error with which requests for the Lease currently fail. It is ""
	// if the requests succeed.
	LastError string
	// FailingSince is when requests for the Lease began to fail. It is the zero Time if
	// the requests succeed.
	FailingSince time.Time
	// EndCause is the reason for the end of the last term. It is nil if no term has
	// ended yet.
	EndCause error
}
