package simulation

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// callbacks contains the callbacks of one replica. The callbacks report the start
// and the end of the replica's work to the referee. They also check the order of
// the calls.
type callbacks struct {
	replica      *replica
	returnsEarly bool // true if OnStartedLeading returns at once and OnStoppedLeading stops the work
	checked      bool // true if the replica is an Elector, to which all rules apply

	mu         sync.Mutex
	state      string
	context    context.Context // the context of the most recent term
	lastLeader string          // the argument of the most recent OnNewLeader call
	lostTerm   lostTerm        // the most recent term that was lost
}

// A lostTerm is a term that ended for a reason other than cancellation or StepDown.
type lostTerm struct {
	at       time.Time
	acquired int64 // the acquireTime of the term, in microseconds since 1970
}

// unreturned reports whether OnStartedLeading was called and OnStoppedLeading
// has not returned.
func (cb *callbacks) unreturned() bool {
	cb.mu.Lock()
	defer cb.mu.Unlock()
	return cb.state != ""
}

// checkRequest checks a request before it is sent. It records a violation if
// the request is a write of a term that was lost earlier.
func (cb *callbacks) checkRequest(r leaderelectiontest.Request) {
	if !cb.checked || r.Lease == nil || r.Lease.Spec.AcquireTime == nil {
		return
	}
	holder := leaderelectiontest.Holder(r.Lease)
	cb.mu.Lock()
	late := !cb.lostTerm.at.IsZero() && r.Sent.After(cb.lostTerm.at) && r.Lease.Spec.AcquireTime.UnixMicro() == cb.lostTerm.acquired
	cb.mu.Unlock()
	if late && (holder == "" || holder == cb.replica.identity) {
		cb.replica.cluster.referee.violated(cb.replica, "sent a write of a lost term: %s", r.Verb)
	}
}

// transition sets the state of the callbacks to the state next. It records a
// violation if the previous state is not the state expected.
func (cb *callbacks) transition(expected, next string) {
	cb.mu.Lock()
	state := cb.state
	cb.state = next
	cb.mu.Unlock()
	if cb.checked && state != expected {
		cb.replica.cluster.referee.violated(cb.replica, "callbacks out of order: %q after %q", next, state)
	}
}

// contextLive reports whether the context of the most recent term exists and is
// not cancelled.
func (cb *callbacks) contextLive() bool {
	cb.mu.Lock()
	defer cb.mu.Unlock()
	return cb.context != nil && cb.context.Err() == nil
}

func (cb *callbacks) onStarted(ctx context.Context) {
	cb.transition("", "working")
	cb.mu.Lock()
	cb.context = ctx
	cb.mu.Unlock()
	term, isElector := leaderelection.TermFromContext(ctx)
	claimed := term.AcquiredAt
	if !isElector { // client-go does not report when the claim was sent, so use the current time
		claimed = time.Now()
	}
	context.AfterFunc(ctx, func() {
		if cause := context.Cause(ctx); errors.Is(cause, leaderelection.ErrCancelled) || errors.Is(cause, leaderelection.ErrSteppedDown) {
			return
		}
		cb.mu.Lock()
		defer cb.mu.Unlock()
		cb.lostTerm = lostTerm{at: time.Now(), acquired: term.AcquiredAt.UnixMicro()}
	})
	cb.replica.cluster.referee.started(cb.replica, term.Token, claimed)
	if !cb.returnsEarly || !cb.checked {
		<-ctx.Done()
		cb.stopWork()
	}
	cb.transition("working", "returned")
}

func (cb *callbacks) onStopped() {
	cb.mu.Lock()
	working := cb.state == "working"
	cb.mu.Unlock()
	if c := cb.replica.cluster; working && c.overrun > 0 {
		c.exitProcess(cb.replica) // the work still runs, so the process must exit
		return
	}
	cb.transition("returned", "stopping")
	if cb.contextLive() {
		cb.replica.cluster.referee.violated(cb.replica, "OnStoppedLeading was called before the work's context was cancelled")
	}
	if cb.returnsEarly {
		cb.stopWork()
	}
	cb.transition("stopping", "")
}

// stopWork waits for a random time, and then ends the work. The schedule limits
// this time.
func (cb *callbacks) stopWork() {
	c := cb.replica.cluster
	c.mu.Lock()
	var pause time.Duration
	switch {
	case c.overrun > 0 && c.rng.IntN(4) == 0:
		pause = between(c.rng, 0, c.overrun)
	case c.stopTime > 0:
		pause = between(c.rng, 0, c.stopTime)
	}
	c.mu.Unlock()
	time.Sleep(pause)
	c.referee.stopped(cb.replica)
}

func (cb *callbacks) onNewLeader(identity string) {
	cb.mu.Lock()
	last := cb.lastLeader
	cb.lastLeader = identity
	cb.mu.Unlock()
	if identity == "" || identity == last {
		cb.replica.cluster.referee.violated(cb.replica, "OnNewLeader(%q) after %q", identity, last)
	}
}
