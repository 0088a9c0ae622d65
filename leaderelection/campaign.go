package leaderelection

import (
	"context"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
)

// claim sends the one claim of this attempt, and decides whether it succeeded.
// A reply that comes later is not lost: the observer knows the record for ours.
func (l *lock) claim(basis *coordinationv1.Lease, create bool) (err error) {
	e := l.elector
	l.claimed = true
	e.mu.Lock()
	if w, ok := e.writes.open.find(e.config.Identity, e.observer.view.lease); ok && w.kind == claiming && w.sent.age(time.Now()) < e.config.Window() {
		// An earlier claim was won, as is known by now: it is not made again.
		e.beginTenureLocked(w, e.observer.view.lease)
		l.told = w.renewed
		e.mu.Unlock()
		l.decided <- true
		return nil
	}
	base := versionOf(basis)
	if create {
		base = e.observer.view.version // of the deletion, if one was seen
	}
	e.writes.vacancy = e.observer.view.vacancy(e.wroteLocked(basis))
	w := e.nextWriteLocked(claiming, base)
	e.writes.claim = &w
	e.mu.Unlock()

	body := e.draft(w, time.UnixMicro(w.renewed), nextTransitions(l.basis)).apply(basis)
	r := e.send(e.giveUp, w, body, create, e.config.Window())
	err = l.await(r, nil, e.config.attemptTimeout(), func() bool { return e.tenure != nil })

	e.mu.Lock()
	defer e.mu.Unlock()
	e.writes.claim = nil
	if e.tenure != nil {
		l.told, err = e.tenure.write.renewed, nil
	}
	l.decided <- err == nil
	return err
}

// renew sends the next renewal when it is due, on the version that is held. It
// sends none if an earlier one was proven since the engine last heard of a
// success, for the engine counts its deadline from there.
func (l *lock) renew(ctx context.Context, t *tenure) error {
	e := l.elector
	if l.news(t) {
		return nil
	}
	if err := l.awaitDue(ctx, t); err != nil {
		return err
	}
	l.answer = time.Now().Add(e.config.patience(l.unproven(t)))
	if l.unordered(t) {
		// Without versions a write is never refused: only a look tells that
		// somebody else has written.
		if err := l.readBack(ctx, t); err != nil {
			return err
		}
	}
	e.mu.Lock()
	if t.cause != nil {
		e.mu.Unlock()
		return errNotHeld
	}
	w := e.nextWriteLocked(renewing, t.version)
	base := t.lease
	e.mu.Unlock()

	body := e.draft(w, acquiredAt(base, w), transitionsOf(base)).apply(base)
	r := e.send(t.requests, w, body, false, e.config.Window())
	err := l.await(r, t.lost, time.Until(l.answer), func() bool { return t.write.renewed != l.told })
	if l.news(t) {
		return nil
	}
	return err
}

// news reports whether a write was proven that the engine has not been told of,
// and notes that it is told now.
func (l *lock) news(t *tenure) bool {
	l.elector.mu.Lock()
	defer l.elector.mu.Unlock()
	news := t.cause == nil && t.write.renewed != l.told
	l.told = t.write.renewed
	return news
}

// unproven is how long ago the write was sent that the tenure rests on.
func (l *lock) unproven(t *tenure) time.Duration {
	l.elector.mu.Lock()
	defer l.elector.mu.Unlock()
	return t.write.sent.age(time.Now())
}

// unordered reports whether the server has no resourceVersions.
func (l *lock) unordered(t *tenure) bool {
	l.elector.mu.Lock()
	defer l.elector.mu.Unlock()
	return t.version == 0
}

// awaitDue waits until one RetryPeriod after the last proven write was sent. So
// the second write that the engine asks for right after it has acquired the
// Lease is its first renewal.
func (l *lock) awaitDue(ctx context.Context, t *tenure) error {
	e := l.elector
	e.mu.Lock()
	due := t.due(e.config.RetryPeriod)
	e.mu.Unlock()
	return pause(ctx, t.lost, time.Until(due))
}

// await waits for the answer to r, for at most timeout. It is content earlier if
// proven, which is called with the elector's mutex held, says that the write has
// been seen to be applied, or another one like it.
func (l *lock) await(r *request, lost <-chan struct{}, timeout time.Duration, proven func() bool) error {
	e := l.elector
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		e.mu.Lock()
		changed, done := e.changed, proven()
		e.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-r.done:
			return opaque(r.err)
		case <-lost:
			return errNotHeld
		case <-timer.C:
			return errNoAnswer
		case <-changed:
		}
	}
}

// draft is what a claim or a renewal of ours says. The engine's own record has
// times of its own making; the lock's tell its writes apart.
func (e *Elector) draft(w write, acquired time.Time, transitions int32) draft {
	return draft{
		holder: e.config.Identity, seconds: int32(e.config.LeaseDuration / time.Second),
		acquired: acquired, renewed: time.UnixMicro(w.renewed), transitions: transitions, labels: e.options.labels,
	}
}

func acquiredAt(lease *coordinationv1.Lease, w write) time.Time {
	if lease.Spec.AcquireTime == nil {
		return time.UnixMicro(w.renewed)
	}
	return lease.Spec.AcquireTime.Time
}

func transitionsOf(lease *coordinationv1.Lease) int32 {
	if n := lease.Spec.LeaseTransitions; n != nil && *n >= 0 {
		return *n
	}
	return 0
}
