package leaderelection

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/clock"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/dispatch"
)

// Callbacks are the functions of the caller that an Elector calls. Each may be nil. See
// promise P7 in the package documentation for their order.
type Callbacks struct {
	// OnStartedLeading is called when this process has become the leader. Its context
	// ends with leadership. The context carries the Term, the logger and, once it is
	// cancelled, the reason as context.Cause. OnStartedLeading may do the work, or start
	// it and return: its return does not end the term. The Lease is not released before
	// it has returned.
	OnStartedLeading func(ctx context.Context)

	// OnStoppedLeading is called once for each OnStartedLeading, after its context was
	// cancelled and it has returned. The Lease is not released before OnStoppedLeading
	// has returned, too. There is one exception, for programs that exit here: when
	// leadership was lost or StopTimeout has passed, and the work has not stopped in
	// time, OnStoppedLeading is called although OnStartedLeading has not returned.
	OnStoppedLeading func()

	// OnNewLeader is called when a new leader was observed, this process included: in
	// order, without repeats, and never with "". A slow OnNewLeader gets only the newest
	// leader. It delays nothing else.
	OnNewLeader func(identity string)
}

// An Elector campaigns for one Lease. Create it with New. Every method may be called
// from any goroutine at any time, including from callbacks.
type Elector struct {
	config    Config
	options   options
	callbacks Callbacks
	store     store // empty if the election is not enabled
	rateLimit *rateLimit
	logger    *slog.Logger // the caller's, with the Lease and the identity
	log       *slog.Logger // the same one behind logQueue, so it never blocks: for the elector's own lines
	logQueue  *dispatch.LogQueue
	tasks     dispatch.Tasks
	notifier  dispatch.Notifier
	tracer    tracer

	campaignHeartbeat clock.Heartbeat
	observerHeartbeat clock.Heartbeat
	readRequests      chan struct{} // asks the observer for a read
	confirmReads      singleFlight

	trust   atomic.Pointer[clock.Trust] // of the present term, nil without one; read by IsLeader
	leader  atomic.Pointer[leader]      // read by GetLeader
	contact atomic.Pointer[time.Time]   // when the API server last answered

	// mu guards the fields below. It is never held during a request, a callback or a
	// log call. Unlock it with unlock, which applies the effects.
	mu            sync.Mutex
	effects       []func()
	running       bool
	runCtx        context.Context // ends when Run returns
	changed       chan struct{}   // closed and replaced at each change
	observed      observed
	requests      requestHealth
	writes        writes
	nomination    nomination
	held          *heldLease // nil without a claim or a held Lease
	run           *termRun   // of the present term, or of one whose work has not returned
	endCause      error      // why the last term ended
	cooldownUntil time.Time  // until then an elector that stepped down does not claim

	// emit keeps effects in order. It is taken before mu is released.
	emit sync.Mutex
}

// New returns an Elector. It returns one error that names everything that is wrong with
// its arguments. The clientset may be nil only if the election is not enabled. A nil
// logger means slog.Default(). config is copied.
func New(config *Config, clientset kubernetes.Interface, callbacks Callbacks, logger *slog.Logger, opts ...Option) (*Elector, error) {
	if config == nil {
		return nil, errors.New("leaderelection: the configuration is nil: pass a *Config")
	}
	resolved, options := config.withDefaults(), newOptions(opts)
	problems := append(resolved.problems(), options.problems(resolved)...)
	if isNil(clientset) && resolved.Enabled {
		problems = append(problems, errors.New("the clientset is nil: pass a kubernetes.Interface, or set Enabled to false"))
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("leaderelection: invalid configuration: %w", errors.Join(problems...))
	}
	e := &Elector{
		config: resolved, options: options, callbacks: callbacks, logQueue: dispatch.NewLogQueue(),
		changed: make(chan struct{}), readRequests: make(chan struct{}, 1), confirmReads: singleFlight{turn: make(chan struct{}, 1)},
	}
	e.nomination.started = processStart
	lazy := dispatch.Lazy(resolved.logger(logger).Handler)
	e.logger, e.log = slog.New(lazy), slog.New(e.logQueue.Handler(lazy))
	if resolved.Enabled {
		client := clientset.CoordinationV1()
		e.store = store{client.Leases(resolved.LeaseNamespace), resolved.LeaseName}
		e.rateLimit = rateLimitOf(client.RESTClient())
		if err := checkEngine(&e.config); err != nil {
			return nil, fmt.Errorf("leaderelection: invalid configuration for client-go: %w", err)
		}
		for _, warning := range resolved.warnings() {
			e.log.Warn("Unwise configuration", "reason", warning)
		}
	}
	for _, wrap := range options.middleware {
		e.callbacks = wrap(e, e.callbacks)
	}
	e.notifier.Call = e.callbacks.OnNewLeader
	e.tracer = newTracer(e)
	e.tracer.created(e)
	return e, nil
}

