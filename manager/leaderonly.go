package manager

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"
)

// A LeaderOnlyOption configures one Runnable that LeaderOnly returns.
type LeaderOnlyOption func(*leaderOnly)

// FailManager makes the Manager stop if the Runnable returns an error. The Manager
// stops after the term has ended and the Lease was released. Default: the process steps
// down and continues to campaign.
func FailManager() LeaderOnlyOption {
	return func(l *leaderOnly) { l.failsManager = true }
}

// LeaderOnly returns a Runnable for mgr.Add. In each term of elector, this Runnable
// calls the Start method of the parameter runnable with the context of the term. Start
// must return when this context is done. All Runnables of one elector start together
// and stop together. The Lease is released only after all of these Runnables have
// returned.
//
// If Start returns an error, the term ends, the Lease is released, and the process
// continues to campaign. In the next term, the Runnables start no earlier than one
// second after the failure. Repeated failures increase this delay to at most one
// minute. If Start returns nil, the term continues.
//
// A controller cannot be started twice. Therefore create a new controller in each term.
// A stopped controller leaves event handlers and goroutines in its cache. If terms are
// frequent, also create a new cache in each term.
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

// leaderOnly is the Runnable that LeaderOnly returns. The method Start adds this
// Runnable to the group. When the Manager stops, Start removes this Runnable from the
// group.
type leaderOnly struct {
	group        *leaderOnlyGroup
	runnable     crmanager.Runnable
	failsManager bool
}

var (
	_ crmanager.Runnable               = (*leaderOnly)(nil)
	_ crmanager.LeaderElectionRunnable = (*leaderOnly)(nil)
)

// NeedLeaderElection returns false, because the Manager must call Start on every
// replica.
func (l *leaderOnly) NeedLeaderElection() bool { return false }

// Start runs l.runnable in each term until ctx is done. It returns after l.runnable has
// returned.
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
	term          context.Context // the context of the current term; nil while the Runnables do not run
	running       sync.WaitGroup  // the Runnables that run in the current term
	errs          []error         // the errors of the last term in which the Runnables ran
	backoff       restartBackoff
	failManager   bool               // true if errs contains an error that stops the Manager
	runCtx        context.Context    // the context of the Elector's Run; nil if Run is not active
	cancelRun     context.CancelFunc // ends the Elector's Run
}

// A registration contains the state of one Runnable in its group.
type registration struct {
	ctx     context.Context // this context is done when the Manager stops the Runnable
	running sync.WaitGroup
}

func newLeaderOnlyGroup(log *slog.Logger) *leaderOnlyGroup {
	return &leaderOnlyGroup{log: log, registrations: map[*leaderOnly]*registration{}}
}

// beginRun is called when the Elector's Run begins. The parameter ctx is the context that
// the caller of Run passed. A call of cancel ends that Run. beginRun returns false if an
// earlier Run is still active.
func (g *leaderOnlyGroup) beginRun(ctx context.Context, cancel context.CancelFunc) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.runCtx != nil {
		return false
	}
	g.runCtx, g.cancelRun, g.failManager = ctx, cancel, false
	return true
}

// endRun is called when the Elector's Run has ended. It returns the errors that must
// stop the Manager, or nil.
func (g *leaderOnlyGroup) endRun() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.runCtx = nil
	if !g.failManager {
		return nil
	}
	return errors.Join(g.errs...)
}

// add adds the Runnable l to the group. If a term is in progress, add starts l at once.
// ctx is done when the Manager stops l. The returned function removes l
// from the group, and waits until l has returned.
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

// lead does the work of a term. It runs the Runnables of the group, and calls the
// function callback if callback is not nil. It returns when the Runnables and callback
// have returned.
func (g *leaderOnlyGroup) lead(ctx context.Context, callback func(context.Context)) {
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() { g.run(ctx) })
	if callback != nil {
		callback(ctx)
	}
}

// run starts all Runnables of the group. It returns when the term has ended and all
// Runnables have returned.
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

// start starts the Runnables. After a failure, it first waits for the delay that the
// backoff computes. It returns false if the term ends during the delay.
//
// The process holds the Lease during the delay. Other candidates could have claimed the
// Lease before this term, because the Elector stepped down after the failure.
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
		if err := l.runnable.Start(ctx); err != nil && g.failed(ctx, l, r, err) {
			_ = g.stepDown(ctx) // StepDown does not wait for the end of the term, because ctx is derived from the context of the term
		}
	})
}

// failed records the error that the Runnable l returned, and reports whether the
// Elector must step down. It returns false if the term is already ending, or if the error
// stops the Manager. The parameter ctx is the context of l in this term.
func (g *leaderOnlyGroup) failed(ctx context.Context, l *leaderOnly, r *registration, err error) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	// ctx is cancelled a moment after the context of Run or of the registration.
	stopping := ctx.Err() != nil || r.ctx.Err() != nil || g.failManager || g.runCtx != nil && g.runCtx.Err() != nil
	if stopping && errors.Is(err, context.Canceled) {
		return false
	}
	g.errs = append(g.errs, err)
	if stopping {
		g.log.Error("Leader-only Runnable failed while stopping", "err", err)
		return false
	}
	g.log.Error("Leader-only Runnable failed; ending the term", "err", err)
	g.backoff.failed(time.Now())
	// If runCtx is nil, the program called the method Run of the embedded
	// leaderelection.Elector. This method does not return errors of Runnables, so the
	// error cannot stop the Manager.
	if !l.failsManager || g.runCtx == nil {
		return true
	}
	g.failManager = true
	g.cancelRun()
	return false
}

// These are the shortest and the longest delay of a restartBackoff.
const (
	firstDelay = time.Second
	lastDelay  = time.Minute
)

// A restartBackoff computes how long a group must wait after a failure before the group
// is started again.
type restartBackoff struct {
	startedAt  time.Time // the time of the last start of the group
	hasFailed  bool      // true if the group has failed since startedAt
	lastFailed time.Time
	wait       time.Duration
}

func (b *restartBackoff) started(now time.Time) { b.startedAt, b.hasFailed = now, false }

// failed records a failure, and computes the delay before the next start. Each failure
// doubles the delay, up to lastDelay. Several failures after one start count as one
// failure. If the group ran for at least lastDelay, the delay is firstDelay.
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

// delay returns how long to wait before the next start. now is the
// current time.
func (b *restartBackoff) delay(now time.Time) time.Duration {
	return max(0, b.lastFailed.Add(b.wait).Sub(now))
}
