package manager

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// A crew is the Runnables that work in each term of one Elector.
type crew struct {
	log      *slog.Logger
	stepDown func(context.Context) error

	mu       sync.Mutex
	members  map[*member]*berth
	term     context.Context // nil unless the members are at work
	atWork   sync.WaitGroup  // of the term
	errs     []error         // of the last term in which they were
	failures failures
	fatal    bool               // one that fails the Manager is among errs
	giveUp   context.CancelFunc // ends the Elector's Run; nil if it does not run
}

// A berth is what a crew knows of one member.
type berth struct {
	ctx  context.Context // ends when the Manager stops the member
	work sync.WaitGroup
}

func newCrew(log *slog.Logger) *crew {
	return &crew{log: log, members: map[*member]*berth{}}
}

// enlist is called when the Elector's Run begins, which giveUp ends. It reports
// false if another one has not ended.
func (c *crew) enlist(giveUp context.CancelFunc) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.giveUp != nil {
		return false
	}
	c.giveUp, c.fatal = giveUp, false
	return true
}

// dismiss is called when the Elector's Run has ended, and returns the errors that
// it ended for.
func (c *crew) dismiss() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.giveUp = nil
	if !c.fatal {
		return nil
	}
	return errors.Join(c.errs...)
}

// join adds a member until leave is called, which waits for it. If there is a
// term it begins to work at once.
func (c *crew) join(ctx context.Context, m *member) (leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := &berth{ctx: ctx}
	c.members[m] = b
	if c.term != nil {
		c.startLocked(m, b)
	}
	return func() {
		c.mu.Lock()
		delete(c.members, m)
		c.mu.Unlock()
		b.work.Wait()
	}
}

// lead is the work of a term: the members', and also, unless it is nil. It
// returns when all of that has.
func (c *crew) lead(ctx context.Context, also func(context.Context)) {
	var members sync.WaitGroup
	defer members.Wait()
	members.Go(func() { c.work(ctx) })
	if also != nil {
		also(ctx)
	}
}

// work has all members work from now, or from when the last failure allows it,
// until the term ends and they have returned.
func (c *crew) work(ctx context.Context) {
	if !c.begin(ctx) {
		return
	}
	<-ctx.Done()
	c.mu.Lock()
	c.term = nil
	c.mu.Unlock()
	c.atWork.Wait()
}

// begin starts the members, and reports whether the term lasted long enough. It
// waits with the Lease in hand: whoever could lead instead had the chance to take
// it after we stepped down.
func (c *crew) begin(ctx context.Context) bool {
	c.mu.Lock()
	delay := c.failures.delay(time.Now())
	c.mu.Unlock()
	if delay > 0 {
		c.log.Info("Runnables failed before: they are started later", "after", delay)
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return false
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.term, c.errs = ctx, nil
	c.failures.begin(time.Now())
	for m, b := range c.members {
		c.startLocked(m, b)
	}
	return true
}

func (c *crew) startLocked(m *member, b *berth) {
	term := c.term
	c.atWork.Add(1)
	b.work.Go(func() {
		defer c.atWork.Done()
		ctx, cancel := context.WithCancelCause(term)
		defer cancel(nil)
		defer context.AfterFunc(b.ctx, func() { cancel(context.Cause(b.ctx)) })()
		if err := m.runnable.Start(ctx); err != nil && c.failed(ctx, m, err) {
			_ = c.stepDown(ctx) // it does not wait, for ctx is the work's
		}
	})
}

// failed takes in that a member returned an error, and reports whether it must
// step down. After the end of its context, an error is one of its stopping.
func (c *crew) failed(ctx context.Context, m *member, err error) bool {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errs = append(c.errs, err)
	if ctx.Err() != nil {
		c.log.Warn("A Runnable failed while it stopped", "err", err)
		return false
	}
	c.log.Warn("A Runnable failed: the term ends", "err", err)
	c.failures.note(time.Now())
	if !m.fatal || c.giveUp == nil { // the Elector inside was run: nobody asks for the error
		return true
	}
	c.fatal = true
	c.giveUp()
	return false
}

// The pace at which a crew that fails is started again.
const (
	firstDelay = time.Second
	lastDelay  = time.Minute
)

// failures says when a crew that has failed may be started again.
type failures struct {
	began  time.Time // when it was started
	failed bool      // since then
	last   time.Time // when it failed last
	wait   time.Duration
}

// begin notes that the crew is started.
func (f *failures) begin(now time.Time) { f.began, f.failed = now, false }

// note counts a failure. Several in one term are one, and a crew that has worked
// for as long as the longest delay had recovered.
func (f *failures) note(now time.Time) {
	switch {
	case f.failed:
	case f.wait == 0 || now.Sub(f.began) >= lastDelay:
		f.wait = firstDelay
	default:
		f.wait = min(2*f.wait, lastDelay)
	}
	f.failed, f.last = true, now
}

// delay is how long to wait from now.
func (f *failures) delay(now time.Time) time.Duration {
	return max(0, f.last.Add(f.wait).Sub(now))
}
