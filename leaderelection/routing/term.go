package routing

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// An electorRouter labels the Pod for one Elector.
type electorRouter struct {
	*Router
	current *termRouter // of the last term that started; guarded by the Router's mutex

	// Only the goroutine of the current term uses these fields.
	uid          string // of this process's Pod, empty before the first answer
	setByLeader  bool   // a leader set the Pod's label: this process, or another one with the annotation
	foreignLabel bool   // at the last check, the Pod had a label that no leader set: it must stay
}

// A termRouter labels the Pod for one term of an Elector.
type termRouter struct {
	*electorRouter
	elector     *leaderelection.Elector
	config      leaderelection.Config
	token       string          // the value of the annotation in this term
	termContext context.Context // of the callbacks: its cause is why the term ended
	withdraw    context.CancelFunc
	mayPatch    bool          // a patch of the Pod has succeeded, so the right exists
	failures    int           // consecutive failed checks
	done        chan struct{} // closed when the term sends no more requests
}

// wrap returns callbacks that also label the Pod in each term.
func (r *Router) wrap(e *leaderelection.Elector, callbacks leaderelection.Callbacks) leaderelection.Callbacks {
	er := &electorRouter{Router: r, uid: r.label.PodUID}
	r.mu.Lock()
	r.routers = append(r.routers, er)
	r.mu.Unlock()
	started, stopped := callbacks.OnStartedLeading, callbacks.OnStoppedLeading
	callbacks.OnStartedLeading = func(ctx context.Context) {
		er.start(ctx, e)
		if started != nil {
			started(ctx)
		}
	}
	callbacks.OnStoppedLeading = func() {
		// Call the caller's OnStoppedLeading first: it may stop the work, which is urgent.
		defer func() {
			if t := er.currentTerm(); t != nil { // nil if OnStoppedLeading overtook a late OnStartedLeading
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

// start labels the Pod for the term of ctx. The label is removed when the term ends or
// withdraw is called.
func (er *electorRouter) start(ctx context.Context, e *leaderelection.Elector) {
	term, _ := leaderelection.TermFromContext(ctx)
	t := &termRouter{electorRouter: er, elector: e, config: e.Config(), token: term.Token.String(), termContext: ctx, done: make(chan struct{})}
	var labelled context.Context
	labelled, t.withdraw = context.WithCancel(ctx)
	er.mu.Lock()
	previous := er.current
	er.current = t
	er.mu.Unlock()
	go func() {
		defer close(t.done)
		defer t.withdraw()
		if !previous.awaitDone(labelled) {
			return // this term has not set the label
		}
		t.keepLabel(labelled)
		t.removeLabel()
	}()
}

// awaitDone waits until a term sends no more requests, and reports whether ctx is still
// live. Terms of one Elector follow each other, so it waits only if OnStartedLeading was
// called late.
func (t *termRouter) awaitDone(ctx context.Context) bool {
	if t != nil {
		select {
		case <-t.done:
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}

// removeTimeout is how long an orderly stop retries the removal of the label. It must end
// before StopTimeout, because the Lease is not released after that.
func (t *termRouter) removeTimeout() time.Duration {
	timeout := 5 * time.Second
	if t.config.StopTimeout > 0 {
		timeout = min(timeout, t.config.StopTimeout/2)
	}
	return cmp.Or(t.label.RemoveTimeout, timeout)
}

// lossRemoveTimeout is how long a lost term retries the removal of the label. The whole
// process has only Margin to stop.
func lossRemoveTimeout(config leaderelection.Config) time.Duration {
	return min(2*time.Second, config.Margin()/4)
}

// removeContext returns the context for the removal of the label. It lives while the term
// continues, which is so after Withdraw. After an orderly end it lives for removeTimeout,
// and after the loss of the Lease for lossRemoveTimeout.
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
		// Poll, because nothing reports a loss after the term has ended.
		for !isLoss(context.Cause(t.termContext)) && t.isHeld() && wait(orderly, t.config.Margin()/16) {
			continue
		}
		wait(orderly, lossRemoveTimeout(t.config)) // returns at once after removeTimeout
	})
	return ctx, func() { cancel(); watcher.Wait() }
}

// isHeld reports whether the Lease is still held. After the end of a term, it is renewed
// until the callbacks have returned.
func (t *termRouter) isHeld() bool {
	return t.elector.HeldFor() > 0
}

// isLoss reports whether a term that ended with cause was lost.
func isLoss(cause error) bool {
	return !errors.Is(cause, leaderelection.ErrCancelled) && !errors.Is(cause, leaderelection.ErrSteppedDown)
}

// wait waits for d or until ctx is done, and reports whether ctx is still live.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
