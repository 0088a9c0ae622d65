package sharding

import "errors"

// These errors are the reasons for the end of a hold. context.Cause returns one of them, or
// an error of package leaderelection, for the contexts of the hold.
var (
	// ErrMoving means that the shard is handed over to another member.
	ErrMoving = errors.New("sharding: the shard moves to another member")

	// ErrShardLost means that the table no longer names this member as the owner. The
	// table was edited or deleted by hand.
	ErrShardLost = errors.New("sharding: the table no longer names this member as the owner of the shard")

	// ErrTermEnded means that this member's own Lease was lost or released.
	ErrTermEnded = errors.New("sharding: the term of this member has ended")
)

// These errors are returned by the methods of a Group.
var (
	// ErrAlreadyRunning is returned by Run if the Group is already running.
	ErrAlreadyRunning = errors.New("sharding: the group is already running")

	// ErrShardStuck is logged if work on a shard has not returned long after DrainTimeout.
	// The shard stays with this member until the work returns. Restart the process.
	ErrShardStuck = errors.New("sharding: work on a shard ignores the end of its context")
)
