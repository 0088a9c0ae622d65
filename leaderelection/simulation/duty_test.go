package simulation

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// A duty is what a member does when it leads, and checks that it is told so in
// order.
type duty struct {
	member *member
	early  bool // OnStartedLeading returns at once, OnStoppedLeading stops the work
	strict bool // callbacks are checked: it is an Elector of ours

	mu      sync.Mutex
	state   string
	context context.Context // of the work that goes on
	leader  string          // the last one told by OnNewLeader
	lost    loss            // the last one
}

// A loss is a term that ended otherwise than by its own will.
type loss struct {
	at       time.Time
	acquired int64 // in microseconds: it tells the writes of this term from those of another
}

// busy reports whether callbacks have not returned.
func (d *duty) busy() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state != ""
}

// sends looks at a request that is about to go: a term that was lost writes
// nothing any more.
func (d *duty) sends(r leaderelectiontest.Request) {
	if !d.strict || r.Lease == nil || r.Lease.Spec.AcquireTime == nil {
		return
	}
	holder := leaderelectiontest.Holder(r.Lease)
	d.mu.Lock()
	late := !d.lost.at.IsZero() && r.Sent.After(d.lost.at) && r.Lease.Spec.AcquireTime.UnixMicro() == d.lost.acquired
	d.mu.Unlock()
	if late && (holder == "" || holder == d.member.identity) {
		d.member.world.referee.complain(d.member, "sends a write of a term that it has lost: %s", r.Verb)
	}
}

func (d *duty) move(from, to string) {
	d.mu.Lock()
	state := d.state
	d.state = to
	d.mu.Unlock()
	if d.strict && state != from {
		d.member.world.referee.complain(d.member, "a callback came out of order: %q after %q", to, state)
	}
}

func (d *duty) live() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.context != nil && d.context.Err() == nil
}

func (d *duty) onStarted(ctx context.Context) {
	d.move("", "working")
	d.mu.Lock()
	d.context = ctx
	d.mu.Unlock()
	term, ours := leaderelection.TermFromContext(ctx)
	claimed := term.AcquiredAt
	if !ours { // client-go does not say when it sent its claim
		claimed = time.Now()
	}
	context.AfterFunc(ctx, func() {
		if cause := context.Cause(ctx); errors.Is(cause, leaderelection.ErrCancelled) || errors.Is(cause, leaderelection.ErrSteppedDown) {
			return
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.lost = loss{at: time.Now(), acquired: term.AcquiredAt.UnixMicro()}
	})
	d.member.world.referee.started(d.member, term.Token, claimed)
	if !d.early || !d.strict {
		<-ctx.Done()
		d.finish()
	}
	d.move("working", "returned")
}

func (d *duty) onStopped() {
	d.mu.Lock()
	working := d.state == "working"
	d.mu.Unlock()
	if w := d.member.world; working && w.stubborn > 0 {
		w.exit(d.member) // the one exception to the order of callbacks, for those who exit here
		return
	}
	d.move("returned", "stopping")
	if d.live() {
		d.member.world.referee.complain(d.member, "OnStoppedLeading was called on a live context")
	}
	if d.early {
		d.finish()
	}
	d.move("stopping", "")
}

// finish takes as long as the schedule says to stop the work.
func (d *duty) finish() {
	w := d.member.world
	w.mu.Lock()
	var pause time.Duration
	switch {
	case w.stubborn > 0 && w.rng.IntN(4) == 0:
		pause = between(w.rng, 0, w.stubborn)
	case w.stop > 0:
		pause = between(w.rng, 0, w.stop)
	}
	w.mu.Unlock()
	time.Sleep(pause)
	w.referee.stopped(d.member)
}

func (d *duty) onNewLeader(identity string) {
	d.mu.Lock()
	last := d.leader
	d.leader = identity
	d.mu.Unlock()
	if identity == "" || identity == last {
		d.member.world.referee.complain(d.member, "OnNewLeader(%q) after %q", identity, last)
	}
}
