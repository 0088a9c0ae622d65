package manager

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"
)

// A LeaderOnlyOption configures one Runnable of LeaderOnly.
type LeaderOnlyOption func(*leaderOnly)

// FailManager makes an error of the Runnable stop the Manager, as an error of any
// other Runnable does. The Manager stops after the term has ended and the Lease was
// released. Default: the process steps down and continues to campaign.
func FailManager() LeaderOnlyOption {
	return func(l *leaderOnly) { l.failsManager = true }
}

// LeaderOnly returns a Runnable for mgr.Add that runs the given Runnable in each term
// of elector. The given Runnable is started with the term's context. It must return
// when that context is done, and is started again in the next term. All Runnables of
// one elector start together and stop together. The Lease is released only after all
// of them have returned.
//
// If the Runnable fails, the term ends, the Lease is released, and the process
// continues to campaign. After repeated failures the Runnables are started with a
// growing delay, up to a minute after the last failure. A Runnable that returns nil has
// completed its work for the term.
//
// A controller cannot be started twice, so create a new one in each term. It leaves its
// event handlers and their goroutines in the cache that it watched. If there are many
// terms, create a cache in each term too.
//
//	mgr.Add(manager.LeaderOnly(elector, crmanager.RunnableFunc(func(ctx context.Context) error {
//		c, err := controller.NewUnmanaged("sync", controller.Options{SkipNameValidation: new(true), ...})
//		...
//		return c.Start(ctx)
//	})))
func LeaderOnly(elector *Elector, runnable crmanager.Runnable, opts ...LeaderOnlyOption) crmanager.Runnable {
	l := &leaderOnly{runnable: runnable}
	if elector != nil {
		l.group = elector.group
	}
	for _, option := range opts {
		option(l)
	}
	return l
}

// leaderOnly is the Runnable that LeaderOnly returns. It belongs to its group while
// the Manager runs it.
type leaderOnly struct {
	group        *leaderOnlyGroup
	runnable     crmanager.Runnable
	failsManager bool
}

var (
	_ crmanager.Runnable               = (*leaderOnly)(nil)
	_ crmanager.LeaderElectionRunnable = (*leaderOnly)(nil)
)

// NeedLeaderElection returns false, so that controller-runtime starts the Runnable on
// every replica. It waits for the term of its own elector.
func (l *leaderOnly) NeedLeaderElection() bool { return false }

// Start runs the Runnable in each term until ctx is done. It returns after the Runnable
// has returned.
func (l *leaderOnly) Start(ctx context.Context) error {
	if l.group == nil || l.runnable == nil {
		return errors.New("manager: LeaderOnly needs an Elector that NewElector returned, and a Runnable")
	}
	remove := l.group.add(ctx, l)
	<-ctx.Done()
	remove()
	return nil
}

// A leaderOnlyGroup is the set of Runnables that run in each term of one Elector.
type leaderOnlyGroup struct {
	log      *slog.Logger
	stepDown func(context.Context) error

	mu            sync.Mutex
	registrations map[*leaderOnly]*registration
	term          context.Context // nil unless the Runnables run
	running       sync.WaitGroup  // the Runnables of the term
	errs          []error         // of the last term in which the Runnables ran
	backoff       restartBackoff
	failManager   bool               // errs contains an error that stops the Manager
	cancelRun     context.CancelFunc // ends the Elector's Run; nil if it does not run
}

// A registration is a Runnable's place in its group.
type registration struct {
	ctx     context.Context // done when the Manager stops the Runnable
	running sync.WaitGroup
}

func newLeaderOnlyGroup(log *slog.Logger) *leaderOnlyGroup {
	return &leaderOnlyGroup{log: log, registrations: map[*leaderOnly]*registration{}}
}

// beginRun is called when the Elector's Run begins. cancel ends that Run. It returns
// false if another Run has not ended.
func (g *leaderOnlyGroup) beginRun(cancel context.CancelFunc) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cancelRun != nil {
		return false
	}
	g.cancelRun, g.failManager = cancel, false
	return true
}

// endRun is called when the Elector's Run has ended. It returns the errors that stop
// the Manager.
func (g *leaderOnlyGroup) endRun() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cancelRun = nil
	if !g.failManager {
		return nil
	}
	return errors.Join(g.errs...)
}

