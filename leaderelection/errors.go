package leaderelection

import "errors"

// The reasons for the end of a term. context.Cause of the work's context returns one of
// them.
var (
	// ErrCancelled is reported when the context of Run ended.
	ErrCancelled = errors.New("leaderelection: the context of Run was cancelled")

	// ErrSteppedDown is reported when StepDown was called.
	ErrSteppedDown = errors.New("leaderelection: stepped down")

	// ErrRenewalFailed is reported when the trust window of the last successful renewal
	// ended.
	ErrRenewalFailed = errors.New("leaderelection: the Lease could not be renewed in time")

	// ErrOvertaken is reported when the Lease names another holder, or was written by
	// another process under this identity.
	ErrOvertaken = errors.New("leaderelection: another holder was written into the Lease")

	// ErrLeaseDeleted is reported when the Lease was deleted or replaced by another one
	// of the same name.
	ErrLeaseDeleted = errors.New("leaderelection: the Lease was deleted")

	// ErrHistoryRewound is reported when the API server's resourceVersions ran
	// backwards, as they do after etcd was restored from a backup.
	ErrHistoryRewound = errors.New("leaderelection: the Lease's history was rewound")
)

// The errors of an Elector's methods.
var (
	// ErrAlreadyRunning is returned by Run while another Run of the same Elector has
	// not returned.
	ErrAlreadyRunning = errors.New("leaderelection: the elector is already running")

	// ErrWorkStillRunning is returned by Run and StepDown when the work did not stop in
	// time, and by Stuck and every later Run until that work has returned. Nothing was
	// released. Exit the process.
	ErrWorkStillRunning = errors.New("leaderelection: the work of the last term is still running")

	// ErrIdentityInUse is returned by Run when another process keeps renewing the Lease
	// under this identity.
	ErrIdentityInUse = errors.New("leaderelection: another process uses the same identity")

	// ErrNotReleased is returned by StepDown when the work has stopped and the Lease
	// could not be released. Other candidates wait until it expires.
	ErrNotReleased = errors.New("leaderelection: the Lease could not be released")

	// ErrNotLeading is returned by StepDown when there is no term to end.
	ErrNotLeading = errors.New("leaderelection: not leading")
)
