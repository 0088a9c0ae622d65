package leaderelection

import "errors"

// Why a term ended: the work's context gives one of these as its
// context.Cause.
var (
	// ErrCancelled is reported when the context of Run ended.
	ErrCancelled = errors.New("leaderelection: the elector's context was cancelled")

	// ErrSteppedDown is reported when StepDown was called.
	ErrSteppedDown = errors.New("leaderelection: stepped down")

	// ErrRenewalFailed is reported when the trust window of the last successful
	// renewal ran out.
	ErrRenewalFailed = errors.New("leaderelection: the Lease could not be renewed in time")

	// ErrOvertaken is reported when the Lease was seen to name another holder,
	// or to have been written by another process under our name.
	ErrOvertaken = errors.New("leaderelection: another holder was written into the Lease")

	// ErrLeaseDeleted is reported when the Lease was seen to be gone, or to have
	// been replaced by another one of its name.
	ErrLeaseDeleted = errors.New("leaderelection: the Lease was deleted")

	// ErrHistoryRewound is reported when the API server's resourceVersions were
	// seen to run backwards, as they do after etcd was restored from a backup.
	ErrHistoryRewound = errors.New("leaderelection: the Lease's history was rewound")
)

// What the methods of an Elector answer.
var (
	// ErrAlreadyRunning is returned by Run while another Run of the same
	// Elector has not returned.
	ErrAlreadyRunning = errors.New("leaderelection: the elector is already running")

	// ErrWorkStillRunning is returned by Run when the work did not stop in time,
	// and by every later Run until that work has returned. Nothing was released.
	// The process should exit.
	ErrWorkStillRunning = errors.New("leaderelection: the work of the last term is still running")

	// ErrIdentityInUse is returned by Run when another process goes on renewing
	// the Lease under our identity.
	ErrIdentityInUse = errors.New("leaderelection: another process uses the same identity")

	// ErrNotReleased is returned by StepDown when the work has stopped and the
	// Lease could not be given back: others wait until it runs out.
	ErrNotReleased = errors.New("leaderelection: the Lease could not be released")

	// ErrNotLeading is returned by StepDown when there is no term to end.
	ErrNotLeading = errors.New("leaderelection: not leading")
)
