package leaderelection

import (
	"context"
	"time"
)

// release gives the Lease back, once the work has returned. It is tried for as
// long as the Lease is certainly ours: a refusal may pass, and a reply that was
// lost is proven by reading back.
func (l *lock) release(ctx context.Context, t *tenure) error {
	e := l.elector
	for {
		r, err := l.sendRelease(t)
		if err != nil || r == nil {
			return err
		}
		err = l.await(r, t.lost, l.round(t), func() bool { return t.released })
		if err == nil {
			e.log.Info("Released lease")
			return nil
		}
		e.log.Debug("A release did not succeed yet", "err", err)
		l.answer = time.Now().Add(l.round(t))
		if l.readBack(ctx, t) == nil && l.moved(t, r.base) {
			continue // it was applied, or a renewal that was on its way came first
		}
		if err := pause(ctx, t.lost, min(l.round(t), e.config.RetryPeriod/4)); err != nil {
			return err
		}
	}
}

// round is how long each step of a release may take: as long as an attempt, and not
// beyond the end of trust.
func (l *lock) round(t *tenure) time.Duration {
	l.elector.mu.Lock()
	defer l.elector.mu.Unlock()
	return min(l.elector.config.attemptTimeout(), l.elector.trustIn(t).remaining(time.Now()))
}

// sendRelease sends one release on the version that is held; nothing if one that
// was sent before has been applied.
func (l *lock) sendRelease(t *tenure) (*request, error) {
	e := l.elector
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case t.released:
		return nil, nil
	case t.cause != nil:
		return nil, errNotHeld
	case !t.yielding:
		return nil, errNotYet
	}
	remaining := e.trustIn(t).remaining(time.Now())
	if remaining <= 0 {
		return nil, errNotReleased
	}
	w := e.nextWriteLocked(releasing, t.version)
	freed := draft{
		holder: "", seconds: 1, // as client-go writes it
		acquired:    acquiredAt(t.lease, w), // the heir was entered for this term
		renewed:     time.UnixMicro(w.renewed),
		transitions: transitionsOf(t.lease), labels: e.options.labels,
	}
	t.releasing = true
	return e.send(t.requests, w, freed.apply(t.lease), false, remaining), nil
}

// moved reports whether the tenure has got beyond version base.
func (l *lock) moved(t *tenure, base uint64) bool {
	l.elector.mu.Lock()
	defer l.elector.mu.Unlock()
	return t.released || t.version != base
}

// pause waits for d, or until ended is closed or ctx done. If there is nothing to wait
// for it makes no timer: in fake time the race detector of Go 1.26 does not survive
// several goroutines that look at timers which are due already.
func pause(ctx context.Context, ended <-chan struct{}, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ended:
		return errNotHeld
	case <-ctx.Done():
		return ctx.Err()
	}
}
