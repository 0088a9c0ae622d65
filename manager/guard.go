package manager

import (
	"context"
	"errors"
	"fmt"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// Leadership is what a write guard asks. Electors have it.
type Leadership interface {
	// Term returns the term in which this process leads, and whether it does: true
	// only while that is certain.
	Term() (leaderelection.Term, bool)
}

// Why a write is refused.
var (
	errNoTerm    = errors.New("its context carries no term: use the context that the work of the term was given")
	errOtherTerm = errors.New("its context belongs to another term than the present one")
	errTermOver  = errors.New("the term of its context is over")
	errUncertain = errors.New("leadership is not certain any more")
)

// mayWrite reports why a write with ctx is refused, nil if it is not. Both are
// asked, the context and the clock: a goroutine that was left over from an
// earlier term may run while this process leads again, and a process that was
// frozen may run before anything of it was told to stop.
func mayWrite(ctx context.Context, leadership Leadership) error {
	term, ok := leaderelection.TermFromContext(ctx)
	if !ok {
		return errNoTerm
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", errTermOver, context.Cause(ctx))
	}
	switch present, leads := leadership.Term(); {
	case !leads:
		return errUncertain
	case present != term:
		return errOtherTerm
	}
	return nil
}

// refusal is the error for a write that is not let through.
func refusal(write string, why error) error {
	return fmt.Errorf("%w: %s: %w", ErrWriteRefused, write, why)
}

// freeGroups are the API groups in which no write is refused: Leases, or nobody
// could be elected; Events, which must tell of what went wrong; and reviews of
// tokens and of access, which are questions in the form of a write. Events of
// the core group are named elsewhere.
var freeGroups = map[string]bool{
	"coordination.k8s.io":   true,
	"events.k8s.io":         true,
	"authentication.k8s.io": true,
	"authorization.k8s.io":  true,
}
