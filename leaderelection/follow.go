package leaderelection

import (
	"context"
	"math/rand/v2"
	"time"

	clientleaderelection "k8s.io/client-go/tools/leaderelection"
)

// A following is by what means the observer hears of the Lease.
type following struct {
	heard       time.Time     // when the Lease was last heard of
	looked      time.Time     // when a look at it last ended, or was needless
	look        chan struct{} // asks for a look at it
	watching    bool          // a watch is open
	mayNotWatch bool          // that was told
}

// follow tells the observer what happens to the Lease, until Run ends: a watch,
// and looks of its own whenever nothing was heard for as long as client-go's
// electors may take from one look to the next. So a watch that is refused,
// stalls, ends or talks nonsense costs no more time than polling would.
func (e *Elector) follow(ctx context.Context) {
	w := e.options.shared.join(e)
	if w == nil {
		w = e.newWatcher()
		e.tasks.run(func() { w.run(ctx) })
	} else {
		defer e.options.shared.leave(e)
	}
	_, _ = e.read(ctx, e.readTimeout()) // told by trouble; the next look comes
	for {
		asked := e.awaitSilence(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case e.holding() != nil && !asked && !e.trouble.cannotRead():
			e.rest() // a leader's writes tell it
			continue
		}
		news, err := e.read(ctx, e.readTimeout())
		if err == nil && news && !asked {
			w.again(e.config.longestPoll()) // it should have told that
		}
	}
}

// rest notes that the Lease was looked at just now, or need not be, so that the next
// look has its time.
func (e *Elector) rest() {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	e.following.heard, e.following.looked = now, now
}

// awaitSilence returns when nothing was heard for too long, or, then with true,
// when somebody asked for a look.
func (e *Elector) awaitSilence(ctx context.Context) (asked bool) {
	patience := e.patience()
	for {
		quiet := e.quietFor()
		if quiet >= patience {
			return false
		}
		e.looking.within(patience - quiet + e.config.longestRead())
		timer := time.NewTimer(patience - quiet)
		select {
		case <-ctx.Done():
		case <-e.following.look:
			asked = true
		case <-timer.C:
		}
		timer.Stop()
		if asked || ctx.Err() != nil {
			return asked
		}
	}
}

// patience is how long nothing may be heard before the elector looks: as long as
// client-go waits from one look to the next, RetryPeriod to 2.2 times as long;
// the longest of these while it watches, for then it hears of each renewal.
func (e *Elector) patience() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	longest := e.config.longestPoll()
	if e.following.watching {
		return longest
	}
	return e.config.RetryPeriod + rand.N(longest-e.config.RetryPeriod+1)
}

// longestPoll is how long client-go waits at most from one look to the next.
func (c Config) longestPoll() time.Duration {
	return c.RetryPeriod + time.Duration(clientleaderelection.JitterFactor*float64(c.RetryPeriod))
}

// quietFor is how long ago anything new was heard of the Lease, or a look was tried.
// While looks fail it is the latter: only another one can show that they succeed again.
func (e *Elector) quietFor() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.trouble.cannotRead() {
		return time.Since(e.following.looked)
	}
	return time.Since(e.following.heard)
}

// lookSoon asks for a look at the Lease.
func (e *Elector) lookSoon() {
	select {
	case e.following.look <- struct{}{}:
	default: // one is asked for already
	}
}

// holding returns our hold on the Lease, nil if there is none.
func (e *Elector) holding() *tenure {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.tenure
}
