package leaderelection

import (
	"context"
	"iter"
)

// A State is what an Elector knows at one moment.
type State struct {
	// Running is whether Run has been called and has not returned.
	Running bool
	// Leading is whether the work's context is live, and Term the term then.
	Leading bool
	Term    Term
	// Leader is whom GetLeader names.
	Leader string
	// Watching is whether the Lease is watched; if not it is polled.
	Watching bool
	// Heir is who claims first when the Lease is released, "" if nobody is
	// entered.
	Successor string
	// Trouble is why requests for the Lease fail now, "" if they do not.
	LastError string
	// Ended is why the last term ended, nil if none has.
	EndCause error
}

// Changes gives the present state first and then each change, until ctx is done
// or the loop is left: so whoever comes late misses nothing that still holds. A
// receiver that is slow sees the newest state only; Term tells whether a term
// was missed. It starts no goroutine.
//
//	for state := range elector.Changes(ctx) {
//		leading.Set(state.Leading)
//	}
func (e *Elector) Changes(ctx context.Context) iter.Seq[State] {
	return func(yield func(State) bool) {
		var last State
		for first := true; ; first = false {
			state, changed := e.state()
			if first || state != last {
				last = state
				if !yield(state) {
					return
				}
				continue // something may have changed meanwhile
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (e *Elector) state() (State, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	state := State{Running: e.running, Leader: e.GetLeader(), EndCause: e.ended,
		Watching: e.following.watching, Successor: e.observer.view.heir().identity, LastError: e.trouble.now()}
	if w := e.work; w != nil && w.context.Err() == nil {
		state.Leading, state.Term = true, w.term
	}
	return state, e.changed
}
