package manager

import (
	"errors"
	"slices"

	"github.com/haproxy-template-ic/incumbent/leaderelection/guard"
)

var (
	// ErrLeadershipLost is returned by Start of a Manager made by New when it
	// lost the Lease. The error also wraps the reason (one of the sentinels of
	// leaderelection, such as ErrRenewalFailed), and ErrWorkStillRunning if not
	// everything had stopped when others were about to be allowed to lead. The
	// process must exit.
	ErrLeadershipLost = errors.New("manager: leadership was lost")

	// ErrWriteRefused is guard.ErrWriteRefused. It is returned for a write that does
	// not belong to the current term. The error also wraps the reason.
	ErrWriteRefused = guard.ErrWriteRefused
)

var (
	errAlreadyStarted = errors.New("manager already started")
	errFailed         = errors.New("manager: a part of the Manager failed, and its error is not known because the Manager has not stopped yet")
	errGateShut       = errors.New("manager: the Manager is stopping")
)

// join is errors.Join, but leaves a single error as it is.
func join(errs ...error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}
