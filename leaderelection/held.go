package leaderelection

import (
	"context"
	"fmt"
	"slices"

	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// A phase is the stage of a held Lease, from the claim to its release or loss.
//
//	claiming -> held -> stopping -> releasable -> releasing -> released
//
// Every phase from held to releasing may also end in lost. A held Lease becomes
// releasable at once if no work was started.
type phase int

const (
	phaseClaiming   phase = iota // a claim was sent and is not confirmed
	phaseHeld                    // the claim is confirmed; the work may run
	phaseStopping                // the work was asked to stop; the Lease is still renewed
	phaseReleasable              // the work has returned
	phaseReleasing               // a write that releases the Lease was sent
	phaseReleased                // such a write is confirmed
	phaseLost                    // nothing is written any more
)

// nextPhases lists the transitions. A release whose reply was late may be confirmed
// after trust has ended, so lost may become released.
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

// A heldLease is this elector's hold on the Lease. The work of a term begins and ends
// within it. Its fields are guarded by the Elector's mutex.
type heldLease struct {
	leasestate.Held                 // what it rests on; while claiming only Write is set
	phase           phase           // changes only by the methods below
	token           Token           // the fencing token of the term
	cause           error           // why it was lost
	requests        context.Context // of its writes; done once it is lost or over
	cancel          context.CancelFunc
	lost            chan struct{} // closed when it is lost
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

// won records that the claim is confirmed.
func (h *heldLease) won(token Token) {
	h.enter(phaseHeld)
	h.token = token
}

// stop records that the work was asked to stop in an orderly way.
func (h *heldLease) stop() {
	if h.phase == phaseHeld {
		h.enter(phaseStopping)
	}
}

// allowRelease records that the work has returned, so that the Lease may be released.
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

// lose records that the Lease is lost for cause, and cancels the requests.
func (h *heldLease) lose(cause error) {
	h.enter(phaseLost)
	h.cause = cause
	h.cancel()
	close(h.lost)
}

// isConfirmed reports whether the claim is confirmed. It may be called on nil.
func (h *heldLease) isConfirmed() bool { return h != nil && h.phase != phaseClaiming }

// isLive reports whether this process holds the Lease, as far as it knows. It may be
// called on nil.
func (h *heldLease) isLive() bool {
	return h.isConfirmed() && h.phase != phaseReleased && h.phase != phaseLost
}

// lostChannel is closed when the Lease is lost. It is nil without a Lease.
func (h *heldLease) lostChannel() <-chan struct{} {
	if h == nil {
		return nil
	}
	return h.lost
}

// lossCauses are the sentinels for what an observation finds.
var lossCauses = map[leasestate.Loss]error{
	leasestate.Overtaken: ErrOvertaken,
	leasestate.Deleted:   ErrLeaseDeleted,
	leasestate.Rewound:   ErrHistoryRewound,
}
