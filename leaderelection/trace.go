package leaderelection

import "time"

// A Trace is told what an Elector does: metrics, health checks and the like are
// made of it, in packages of their own. Each function may be nil.
//
// All but Made are called one after the other, in the order in which things
// happened, by a goroutine that exists only while there is something to tell. It
// holds no lock of the Elector's, so they may ask it anything; and a function that
// is slow delays no term and no request, only what is told after it. What comes
// while a thousand calls wait is lost.
type Trace struct {
	// Made is called by New with the Elector that it returns.
	Created func(*Elector)
	// Request is called when a request was answered or given up.
	Request func(Request)
	// LeaderObserved is called when another holder was seen in the Lease, ourselves
	// included, and with an empty identity when it was seen to be free.
	LeaderObserved func(identity string, at time.Time)
	// Began is called when the work of a term begins.
	TermStarted func(TermStarted)
	// Ending is called when the work of a term is told to stop: leadership is over.
	TermStopping func(TermStopping)
	// Ended is called when the term is over, whether or not its work has stopped.
	TermEnded func(TermEnded)
}

// WithTrace tells trace what the Elector does, beside all others that were given.
// Default: none.
func WithTrace(trace Trace) Option {
	return func(o *options) { o.traces = append(o.traces, trace) }
}

// What a Request is for.
const (
	RequestClaim    = "claim"
	RequestRenew    = "renew"
	RequestRelease  = "release"
	RequestRead     = "read"
	RequestNominate = "nominate" // a follower nominates itself as successor
	RequestWatch    = "watch"
)

// FailureCanceled is the Failure of a Request whose answer was not needed any more.
const FailureCanceled = "canceled"

// A Request is one request for the Lease that was answered or given up. A watch
// is told of only when it could not be opened or failed.
type Request struct {
	// For says what it was for: RequestClaim and so on.
	For string
	// Sent is when it was sent, and Took how long the answer took; zero for a watch.
	Sent time.Time
	Took time.Duration
	// Err is what came of it, and Failure its kind in one word: "conflict" (somebody
	// else was faster), "forbidden", "unauthorized", "not_found" (the namespace is
	// missing), "refused_as_invalid", "throttled", "no_answer_in_time",
	// "no_connection", "server_error", "other", or FailureCanceled. Empty for a
	// success.
	Err     error
	Failure string
}

// What became of the last leader's claim when a term begins.
const (
	PreviousNone     = "none"     // no leader was ever seen
	PreviousReleased = "released" // the Lease was free
	PreviousExpired  = "expired"  // nobody renewed it
	PreviousDeleted  = "deleted"  // and the Lease with it
	PreviousOwn      = "own"      // it was an earlier claim of this Elector's
)

// A Beginning is the beginning of a term.
type TermStarted struct {
	// Term is the one that begins, and At the time by this machine's clock.
	Term Term
	At   time.Time
	// After says what became of the last leader's claim: PreviousReleased and so on.
	Previous string
	// Vacant is how long before At this Elector saw the last leader's last write:
	// its release, its last renewal or the deletion. Zero after nobody.
	SincePrevious time.Duration
}

// An Ending is the end of leadership, though the work may take time to stop.
type TermStopping struct {
	// Term is the one that ends, and At the time by this machine's clock.
	Term Term
	At   time.Time
	// Cause is one of the sentinels that the work's context.Cause gives.
	Cause error
}

// An End is the end of a term.
type TermEnded struct {
	TermStopping
	// StopTook is how long after Ending the work had returned, or was waited for.
	StopTook time.Duration
	// Overran is whether the work has not returned: Run returns ErrWorkStillRunning.
	Overran bool
	// Released is whether the Lease is known to have been given back.
	Released bool
}
