package leaderelection

import "errors"

// The reasons for the end of a term. After the term has ended, context.Cause returns
// one of these errors for the work's context.
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

	// ErrHistoryRewound means that the term ended because the API server returned an
	// older resourceVersion than before. This happens after etcd was restored from a
	// backup.
	ErrHistoryRewound = errors.New("leaderelection: the Lease's history was rewound")
)

// The errors that the methods of an Elector return.
var (
	// ErrAlreadyRunning is returned by Run if an earlier Run of the same Elector has
	// not returned yet.
	ErrAlreadyRunning = errors.New("leaderelection: the elector is already running")

	// ErrWorkStillRunning is returned by Run if the work did not stop in time, and by
	// every later Run until this work has returned. The Lease was not released. Exit
	// the process.
	ErrWorkStillRunning = errors.New("leaderelection: the work of the last term is still running")

	// ErrIdentityInUse is returned by Run if another process keeps renewing the Lease
	// under this identity.
	ErrIdentityInUse = errors.New("leaderelection: another process uses the same identity")

	// ErrNotReleased is returned by StepDown if the work has stopped, but the Lease
	// could not be released. Other candidates wait until the Lease expires.
	ErrNotReleased = errors.New("leaderelection: the Lease could not be released")

	// ErrNotLeading is returned by StepDown if there is no term to end.
	ErrNotLeading = errors.New("leaderelection: not leading")
)
