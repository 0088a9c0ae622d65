package manager

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/guard"
)

var (
	// ErrLeadershipLost is the error that Start returns if a Manager that New created
	// has lost the Lease. Exit the process when Start has returned this error.
	//
	// The error also wraps the reason, which is an error of package leaderelection such
	// as ErrRenewalFailed. If some Runnables still ran shortly before other candidates
	// could claim the Lease, the error also wraps ErrWorkStillRunning.
	//
	// Its text contains "leader election lost", the text of controller-runtime's error.
	ErrLeadershipLost = errors.New("manager: leader election lost")

	// ErrWriteRefused is returned for a write that does not belong to the current term.
	// The error also wraps the reason. ErrWriteRefused equals guard.ErrWriteRefused.
	ErrWriteRefused = guard.ErrWriteRefused
)

var (
	errAlreadyStarted = errors.New("manager already started")
	errFailed         = errors.New("manager: a Runnable failed, its error is unknown because the Manager has not stopped")
	errGateShut       = errors.New("manager: the Manager is stopping")
)

// joined are several errors. The text has the form that controller-runtime gives several
// errors, because some programs compare this text: "[first error, second error]".
type joined struct{ errs []error }

func (j *joined) Error() string {
	texts := make([]string, len(j.errs))
	for i, err := range j.errs {
		texts[i] = err.Error()
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

func (j *joined) Unwrap() []error { return j.errs }

// join returns the errors that are not nil as one error. If exactly one error is not
// nil, join returns that error unchanged. If all errors are nil, join returns nil.
func join(errs ...error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	return &joined{errs}
}

// An overran is the error for Runnables that did not stop in time. Its text is that
// of controller-runtime's error, because some programs compare this text.
type overran time.Duration

func (o overran) Error() string {
	return fmt.Sprintf("failed waiting for all runnables to end within grace period of %s: %v", time.Duration(o), context.DeadlineExceeded)
}

func (o overran) Unwrap() []error {
	return []error{context.DeadlineExceeded, leaderelection.ErrWorkStillRunning}
}
