package leaderelection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// A phase is the state of a held Lease, from the claim to the release or the loss.
//
//	claiming -> held -> stopping -> releasable -> releasing -> released
//
// In each phase from held to releasing, the Lease may also be lost. If no work was
// started, the phase changes directly from held to releasable.
type phase int

const (
	phaseClaiming   phase = iota // the claim was sent, but is not confirmed
	phaseHeld                    // the claim is confirmed; the work may run
	phaseStopping                // the work was asked to stop; the Lease is still renewed
	phaseReleasable              // the work has returned
	phaseReleasing               // a write that releases the Lease was sent
	phaseReleased                // a write that releases the Lease is confirmed
	phaseLost                    // this process no longer writes the Lease
)

// nextPhases lists the phases that may follow each phase. A lost Lease may become
// released, because the reply to a release may arrive late.
var nextPhases = [...][]phase{
	phaseClaiming:   {phaseHeld},
	phaseHeld:       {phaseStopping, phaseReleasable, phaseLost},
	phaseStopping:   {phaseReleasable, phaseLost},
	phaseReleasable: {phaseReleasing, phaseLost},
	phaseReleasing:  {phaseReleasing, phaseReleased, phaseLost},
	phaseReleased:   {},
	phaseLost:       {phaseReleased},
}

func (p phase) String() string {
	return [...]string{"claiming", "held", "stopping", "releasable", "releasing", "released", "lost"}[p]
}

// A heldLease describes the Lease while this elector claims or holds the Lease. The
// Elector's mutex guards the fields.
type heldLease struct {
	leasestate.Held                 // the last confirmed write and its result; before the claim is confirmed, only Write is set
	phase           phase           // only the methods below change it
	token           Token           // the fencing token of the term
	cause           error           // why the Lease was lost; nil unless the phase is lost
	requests        context.Context // the context of the writes; cancelled when the Lease is no longer held
	cancel          context.CancelFunc
	releaseBy       time.Time     // a release is not tried after this time; the zero Time means no limit
	lost            chan struct{} // closed when the Lease is lost
}

func newHeldLease(claim leasestate.Write) *heldLease {
	h := &heldLease{Held: leasestate.Held{Write: claim}, phase: phaseClaiming, lost: make(chan struct{})}
	h.requests, h.cancel = context.WithCancel(context.Background())
	return h
}

func (h *heldLease) enter(next phase) {
	if !slices.Contains(nextPhases[h.phase], next) {
		panic(fmt.Sprintf("bug: a Lease that is %v cannot become %v", h.phase, next))
	}
	h.phase = next
}

// won records that the claim is confirmed. token is the fencing token of the term.
func (h *heldLease) won(token Token) {
	h.enter(phaseHeld)
	h.token = token
}

// stop records that the work was asked to stop while the Lease is still
// held.
func (h *heldLease) stop() {
	if h.phase == phaseHeld {
		h.enter(phaseStopping)
	}
}

// allowRelease records that the work has returned, and therefore the Lease may be
// released.
func (h *heldLease) allowRelease() {
	if h.phase != phaseLost {
		h.enter(phaseReleasable)
	}
}

// releaseSent records that a release was sent.
func (h *heldLease) releaseSent() { h.enter(phaseReleasing) }

// releaseConfirmed records that a release was applied.
func (h *heldLease) releaseConfirmed() {
	if h.phase != phaseReleased {
		h.enter(phaseReleased)
	}
}

// lose records that the Lease is lost. It also cancels the pending requests.
func (h *heldLease) lose(cause error) {
	h.enter(phaseLost)
	h.cause = cause
	h.cancel()
	close(h.lost)
}

// isConfirmed reports whether the claim was confirmed. It returns false if h is nil.
func (h *heldLease) isConfirmed() bool { return h != nil && h.phase != phaseClaiming }

// isLive reports whether the Lease is held. It returns false before the claim is
// confirmed, after a release, after a loss, and if h is nil.
func (h *heldLease) isLive() bool {
	return h.isConfirmed() && h.phase != phaseReleased && h.phase != phaseLost
}

// lostChannel returns a channel that is closed when the Lease is lost. If h is nil,
// lostChannel returns a nil channel.
func (h *heldLease) lostChannel() <-chan struct{} {
	if h == nil {
		return nil
	}
	return h.lost
}

// releaseError returns an error if the Lease could not be released. It returns nil if
// the Lease was released, was deleted or has another holder, and if h is nil.
func (h *heldLease) releaseError() error {
	switch {
	case h == nil || h.phase == phaseReleased || errors.Is(h.cause, ErrOvertaken) || errors.Is(h.cause, ErrLeaseDeleted):
		return nil
	case h.cause != nil:
		return fmt.Errorf("%w before this: %w", ErrNotReleased, h.cause)
	default:
		return fmt.Errorf("%w: candidates wait until it expires", ErrNotReleased)
	}
}

// lossCauses maps each kind of loss to the error that is the cause of the term's end.
var lossCauses = map[leasestate.Loss]error{
	leasestate.Overtaken: ErrOvertaken,
	leasestate.Deleted:   ErrLeaseDeleted,
	leasestate.Rewound:   ErrHistoryRewound,
}
