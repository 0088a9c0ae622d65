package leaderelection

import "errors"

// These errors are the reasons for the end of a term. After the term has ended,
// context.Cause returns one of them for the work's context.
var (
	// ErrCancelled means that the term ended because the context of Run was cancelled.
	ErrCancelled = errors.New("leaderelection: the context of Run was cancelled")

	// ErrSteppedDown means that the term ended because StepDown was called.
	ErrSteppedDown = errors.New("leaderelection: stepped down")

	// ErrRenewalFailed means that the term ended because no renewal succeeded before
	// the trust window ended.
	ErrRenewalFailed = errors.New("leaderelection: the Lease could not be renewed in time")

	// ErrOvertaken means that the term ended because the Lease names another holder, or
	// because another process wrote the Lease under this identity.
	ErrOvertaken = errors.New("leaderelection: another holder was written into the Lease")

	// ErrLeaseDeleted means that the term ended because the Lease was deleted, or was
	// replaced by another Lease of the same name.
	ErrLeaseDeleted = errors.New("leaderelection: the Lease was deleted")

	// ErrHistoryRewound means that the term ended because the resourceVersion of the
	// Lease became smaller. This happens after etcd was restored from a backup.
	ErrHistoryRewound = errors.New("leaderelection: the Lease's history was rewound")
)

// termReasons contains a name for each error that ends a term.
var termReasons = []struct {
	err  error
	name string
}{
	{ErrCancelled, "cancelled"}, {ErrSteppedDown, "stepped_down"},
	{ErrRenewalFailed, "renewal_failed"}, {ErrOvertaken, "overtaken"},
	{ErrLeaseDeleted, "lease_deleted"}, {ErrHistoryRewound, "history_rewound"},
}

// These errors are returned by the methods of an Elector.
var (
	// ErrAlreadyRunning is returned by Run if the Elector is already running.
	ErrAlreadyRunning = errors.New("leaderelection: the elector is already running")

	// ErrWorkStillRunning is returned by Run if the work did not stop in time. The
	// Lease was not released. Exit the process. If Run is called again before the work
	// has returned, Run returns this error again.
	ErrWorkStillRunning = errors.New("leaderelection: the work of the last term is still running")

	// ErrIdentityInUse is returned by Run if another process keeps renewing the Lease
	// under this identity.
	ErrIdentityInUse = errors.New("leaderelection: another process uses the same identity")

	// ErrNotReleased is returned by StepDown if the work has stopped, but the Lease
	// could not be released. Other candidates wait until the Lease expires.
	ErrNotReleased = errors.New("leaderelection: the Lease could not be released")

	// ErrStillStopping is returned by StepDown if the work has not stopped yet. The term
	// ends and the Lease is released when the work has stopped.
	ErrStillStopping = errors.New("leaderelection: the work has not stopped yet")

	// ErrNotLeading is returned by StepDown if there is no term to end.
	ErrNotLeading = errors.New("leaderelection: not leading")
)
