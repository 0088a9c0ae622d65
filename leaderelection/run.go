package leaderelection

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
)

// Run campaigns for the Lease until ctx is done, term after term, and returns
// nil after the last term's work has stopped and the Lease was released. Errors
// of the API server never end it. It returns ErrAlreadyRunning if it runs,
// ErrWorkStillRunning if work did not stop in time, and ErrIdentityInUse if
// another process campaigns under the same identity. It can be called again
// after it has returned.
func (e *Elector) Run(ctx context.Context) error {
	cancel, err := e.begin()
	if err != nil {
		return err
	}
	defer e.end(cancel)
	if !e.config.Enabled {
		return e.leadWithoutLease(ctx)
	}
	if warning := e.limit.enter(e.config.RetryPeriod); warning != "" {
		e.log.Warn("Client rate limit is too low", "why", warning)
	}
	defer e.limit.leave(e.config.RetryPeriod)

	e.log.Info("Campaigning for lease", "leaseDuration", e.config.LeaseDuration, "renewDeadline", e.config.RenewDeadline,
		"retryPeriod", e.config.RetryPeriod, "trustWindow", e.config.Window(), "follows", e.config.Timing())
	e.tasks.run(func() { e.follow(e.giveUp) })
	beside, leave := context.WithCancel(ctx)
	defer leave() // before e.end waits for them
	for _, run := range e.options.companions {
		e.tasks.run(func() { run(beside, e, e.log) })
	}
	return e.campaign(ctx)
}

// begin makes sure that one Run runs at a time, on a work that has returned.
func (e *Elector) begin() (context.CancelFunc, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.running {
		return nil, fmt.Errorf("%w: wait until its Run has returned", ErrAlreadyRunning)
	}
	if e.work != nil && !e.work.hasReturned() {
		return nil, fmt.Errorf("%w: exit the process", ErrWorkStillRunning)
	}
	e.running, e.work, e.writes.claim, e.observer.twins = true, nil, nil, 0
	e.heirship.joined = time.Now()
	e.turning.within(0)
	e.looking.within(0)
	if e.observer.view.version == 0 && e.observer.view.lease != nil || !e.observer.view.known {
		e.observer.view = view{fallback: e.config.LeaseDuration} // without versions nothing old can be told from what is new
	}
	var cancel context.CancelFunc
	e.giveUp, cancel = context.WithCancel(context.Background())
	e.signalLocked()
	return cancel, nil
}

// end leaves nothing running but work that refused to stop.
func (e *Elector) end(cancel context.CancelFunc) {
	e.turning.within(0)
	cancel()
	e.tasks.wait()
	e.turning.rest()
	e.looking.rest()
	e.scribe.flush(e.config.Margin() / 40)
	e.teller.flush(e.config.Margin() / 80)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running = false
	e.signalLocked()
}

// campaign is the elector's loop: wait until the Lease may be claimed, claim it,
// lead, again.
func (e *Elector) campaign(ctx context.Context) error {
	for {
		basis, err := e.awaitClaimable(ctx)
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			e.releaseLateClaims()
			return nil
		}
		if err := e.attempt(ctx, basis); err != nil {
			return err
		}
	}
}

// awaitClaimable waits until the Lease may be claimed and returns what to base
// the claim on, nil if there is nothing yet; or until ctx is done.
func (e *Elector) awaitClaimable(ctx context.Context) (*coordinationv1.Lease, error) {
	for {
		e.mu.Lock()
		basis, twins, changed := e.observer.view.lease, e.observer.twins, e.changed
		at, known := e.claimableAtLocked()
		errand := e.inheritLocked()
		e.mu.Unlock()
		if twins >= twinLimit {
			return nil, fmt.Errorf("%w: %q was renewed in Lease %s by somebody else: give each process an identity of its own",
				ErrIdentityInUse, e.config.Identity, e.config.leaseKey())
		}
		delay := time.Until(at)
		if ctx.Err() != nil || known && delay <= 0 {
			return basis, nil
		}
		if !known {
			delay = e.config.LeaseDuration
		}
		if !errand.IsZero() {
			delay = min(delay, time.Until(errand))
		}
		e.turning.within(delay)
		timer := time.NewTimer(delay)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (e *Elector) claimableAtLocked() (time.Time, bool) {
	rule := claimRule{unmarkedPause: e.config.RetryPeriod, own: e.wroteLocked}
	if e.options.claimUnmarked {
		rule.unmarkedPause = 0
	}
	at, known := e.observer.view.claimableAt(rule)
	if h := e.observer.view.heir().identity; h != "" && h != e.config.Identity && !e.wroteLocked(e.observer.view.lease) {
		at = at.Add(e.observer.hesitation)
	}
	if e.rested.After(at) {
		at = e.rested
	}
	return at, known
}

// attempt tries once to claim the Lease, and leads if that succeeds. What is
// under way when ctx ends is awaited: a claim that is won then is released.
func (e *Elector) attempt(ctx context.Context, basis *coordinationv1.Lease) error {
	e.turning.within(max(e.config.Window(), e.config.attemptTimeout()+2*e.config.RetryPeriod+e.config.longestRead()))
	before := e.counted()
	l := e.newLock(basis)
	engine, err := e.startEngine(l)
	if err != nil {
		return err // New has tried the same configuration
	}
	select {
	case won := <-l.decided:
		if won {
			return e.lead(ctx, e.holding(), engine)
		}
	case <-engine.done:
	}
	engine.end()
	e.lookAgain(ctx, before)
	return nil
}

// lookAgain pauses after a failed attempt, shortly if somebody else was faster,
// and looks at the Lease anew; unless the watch has told, or tells meanwhile, what
// has happened since before, when the attempt began.
func (e *Elector) lookAgain(ctx context.Context, before uint64) {
	delay := e.config.RetryPeriod/40 + rand.N(e.config.RetryPeriod/5+1)
	if e.trouble.now() != "" {
		delay = e.config.RetryPeriod + rand.N(e.config.RetryPeriod/2+1)
	}
	if pause(ctx, nil, delay) != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	looked := make(chan struct{})
	e.tasks.run(func() {
		defer close(looked)
		_, _ = e.read(ctx, e.readTimeout()) // told by trouble; the next claim fails if it rests on the past
	})
	for {
		e.mu.Lock()
		news, changed := e.observer.view.counted != before, e.changed
		e.mu.Unlock()
		if news {
			return
		}
		select {
		case <-looked:
			return
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// counted is when anything new was last seen of the Lease.
func (e *Elector) counted() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.observer.view.counted
}
