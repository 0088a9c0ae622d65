package leaderelection

import "context"

// Callbacks contains the functions that you provide and an Elector calls. Each of them
// may be nil. Promise P7 in the package documentation describes their order.
type Callbacks struct {
	// OnStartedLeading is called when this process has become the leader. The context
	// ctx is cancelled when leadership ends. After the cancellation, context.Cause
	// returns the reason. TermFromContext and LoggerFromContext return the Term and a
	// logger from ctx. OnStartedLeading may do the work itself, or start the work and
	// return. The term does not end when OnStartedLeading returns. The Lease is not
	// released before OnStartedLeading has returned.
	OnStartedLeading func(ctx context.Context)

	// OnStoppedLeading is called once in each term, after the context of
	// OnStartedLeading was cancelled and OnStartedLeading has returned. The Lease is
	// not released before OnStoppedLeading has returned.
	//
	// There is one exception. If OnStartedLeading does not return in time,
	// OnStoppedLeading is called while OnStartedLeading still runs. The program should
	// then exit. The time limit is StopTimeout. After a loss of leadership, it is at
	// most Margin.
	OnStoppedLeading func()

	// OnNewLeader is called when a new leader was observed. The new leader may be this
	// process. identity is never "". The calls do not overlap. Two
	// consecutive calls never report the same leader. If the leader changes several
	// times during a call, the next call reports only the newest leader. A slow
	// OnNewLeader does not delay the election.
	OnNewLeader func(identity string)
}
