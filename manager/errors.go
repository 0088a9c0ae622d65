package manager

import (
	"errors"
	"slices"

	"github.com/haproxy-template-ic/incumbent/leaderelection/guard"
)

var (
	// ErrLeadershipLost is returned by Start of a Manager that New returned, after it
	// lost the Lease. The error also wraps the reason, which is a sentinel error of
	// leaderelection such as ErrRenewalFailed. It wraps ErrWorkStillRunning if some
	// Runnables had not stopped when other candidates were about to claim the Lease.
	// The process must exit.
	ErrLeadershipLost = errors.New("manager: leadership was lost")

	// ErrWriteRefused is guard.ErrWriteRefused. It is returned for a write that does
	// not belong to the current term. The error also wraps the reason.
	ErrWriteRefused = guard.ErrWriteRefused
)

var (
	errAlreadyStarted = errors.New("manager already started")
	errFailed         = errors.New("manager: a Runnable failed, its error is unknown because the Manager has not stopped")
	errGateShut       = errors.New("manager: the Manager is stopping")
)

// join is errors.Join, but returns a single error unchanged.
func join(errs ...error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}