// Config returns the configuration with the defaults of its zero durations.
func (e *Elector) Config() Config { return e.config }

// IsLeader reports whether this process leads now: the work's context is live, and the
// clock is before the end of trust. This also holds right after the process was frozen,
// before any timer has fired. IsLeader takes no lock and allocates nothing.
func (e *Elector) IsLeader() bool {
	t := e.trust.Load()
	return t != nil && t.Remaining(time.Now()) > 0
}

// ValidFor returns how long leadership is certain from now, provided that nobody edits
// the Lease by hand. It returns zero if this process does not lead, and the greatest
// Duration if the election is not enabled.
func (e *Elector) ValidFor() time.Duration {
	t := e.trust.Load()
	if t == nil {
		return 0
	}
	return max(0, t.Remaining(time.Now()))
}

// HeldFor returns how long the Lease is certain to be held from now, provided that
// nobody edits it by hand. Unlike ValidFor it stays positive after the work was asked to
// stop in an orderly way, while the Lease is still renewed: cleanup that must end before
// another candidate leads has that long. It returns zero without a Lease, after a loss,
// and from the moment at which a release is sent. It returns the greatest Duration while
// an Elector runs whose election is not enabled.
func (e *Elector) HeldFor() time.Duration {
	e.mu.Lock()
	defer e.unlock()
	switch h := e.held; {
	case !e.config.Enabled && e.running:
		return clock.Forever
	case !h.isLive() || h.phase == phaseReleasing:
		return 0
	default:
		return max(0, e.trustOf(h).Remaining(time.Now()))
	}
}

// GetLeader returns the holder of the Lease as last observed. It returns "" if there is
// no holder or if the holder's Lease has expired. After Run has returned, there are no
// new observations.
func (e *Elector) GetLeader() string {
	l := e.leader.Load()
	if l == nil || !l.until.IsZero() && !time.Now().Before(l.until) {
		return ""
	}
	return l.identity
}

// Term returns the term in which this process leads, and whether it leads, as IsLeader
// reports.
func (e *Elector) Term() (Term, bool) {
	e.mu.Lock()
	defer e.unlock()
	if !e.IsLeader() {
		return Term{}, false
	}
	return e.run.term, true
}

// State returns what the Elector knows now. See Changes to receive each change.
func (e *Elector) State() State {
	state, _ := e.stateAndChange()
	return state
}

