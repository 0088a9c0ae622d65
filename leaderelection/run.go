package leaderelection

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/clock"
	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// Run campaigns for the Lease until ctx is done. It may lead in several terms. Run
// returns nil after ctx is done and the work of the last term has stopped. If
// ReleaseOnCancel is true, Run releases the Lease before it returns. Errors of the API
// server do not end Run. Run returns ErrAlreadyRunning if the Elector is already
// running. It returns ErrWorkStillRunning if the work did not stop in time. It returns
// ErrIdentityInUse if another process uses the same identity. Run may be called again
// after it has returned.
func (e *Elector) Run(ctx context.Context) (err error) {
	cancel, err := e.begin()
	if err != nil {
		return err
	}
	defer func() { e.end(cancel, err) }()
	e.tracer.runStarted()
	if !e.config.Enabled {
		return e.leadWithoutLease(ctx)
	}
	if warning := e.rateLimit.join(e.config.RetryPeriod); warning != "" {
		e.log.Warn("Client rate limit is too low", "reason", warning)
	}
	defer e.rateLimit.leave(e.config.RetryPeriod)

	e.log.Info("Campaigning for lease", "leaseDuration", e.config.LeaseDuration, "renewDeadline", e.config.RenewDeadline,
		"retryPeriod", e.config.RetryPeriod, "trustWindow", e.config.Window(), "timing", e.config.Timing(),
		clientGoText, "attempting to acquire leader lease")
	e.tasks.Run(func() { e.follow(e.runCtx) })
	e.pods.start(e.runCtx)
	background, stopBackground := context.WithCancel(ctx)
	defer stopBackground() // must run before e.end, which waits for these tasks
	for _, run := range e.options.background {
		e.tasks.Run(func() { run(background, e, e.log) })
	}
	return e.campaign(ctx)
}

// begin prepares Run. It returns an error if the Elector is already running,
// or if the work of an earlier Run has not returned.
func (e *Elector) begin() (context.CancelFunc, error) {
	e.mu.Lock()
	defer e.unlock()
	if e.running {
		return nil, fmt.Errorf("%w: wait until its Run has returned", ErrAlreadyRunning)
	}
	if e.run != nil && !e.run.hasReturned() {
		return nil, fmt.Errorf("%w: exit the process", ErrWorkStillRunning)
	}
	e.running, e.run, e.held, e.observed.duplicates = true, nil, nil, 0
	e.nomination.joined, e.nomination.firstSeen = time.Now(), time.Time{}
	e.campaignHeartbeat.Within(0)
	e.observerHeartbeat.Within(0)
	if s := &e.observed.state; s.Version == 0 && s.Lease != nil || !s.Known {
		*s = leasestate.State{OwnDuration: e.config.LeaseDuration} // a state without a resourceVersion cannot be compared with observations
	}
	var cancel context.CancelFunc
	e.runCtx, cancel = context.WithCancel(context.Background())
	e.signalLocked()
	return cancel, nil
}

// end waits for every goroutine that Run has started, except work that did
// not stop. err is the error that Run returns.
func (e *Elector) end(cancel context.CancelFunc, err error) {
	e.campaignHeartbeat.Within(0)
	cancel()
	e.tasks.Wait()
	e.campaignHeartbeat.Clear()
	e.observerHeartbeat.Clear()
	e.logQueue.Flush(e.config.logFlushTime())
	e.tracer.flush(e.config.traceFlushTime())
	e.tracer.runEnded(err)
	e.mu.Lock()
	defer e.unlock()
	e.running = false
	e.signalLocked()
}

// campaign is the loop of a candidate: wait until the Lease may be claimed,
// claim the Lease, lead, and repeat.
func (e *Elector) campaign(ctx context.Context) error {
	for ctx.Err() == nil {
		e.mu.Lock()
		basis, seq, changed, duplicates := e.observed.state.Lease, e.observed.state.Seq, e.changed, e.observed.duplicates
		claimableAt, known := e.claimableAtLocked()
		nominateAt := e.nominateLocked()
		e.unlock()
		if duplicates >= duplicateLimit {
			return fmt.Errorf("%w: another process renewed Lease %s as %q: set a unique Identity for each process",
				ErrIdentityInUse, e.config.leaseKey(), e.config.Identity)
		}

		// Wait until the Lease may be claimed. After each change of the Lease, compute
		// the time again.
		if delay := time.Until(claimableAt); !known || delay > 0 {
			if !known {
				delay = e.config.LeaseDuration
			}
			if !nominateAt.IsZero() {
				delay = min(delay, time.Until(nominateAt))
			}
			e.campaignHeartbeat.Within(delay)
			_ = clock.Sleep(ctx, changed, delay)
			continue
		}

		// Claim the Lease. If ctx becomes done, still wait for the result of the claim.
		e.campaignHeartbeat.Within(e.config.claimTimeout())
		a := newAttempt(e, basis, ctx.Done())
		engine, err := startEngine(&e.config, a, &e.tasks, e.log)
		if err != nil {
			return err // does not happen, because New has validated the configuration
		}
		won := false
		select {
		case won = <-a.decided:
		case <-engine.done:
			select {
			case won = <-a.decided: // the result was sent before the engine stopped
			default:
			}
		}

		if won {
			if err := e.lead(ctx, e.holding(), engine); err != nil {
				return err
			}
			continue
		}
		engine.stop()
		e.awaitNews(ctx, seq, a.pause)
	}
	e.releaseLateClaims()
	return nil
}

