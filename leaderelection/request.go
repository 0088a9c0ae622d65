package leaderelection

import (
	"context"
	"errors"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The writes of an elector are what it knows of its own requests.
type writes struct {
	claim   *write     // the claim that is under way
	open    openWrites // unanswered
	proven  int64      // renewTime of the last one that is known to have been applied, in microseconds
	last    int64      // the last renewTime given out, in microseconds
	given   []int64    // the last ones, whatever became of them
	vacancy vacancy    // what the claim under way found
	refused refusal    // the last one that was refused for something written before it
}

// remembered is how many renewTimes an elector knows again: those of two minutes,
// if it renews every two seconds.
const remembered = 64

// A refusal is a write that the server refused because something else was
// written before it.
type refusal struct {
	base   uint64
	moment uint64
}

// A request is a write that is on its way. It lives in a context of its own: it
// may still succeed when nobody waits for it any more.
type request struct {
	write
	done chan struct{} // closed when it was answered
	err  error         // then: nil if it was applied
}

// nextWriteLocked stamps a write. Its renewTime is greater than that of each
// earlier one, so that the write is known again whoever reports it.
func (e *Elector) nextWriteLocked(kind writeKind, base uint64) write {
	sent := stampNow()
	e.writes.last = max(e.writes.last+1, sent.at.UnixMicro())
	e.writes.given = append(e.writes.given, e.writes.last)
	e.writes.given = e.writes.given[max(0, len(e.writes.given)-remembered):]
	w := write{kind: kind, renewed: e.writes.last, base: base, sent: sent}
	e.writes.open = e.writes.open.with(w, e.config.LeaseDuration)
	e.observer.moment++
	return w
}

// send lets a write go that was stamped by nextWriteLocked. It is given up when
// ctx ends, or lifetime after it was stamped.
func (e *Elector) send(ctx context.Context, w write, lease *coordinationv1.Lease, create bool, lifetime time.Duration) *request {
	r := &request{write: w, done: make(chan struct{})}
	e.tasks.run(func() {
		ctx, cancel := context.WithDeadline(ctx, w.sent.at.Add(lifetime))
		defer cancel()
		defer close(r.done)
		var reply *coordinationv1.Lease
		if create {
			reply, r.err = e.leases.Create(ctx, lease, metav1.CreateOptions{})
		} else {
			reply, r.err = e.leases.Update(ctx, lease, metav1.UpdateOptions{})
		}
		if r.err == nil && reply == nil {
			r.err = errors.New("leaderelection: the client answered with neither a Lease nor an error")
		}
		e.answered(r, reply)
	})
	return r
}

// answered takes in the reply to a write.
func (e *Elector) answered(r *request, reply *coordinationv1.Lease) {
	if e.holding() != nil || !e.followsAnother() {
		e.trouble.wrote(r.err)
	}
	e.requested(r.kind.String(), r.sent.at, r.err)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.observer.moment++
	if r.err == nil {
		e.proveLocked(r.write, reply)
		e.sightLocked(sighting{lease: reply, version: versionOf(reply), at: time.Now()})
		return
	}
	w := r.write
	w.answered, w.refused = e.observer.moment, isRefusal(r.err)
	e.writes.open = e.writes.open.update(w)
	if apierrors.IsConflict(r.err) || apierrors.IsAlreadyExists(r.err) {
		e.writes.refused = refusal{base: w.base, moment: e.observer.moment}
	}
}

// read looks at the Lease, for at most timeout, and takes in what it finds. It
// reports whether that was new. That whoever asks has no time to wait is no trouble.
func (e *Elector) read(asker context.Context, timeout time.Duration) (news bool, err error) {
	defer e.rest()
	ctx, cancel := context.WithTimeout(asker, timeout)
	defer cancel()
	asked, sent := e.tick(), time.Now()
	lease, err := e.leases.Get(ctx, e.config.LeaseName, metav1.GetOptions{})
	if isAbsence(err) {
		lease, err = nil, nil
	}
	e.requested(RequestRead, sent, err)
	if err != nil {
		if asker.Err() == nil {
			e.trouble.read(err)
		}
		return false, err
	}
	e.trouble.read(nil)
	defer e.disprove(asked)
	return e.sight(sighting{lease: lease, version: versionOf(lease), at: time.Now(), asked: asked}), nil
}

// disprove forgets writes that were refused before a read was sent: had they been
// applied all the same, the read has shown it. One whose request ended otherwise,
// in a reset or a time-out, may still be applied.
func (e *Elector) disprove(asked uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.writes.open = e.writes.open.without(func(w write) bool {
		return w.refused && w.answered < asked && w.renewed != renewedAt(e.observer.view.lease)
	})
}

// tick returns a moment that is later than all that was taken in before and
// earlier than all that will be.
func (e *Elector) tick() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.observer.moment++
	return e.observer.moment
}

// readTimeout is how long one answer is waited for. One request that hangs must not
// keep the elector from the next for long, whatever RenewDeadline is; only in an outage
// it grows, so that dozens of requests are sent and not thousands.
func (e *Elector) readTimeout() time.Duration {
	shortest, longest := e.config.shortestRead(), e.config.longestRead()
	if contact := e.contact.Load(); contact != nil {
		return min(max(shortest, time.Since(*contact)/16), longest)
	}
	return shortest
}

func (c Config) longestRead() time.Duration  { return max(time.Second, c.RenewDeadline/2) }
func (c Config) shortestRead() time.Duration { return min(c.longestRead(), 10*time.Second) }

// enterAsHeir writes an annotation into somebody else's Lease: by compare-and-swap
// on the version that was seen, so that it never undoes what its holder writes.
func (e *Elector) enterAsHeir(lease *coordinationv1.Lease) {
	ctx, cancel := context.WithTimeout(e.giveUp, e.readTimeout())
	defer cancel()
	sent := time.Now()
	reply, err := e.leases.Update(ctx, lease, metav1.UpdateOptions{})
	e.requested(RequestNominate, sent, err)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.observer.moment++
	e.heirship.busy = false
	if err == nil && reply != nil {
		e.sightLocked(sighting{lease: reply, version: versionOf(reply), at: time.Now()})
		e.heirship.until = time.Now() // whatever became of our annotation: not again before the next renewal
		return
	}
	if !apierrors.IsConflict(err) {
		// A right is missing, or the API server is in trouble: hundreds must not insist.
		e.heirship.until = time.Now().Add(e.config.LeaseDuration)
	} else {
		e.heirship.refused = versionOf(lease)
		if !e.following.watching {
			e.lookSoon() // a watch tells by itself what it met
		}
	}
	e.log.Debug("Did not become the heir", "err", err)
	e.signalLocked()
}