// Changes returns an iterator over the present state and then each change, until ctx is
// done or the loop is left. A late receiver therefore misses nothing that still holds. A
// slow receiver gets only the newest state; Term shows whether it has missed a term.
// Changes starts no goroutine.
//
//	for state := range elector.Changes(ctx) {
//		leading.Set(state.Leading)
//	}
func (e *Elector) Changes(ctx context.Context) iter.Seq[State] {
	return func(yield func(State) bool) {
		var last State
		for first := true; ; first = false {
			state, changed := e.stateAndChange()
			if first || state != last {
				last = state
				if !yield(state) {
					return
				}
				continue // the state may have changed meanwhile
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}

// LastContact returns when the API server last answered about the Lease, by a reply to a
// request or by the watch. It returns the zero Time if it never has.
func (e *Elector) LastContact() time.Time {
	if at := e.contact.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// Stuck returns an error if only a new process helps. This is the case if a loop of the
// Elector has been overdue for LeaseDuration, which happens when a client ignores the
// contexts of its requests; or if the work has outlived its term, see
// ErrWorkStillRunning. It returns nil while the Elector works, also while the API server
// does not answer. A process that was frozen is stuck for a moment when it resumes.
func (e *Elector) Stuck() error {
	overdue := max(e.campaignHeartbeat.Overdue(), e.observerHeartbeat.Overdue())
	if overdue > e.config.LeaseDuration {
		return fmt.Errorf("leaderelection: the elector is stuck: its loop is overdue by %v: restart the process", overdue.Round(time.Millisecond))
	}
	e.mu.Lock()
	defer e.unlock()
	if r := e.run; r != nil && isClosed(r.over) && !r.hasReturned() && errors.Is(r.err, ErrWorkStillRunning) {
		return r.err
	}
	return nil
}

// StepDown ends the term, even if no other candidate can lead. The work is stopped, and
// the Lease is released whatever ReleaseOnCancel is. This elector then does not claim until it has
// observed another leader or one LeaseDuration has passed. StepDown cannot be undone:
// ctx bounds only the wait.
//
// Called with the work's own context, or one derived from it, StepDown does not wait,
// because the work could not return meanwhile. It does not wait either once
// OnStoppedLeading was called, which may be the caller. Called by OnStartedLeading with
// any other context it waits for itself.
//
// It returns ErrNotLeading if there is no term to end, ErrWorkStillRunning if the work
// did not stop in time, ErrNotReleased if it did and the Lease could not be released,
// and the cause of ctx if ctx ended first.
func (e *Elector) StepDown(ctx context.Context) error {
	e.mu.Lock()
	run := e.run
	e.unlock()
	if run == nil || isClosed(run.over) {
		return ErrNotLeading
	}
	mayBeTheWork := ctx.Value(termKey{}) == run || isClosed(run.stopCalled) // before this call stops the work
	run.stepDownOnce.Do(func() { close(run.stepDown) })
	if mayBeTheWork {
		return nil
	}
	select {
	case <-run.over:
		return run.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Confirm reads the Lease once and reports whether term continues. If the Lease shows
// another holder, the term ends, as after an event of the watch. Confirm is for callers
// whose write was refused as stale: package fencing calls it. Concurrent calls share a
// read. Confirm returns false and no error if this process does not lead in term, and an
// error if the read failed or ctx ended first.
func (e *Elector) Confirm(ctx context.Context, term Term) (bool, error) {
	if !e.isIn(term) {
		return false, nil
	}
	if e.config.Enabled {
		if err := e.readSince(ctx, e.nextSeq()); err != nil {
			return false, err
		}
	}
	return e.isIn(term), nil
}

// Start calls Run. It implements Runnable of controller-runtime.
func (e *Elector) Start(ctx context.Context) error { return e.Run(ctx) }

// NeedLeaderElection returns false: controller-runtime runs an Elector on every replica.
func (e *Elector) NeedLeaderElection() bool { return false }

// isIn reports whether this process leads in term.
func (e *Elector) isIn(term Term) bool {
	present, leads := e.Term()
	return leads && present == term
}

// holding returns the hold on the Lease once its claim is confirmed, nil otherwise.
func (e *Elector) holding() *heldLease {
	e.mu.Lock()
	defer e.unlock()
	if !e.held.isConfirmed() {
		return nil
	}
	return e.held
}

func (e *Elector) stateAndChange() (State, <-chan struct{}) {
	e.mu.Lock()
	defer e.unlock()
	state := State{Running: e.running, Leader: e.GetLeader(), EndCause: e.endCause,
		Watching: e.observed.watching, Successor: e.observed.state.Successor().Identity, LastError: e.requests.lastError()}
	if r := e.run; r != nil && r.context.Err() == nil {
		state.Leading, state.Term = true, r.term
	}
	return state, e.changed
}

// afterUnlock adds an effect: a log line, a trace event or a notification. unlock
// applies it.
func (e *Elector) afterUnlock(effect func()) { e.effects = append(e.effects, effect) }

// unlock releases mu and then applies the effects of what was decided under it, in the
// order of the decisions. No effect may take mu or block.
func (e *Elector) unlock() {
	effects := e.effects
	e.effects = nil
	if len(effects) == 0 {
		e.mu.Unlock()
		return
	}
	e.emit.Lock()
	defer e.emit.Unlock()
	e.mu.Unlock()
	for _, effect := range effects {
		effect()
	}
}

// signalLocked wakes every waiter for a change.
func (e *Elector) signalLocked() {
	close(e.changed)
	e.changed = make(chan struct{})
}