// claimableAtLocked returns the time at which this elector may claim the Lease if the
// Lease does not change. known is false before the first observation.
func (e *Elector) claimableAtLocked() (at time.Time, known bool) {
	s, rule := &e.observed.state, leasestate.ClaimRule{ForeignReleaseDelay: e.config.RetryPeriod, Own: e.wroteLocked, Proof: e.proof}
	if e.options.noForeignReleaseDelay {
		rule.ForeignReleaseDelay = 0
	}
	at, known = s.ClaimableAt(rule)
	if successor := s.Successor().Identity; successor != "" && successor != e.config.Identity && !e.wroteLocked(s.Lease) {
		at = at.Add(e.observed.claimDelay)
	}
	if e.cooldownUntil.After(at) {
		at = e.cooldownUntil
	}
	return at, known
}

// awaitNews pauses after a failed claim and then reads the Lease. It returns when the
// read has ended, or when an observation newer than seq arrives. The pause takes at
// least as long as the parameter pause.
func (e *Elector) awaitNews(ctx context.Context, seq uint64, pause time.Duration) {
	e.mu.Lock()
	lastError, _ := e.requests.failing()
	e.unlock()
	if e.pauseAfterClaim(ctx, max(pause, e.config.claimRetryDelay(lastError != ""))) {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	read := make(chan struct{})
	e.tasks.Run(func() {
		defer close(read)
		_, _ = e.read(ctx, e.readTimeout()) // read logs a failure
	})
	for {
		e.mu.Lock()
		news, changed := e.observed.state.Seq != seq, e.changed
		e.unlock()
		if news {
			return
		}
		select {
		case <-read:
			return
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// pauseAfterClaim waits for the duration d. It returns true at once if an earlier claim
// of this elector was applied, or if ctx is done.
func (e *Elector) pauseAfterClaim(ctx context.Context, d time.Duration) bool {
	end := time.Now().Add(d)
	for {
		e.mu.Lock()
		_, applied := e.appliedClaimLocked()
		changed := e.changed
		e.unlock()
		if applied || ctx.Err() != nil {
			return true
		}
		if clock.Sleep(ctx, changed, time.Until(end)) == nil {
			return false
		}
	}
}

// releaseLateClaims releases the Lease if a claim succeeds after the context of Run is
// done. It waits for at most lateClaimTime.
func (e *Elector) releaseLateClaims() {
	if !e.config.ReleaseOnCancel {
		return
	}
	asked := time.Now()
	ctx, cancel := context.WithTimeout(e.runCtx, e.config.lateClaimTime())
	defer cancel()
	e.campaignHeartbeat.Within(e.config.Window())
	for first := true; ; first = false {
		e.mu.Lock()
		claim, lease := e.lateClaimLocked()
		if lease != nil {
			e.held = newHeldLease(*claim)
			e.winLocked(*claim, lease)
		}
		h, changed := e.held, e.changed
		e.unlock()
		switch {
		case h != nil:
			e.giveUpHold(h, asked, func() { _ = newAttempt(e, nil, nil).release(e.runCtx, h) })
			return
		case claim == nil || ctx.Err() != nil:
			return
		}
		if !first {
			_ = clock.Sleep(ctx, changed, e.config.attemptTimeout())
		}
		_, _ = e.read(ctx, e.config.attemptTimeout())
	}
}

// lateClaimLocked returns a claim that has succeeded, and the claimed Lease. If no
// claim has succeeded, it returns a claim that may still succeed, without a Lease. It
// returns nil if there is no claim of either kind.
func (e *Elector) lateClaimLocked() (*leasestate.Write, *coordinationv1.Lease) {
	lease := e.observed.state.Lease
	if w, ok := e.writes.unacknowledged.Find(e.config.Identity, lease); ok && w.Kind == leasestate.Claim {
		return &w, lease
	}
	for _, w := range e.writes.unacknowledged {
		if w.Kind == leasestate.Claim && w.MayBeApplied(e.observed.readSeq) && w.Sent.Age(time.Now()) < e.config.Window() {
			return &w, nil
		}
	}
	return nil, nil
}
