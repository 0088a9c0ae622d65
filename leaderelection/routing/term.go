package routing

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// An electorRouter labels the Pod in all terms of one Elector.
type electorRouter struct {
	*Router
	current *termRouter // the router of the most recent term; guarded by the mutex of the Router

	// Only the goroutine of the current term uses the fields below.
	uid          string // the UID of this process's Pod; empty before the first answer of the API server
	setByLeader  bool   // true if this process or another leader set the Pod's label
	foreignLabel bool   // true if the last check found a label that no leader set; such a label must stay
}

// A termRouter labels the Pod in one term of an Elector.
type termRouter struct {
	*electorRouter
	elector     *leaderelection.Elector
	config      leaderelection.Config
	token       string          // the value of the annotation <key>-term in this term
	termContext context.Context // the context of the term
	withdraw    context.CancelFunc
	mayPatch    bool          // true if a patch of the Pod has succeeded
	failures    int           // the number of consecutive failed checks
	done        chan struct{} // closed when this termRouter sends no more requests
}

// wrap returns callbacks that label the Pod in each term. These callbacks also
// call the functions in the parameter callbacks.
func (r *Router) wrap(e *leaderelection.Elector, callbacks leaderelection.Callbacks) leaderelection.Callbacks {
	r.checkLease(e)
	er := &electorRouter{Router: r, uid: r.label.PodUID}
	started, stopped := callbacks.OnStartedLeading, callbacks.OnStoppedLeading
	callbacks.OnStartedLeading = func(ctx context.Context) {
		er.start(ctx, e)
		if started != nil {
			started(ctx)
		}
	}
	callbacks.OnStoppedLeading = func() {
		// Call the caller's OnStoppedLeading before the wait, because that function may
		// stop the work.
		defer func() {
			if t := er.currentTerm(); t != nil { // nil if OnStartedLeading has not been called yet
				<-t.done
			}
		}()
		if stopped != nil {
			stopped()
		}
	}
	return callbacks
}

func (er *electorRouter) currentTerm() *termRouter {
	er.mu.Lock()
	defer er.mu.Unlock()
	return er.current
}

// start labels the Pod during the term that ctx belongs to. The label is removed when the
// term ends or t.withdraw is called.
func (er *electorRouter) start(ctx context.Context, e *leaderelection.Elector) {
	term, _ := leaderelection.TermFromContext(ctx)
	t := &termRouter{electorRouter: er, elector: e, config: e.Config(), token: term.Token.String(), termContext: ctx, done: make(chan struct{})}
	var labelled context.Context
	labelled, t.withdraw = context.WithCancel(ctx)
	er.mu.Lock()
	previous := er.current
	er.current, er.terms[t] = t, true
	er.mu.Unlock()
	go func() {
		defer close(t.done)
		defer t.end()
		if !previous.awaitDone(labelled) {
			return // the term ended before it set the label
		}
		t.keepLabel(labelled)
		t.removeLabel()
	}()
}

// end records that the Router sends no more requests in this term. The Router
// keeps no reference to an Elector that has ended.
func (t *termRouter) end() {
	t.withdraw()
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.terms, t)
}

// awaitDone waits until the termRouter t sends no more requests, or ctx is done. It
// returns false if ctx is done. If there was no earlier term, t is nil. An earlier term
// can still send requests if OnStartedLeading was called late.
func (t *termRouter) awaitDone(ctx context.Context) bool {
	if t != nil {
		select {
		case <-t.done:
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}

// removeTimeout returns how long the Router retries the removal of the label in an
// orderly stop. This time must be less than StopTimeout, because the Elector does not
// release the Lease after StopTimeout.
func (t *termRouter) removeTimeout() time.Duration {
	timeout := 5 * time.Second
	if t.config.StopTimeout > 0 {
		timeout = min(timeout, t.config.StopTimeout/2)
	}
	return cmp.Or(t.label.RemoveTimeout, timeout)
}

// lossRemoveTimeout returns how long the Router retries the removal of the label after a
// term was lost. This time is a part of Margin, because the whole process must stop
// within Margin.
func lossRemoveTimeout(config leaderelection.Config) time.Duration {
	return min(2*time.Second, config.Margin()/4)
}

// removeContext returns the context for the removal of the label. While the term
// continues, for example after Withdraw, the context is not done. After an orderly end of
// the term, the context is done after removeTimeout. If the Lease is lost, the context is
// done after lossRemoveTimeout.
func (t *termRouter) removeContext() (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.termContext))
	var watcher sync.WaitGroup
	watcher.Go(func() {
		defer cancel()
		select {
		case <-t.termContext.Done():
		case <-ctx.Done():
			return
		}
		orderly, end := context.WithTimeout(ctx, t.removeTimeout())
		defer end()
		// Poll, because no callback reports a loss of the Lease after the end of the
		// term.
		for !isLoss(context.Cause(t.termContext)) && t.isHeld() && wait(orderly, t.config.Margin()/16) {
			continue
		}
		wait(orderly, lossRemoveTimeout(t.config)) // wait returns at once if removeTimeout is over
	})
	return ctx, func() { cancel(); watcher.Wait() }
}

// isHeld reports whether the Elector still holds the Lease. After the end of a term, the
// Elector renews the Lease until the callbacks have returned.
func (t *termRouter) isHeld() bool {
	return t.elector.HeldFor() > 0
}

// isLoss reports whether cause means that the term was lost. If isLoss returns false, the
// term was stopped in an orderly way.
func isLoss(cause error) bool {
	return !errors.Is(cause, leaderelection.ErrCancelled) && !errors.Is(cause, leaderelection.ErrSteppedDown)
}

// wait waits until the duration d has passed or ctx is done. It returns false if ctx is
// done.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