// add adds a Runnable to the group. It starts at once if there is a term. The returned
// function removes it and waits until it has returned.
func (g *leaderOnlyGroup) add(ctx context.Context, l *leaderOnly) (remove func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := &registration{ctx: ctx}
	g.registrations[l] = r
	if g.term != nil {
		g.startLocked(l, r)
	}
	return func() {
		g.mu.Lock()
		delete(g.registrations, l)
		g.mu.Unlock()
		r.running.Wait()
	}
}

// lead is the work of a term. It runs the group and, unless it is nil, callback. It
// returns when both have returned.
func (g *leaderOnlyGroup) lead(ctx context.Context, callback func(context.Context)) {
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() { g.run(ctx) })
	if callback != nil {
		callback(ctx)
	}
}

// run runs all Runnables until the term ends and all of them have returned.
func (g *leaderOnlyGroup) run(ctx context.Context) {
	if !g.start(ctx) {
		return
	}
	<-ctx.Done()
	g.mu.Lock()
	g.term = nil
	g.mu.Unlock()
	g.running.Wait()
}

// start starts the Runnables once the backoff has passed. It returns false if the term
// ended before that. The Lease is held during the backoff: the elector has stepped down
// since the failure, so other candidates had a chance to claim the Lease.
func (g *leaderOnlyGroup) start(ctx context.Context) bool {
	g.mu.Lock()
	delay := g.backoff.delay(time.Now())
	g.mu.Unlock()
	if delay > 0 {
		g.log.Info("Delaying the start of leader-only Runnables after a failure", "delay", delay)
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return false
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.term, g.errs = ctx, nil
	g.backoff.started(time.Now())
	for l, r := range g.registrations {
		g.startLocked(l, r)
	}
	return true
}

func (g *leaderOnlyGroup) startLocked(l *leaderOnly, r *registration) {
	term := g.term
	g.running.Add(1)
	r.running.Go(func() {
		defer g.running.Done()
		ctx, cancel := context.WithCancelCause(term)
		defer cancel(nil)
		defer context.AfterFunc(r.ctx, func() { cancel(context.Cause(r.ctx)) })()
		if err := l.runnable.Start(ctx); err != nil && g.failed(ctx, l, err) {
			_ = g.stepDown(ctx) // StepDown does not wait, because ctx belongs to the work
		}
	})
}

// failed records the error of a Runnable. It returns true if the elector must step
// down. An error after the end of ctx does not require that.
func (g *leaderOnlyGroup) failed(ctx context.Context, l *leaderOnly, err error) bool {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.errs = append(g.errs, err)
	if ctx.Err() != nil {
		g.log.Warn("Leader-only Runnable failed while stopping", "err", err)
		return false
	}
	g.log.Warn("Leader-only Runnable failed; ending the term", "err", err)
	g.backoff.failed(time.Now())
	if !l.failsManager || g.cancelRun == nil { // nil: the embedded Elector was run, so nobody reads the error
		return true
	}
	g.failManager = true
	g.cancelRun()
	return false
}

// The shortest and the longest delay of a restartBackoff.
const (
	firstDelay = time.Second
	lastDelay  = time.Minute
)

// A restartBackoff computes when a group that failed may start again.
type restartBackoff struct {
	startedAt  time.Time // of the last start
	hasFailed  bool      // since startedAt
	lastFailed time.Time
	wait       time.Duration
}

// started records a start of the group.
func (b *restartBackoff) started(now time.Time) { b.startedAt, b.hasFailed = now, false }

// failed records a failure. Several failures after one start count once. A group that
// ran for lastDelay has recovered, so the delay begins anew.
func (b *restartBackoff) failed(now time.Time) {
	switch {
	case b.hasFailed:
	case b.wait == 0 || now.Sub(b.startedAt) >= lastDelay:
		b.wait = firstDelay
	default:
		b.wait = min(2*b.wait, lastDelay)
	}
	b.hasFailed, b.lastFailed = true, now
}

// delay returns how long to wait, from now, before the next start.
func (b *restartBackoff) delay(now time.Time) time.Duration {
	return max(0, b.lastFailed.Add(b.wait).Sub(now))
}
