package manager

import (
	"errors"
	"slices"

	"github.com/haproxy-template-ic/incumbent/leaderelection/guard"
)

var (
	// ErrLeadershipLost is the error that Start returns if a Manager that New created
	// has lost the Lease. Exit the process when Start has returned this error.
	//
	// The error also wraps the reason, which is an error of package leaderelection such
	// as ErrRenewalFailed. If some Runnables still ran shortly before other candidates
	// could claim the Lease, the error also wraps ErrWorkStillRunning.
	ErrLeadershipLost = errors.New("manager: leadership was lost")

	// ErrWriteRefused is returned for a write that does not belong to the current term.
	// The error also wraps the reason. ErrWriteRefused equals guard.ErrWriteRefused.
	ErrWriteRefused = guard.ErrWriteRefused
)

var (
	errAlreadyStarted = errors.New("manager already started")
	errFailed         = errors.New("manager: a Runnable failed, its error is unknown because the Manager has not stopped")
	errGateShut       = errors.New("manager: the Manager is stopping")
)

// join returns the errors that are not nil as one error, like errors.Join. If exactly
// one error is not nil, join returns that error unchanged.
func join(errs ...error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}
