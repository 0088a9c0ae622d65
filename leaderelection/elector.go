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
	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// An Elector campaigns for one Lease. Create it with New. Every method may be called
// from any goroutine at any time, including from callbacks.
type Elector struct {
	config    Config
	options   options
	callbacks Callbacks
	store     store          // the zero store if the election is not enabled
	pods      *deathObserver // nil without WithProofOfDeath
	apiServer string         // the URL of the API server; "" if it is unknown
	rateLimit *rateLimit
	logger    *slog.Logger // the caller's logger with the attributes lease and identity
	log       *slog.Logger // for the elector's own log lines; writes to logQueue and never blocks
	logQueue  *dispatch.LogQueue
	tasks     dispatch.Tasks
	calls     dispatch.Calls
	notifier  dispatch.Notifier
	tracer    tracer

	campaignHeartbeat clock.Heartbeat
	observerHeartbeat clock.Heartbeat
	readRequests      chan struct{} // a value in this channel makes the observer read the Lease
	confirmReads      singleFlight

	trust   atomic.Pointer[clock.Trust] // the trust of the current term; nil if there is no term
	leader  atomic.Pointer[leader]      // the last observed leader, for GetLeader
	contact atomic.Pointer[time.Time]   // the time of the last answer from the API server; nil before the first answer

	// mu guards the fields below. Do not lock mu during a request, a callback or a log
	// call. Unlock mu with Elector.unlock, which also applies the effects. An effect is
	// a log line, a trace event or a notification.
	mu            sync.Mutex
	effects       []func()
	running       bool
	runCtx        context.Context // done when Run returns
	changed       chan struct{}   // closed and replaced at each change of the state
	observed      observed
	requests      requestHealth
	writes        writes
	nomination    nomination
	proof         leasestate.Proof // the last process of a holder that is known to have ended
	held          *heldLease       // the claimed or held Lease; nil if no claim is pending and the Lease is not held
	run           *termRun         // the current term, or an earlier term whose work has not returned
	endCause      error            // why the last term ended
	cooldownUntil time.Time        // the end of the pause in claims after StepDown

	// emit is locked while effects are applied, and therefore effects are applied in
	// order.
	emit sync.Mutex
}

// New returns an Elector. If the arguments are invalid, New returns one error that
// names every problem. The clientset may be nil only if config.Enabled is false. If
// logger is nil, the Elector uses slog.Default(). New copies config.
func New(config *Config, clientset kubernetes.Interface, callbacks Callbacks, logger *slog.Logger, opts ...Option) (*Elector, error) {
	if config == nil {
		return nil, errors.New("leaderelection: the configuration is nil: pass a *Config")
	}
	resolved, options := config.withDefaults(), newOptions(opts)
	problems := append(resolved.problems(), options.problems(resolved, apiServerOfClientset(clientset))...)
	if forgotten := !resolved.Enabled && !resolved.AllowDisabled; forgotten && !isNil(clientset) && resolved.LeaseName != "" {
		problems = append(problems, fmt.Errorf("the field Enabled is false, so every replica would lead, although LeaseName (%q) and a clientset are set: "+
			"set Enabled to true, or set AllowDisabled to true if the election is turned off on purpose", resolved.LeaseName))
	}
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
	e.nomination.started = clock.ProcessStart()
	lazy := dispatch.Lazy(resolved.logger(logger).Handler)
	e.logger, e.log = slog.New(lazy), slog.New(e.logQueue.Handler(lazy))
	if resolved.Enabled {
		client := clientset.CoordinationV1()
		e.store = store{client.Leases(resolved.LeaseNamespace), resolved.LeaseName, &e.calls}
		e.pods = newDeathObserver(e, clientset)
		e.apiServer = apiServerOf(client.RESTClient())
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
	return e, nil
}

// Config returns the Elector's configuration, with the default durations in place of
// zero durations.
func (e *Elector) Config() Config { return e.config }

// APIServer returns the URL of the API server to which the clientset sends its
// requests. A program that uses several clusters can identify a Lease by this URL, the
// namespace and the name. APIServer returns "" if the election is not enabled, and if
// the clientset has no server, as a fake clientset.
func (e *Elector) APIServer() string { return e.apiServer }

// IsLeader reports whether this process leads. A process leads from the start of a term
// until the work's context is cancelled or the trust window ends. If the trust window
// ended while the process was frozen, IsLeader returns false at once after the process
// has resumed. There is one exception: IsLeader cannot know of a pause of a virtual
// machine that none of the machine's clocks has counted. IsLeader takes no lock and
// allocates no memory.
func (e *Elector) IsLeader() bool {
	t := e.trust.Load()
	return t != nil && t.Remaining(time.Now()) > 0
}

// ValidFor returns how much longer this process can lead without another renewal,
// unless the Lease is edited manually. It returns zero if this process does not lead.
// If the election is not enabled, ValidFor returns math.MaxInt64 while this process
// leads.
func (e *Elector) ValidFor() time.Duration {
	t := e.trust.Load()
	if t == nil {
		return 0
	}
	return max(0, t.Remaining(time.Now()))
}

// HeldFor returns how much longer this process holds the Lease without another renewal,
// unless the Lease is edited manually. Use HeldFor for cleanup that must end before
// another candidate leads. While the work stops after StepDown or after the end of the
// context of Run, HeldFor is positive and ValidFor is zero. HeldFor returns zero if
// this process does not hold the Lease or has sent a release. If the election is not
// enabled, HeldFor returns math.MaxInt64 while Run runs.
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

// GetLeader returns the last observed holder of the Lease. It returns "" if the Lease
// has no holder or has expired.
func (e *Elector) GetLeader() string {
	l := e.leader.Load()
	if l == nil || !l.until.IsZero() && !time.Now().Before(l.until) {
		return ""
	}
	return l.identity
}

// Term returns the term in which this process leads now. The second result is false if
// this process does not lead. Work must not call Term to get its fencing token: a
// goroutine that is left over from an earlier term would get the token of the new term.
// Use TermFromContext with the work's context.
func (e *Elector) Term() (Term, bool) {
	e.mu.Lock()
	defer e.unlock()
	if !e.IsLeader() {
		return Term{}, false
	}
	return e.run.term, true
}

// State returns the current state of the Elector.
func (e *Elector) State() State {
	state, _, _ := e.stateAndChange()
	return state
}

// Changes returns an iterator over the states of the Elector. The iterator yields the
// current state first, and then a new state after each change. It ends when ctx is
// done. If several changes happen while the caller handles a state, the iterator yields
// only the newest state. Changes starts no goroutine.
//
//	for state := range elector.Changes(ctx) {
//		leading.Set(state.Leading)
//	}
func (e *Elector) Changes(ctx context.Context) iter.Seq[State] {
	return func(yield func(State) bool) {
		var last State
		for first := true; ; first = false {
			state, changed, expires := e.stateAndChange()
			if first || state != last {
				last = state
				if !yield(state) {
					return
				}
				continue // check again, because the state may have changed during yield
			}
			// The state also changes when the leader's time has expired.
			if clock.Sleep(ctx, changed, expires) != nil && ctx.Err() != nil {
				return
			}
		}
	}
}

// LastContact returns when the Elector last received a reply or a watch event from the
// API server. It returns the zero Time if the Elector has not received any.
func (e *Elector) LastContact() time.Time {
	if at := e.contact.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// Stuck returns an error if the process must be restarted. There are three cases. In
// the first case, a loop of the Elector, or a request that ignores its context, has not
// ended for more than LeaseDuration after its deadline. In the second case, the work
// has not returned in time; see ErrWorkStillRunning. In the third case, StopTimeout is
// 0, the work was asked to stop more than four LeaseDurations ago, and the Lease is
// still held for it. An outage of the API server does not cause an error. When a frozen
// process resumes, Stuck may return an error for a short time.
func (e *Elector) Stuck() error {
	overdue := max(e.campaignHeartbeat.Overdue(), e.observerHeartbeat.Overdue())
	if overdue > e.config.LeaseDuration {
		return fmt.Errorf("leaderelection: the elector is stuck: its loop is overdue by %v: restart the process", overdue.Round(time.Millisecond))
	}
	e.mu.Lock()
	defer e.unlock()
	if count, since := e.calls.Abandoned(); e.running && count > 0 && min(time.Since(since), time.Since(e.LastContact())) > e.config.LeaseDuration {
		return fmt.Errorf("leaderelection: the elector is stuck: %d requests have ignored the end of their contexts, the first for %v: restart the process",
			count, time.Since(since).Round(time.Millisecond))
	}
	if r := e.run; r != nil && isClosed(r.over) && !r.hasReturned() && errors.Is(r.err, ErrWorkStillRunning) {
		return r.err
	}
	if r := e.run; r != nil && r.context.Err() != nil && !r.hasReturned() && e.config.StopTimeout == 0 {
		if since := time.Since(r.stop.At); since > e.config.longStop() {
			return fmt.Errorf("%w: it was asked to stop %v ago because %w, and the Lease is held until it has stopped: restart the process, and set StopTimeout",
				ErrWorkStillRunning, since.Round(time.Second), context.Cause(r.context))
		}
	}
	return nil
}

// StepDown ends the term, even if no other candidate can lead. It cancels the work's
// context. After the work has stopped, the Lease is released, even if ReleaseOnCancel
// is false. After the release, this elector does not claim the Lease until it has
// observed another leader, or one LeaseDuration has passed. The term ends even if
// StepDown returns before that.
//
// StepDown waits until the term has ended or ctx is done. It stops waiting for the work
// after half of StopTimeout, and after RenewDeadline if ctx has no deadline, because the
// work may be waiting for the caller of StepDown. If ctx is the work's own context or a
// context derived from it, StepDown returns nil at once. It also returns nil at once if
// OnStoppedLeading was already called for this term.
//
// StepDown returns ErrNotLeading if there is no term to end. It returns
// ErrStillStopping if it has stopped waiting for the work. It returns
// ErrWorkStillRunning if the work did not stop in time. It returns ErrNotReleased if
// the work stopped but the Lease could not be released. It returns context.Cause(ctx)
// if ctx was done first.
func (e *Elector) StepDown(ctx context.Context) error {
	e.mu.Lock()
	run := e.run
	e.unlock()
	if run == nil || isClosed(run.over) {
		return ErrNotLeading
	}
	mayBeTheWork := ctx.Value(termKey{}) == run || isClosed(run.stopCalled) // evaluated before this call stops the work
	run.stepDownOnce.Do(func() { close(run.stepDown) })
	if mayBeTheWork {
		return nil
	}
	_, hasDeadline := ctx.Deadline()
	timer := time.NewTimer(e.config.stepDownTime(hasDeadline))
	defer timer.Stop()
	impatient := timer.C
	for finished := run.finished; ; {
		select {
		case <-run.over:
			return run.err
		case <-finished:
			finished, impatient = nil, nil // the release ends by itself
		case <-impatient:
			return fmt.Errorf("%w after %v, and its Lease is released when it has: "+
				"pass the work's own context if the work itself calls StepDown, or a context with a deadline to wait longer", ErrStillStopping, e.config.stepDownTime(hasDeadline))
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Confirm reads the Lease and reports whether this process still leads in the given
// term. If the Lease shows that the term is over, Confirm ends the term. Call Confirm
// when a store has refused a write because the write's fencing token is outdated.
// Concurrent calls share one read. Confirm returns an error if the read fails.
func (e *Elector) Confirm(ctx context.Context, term Term) (bool, error) {
	if !e.isIn(term) {
		return false, nil
	}
	if e.config.Enabled {
		if err := e.confirmReads.readSince(ctx, e, e.nextSeq()); err != nil {
			return false, err
		}
	}
	return e.isIn(term), nil
}

// Start calls Run. It makes an Elector a Runnable of controller-runtime.
func (e *Elector) Start(ctx context.Context) error { return e.Run(ctx) }

// NeedLeaderElection returns false. Therefore controller-runtime runs the Elector on
// every replica.
func (e *Elector) NeedLeaderElection() bool { return false }

// isIn reports whether this process leads in the given term.
func (e *Elector) isIn(term Term) bool {
	current, leads := e.Term()
	return leads && current == term
}

// holding returns the held Lease. It returns nil if there is none, or if the claim is
// not confirmed.
func (e *Elector) holding() *heldLease {
	e.mu.Lock()
	defer e.unlock()
	if !e.held.isConfirmed() {
		return nil
	}
	return e.held
}

// stateAndChange returns the current state. The state changes when changed is closed, or
// at the latest after the duration expires.
func (e *Elector) stateAndChange() (state State, changed <-chan struct{}, expires time.Duration) {
	e.mu.Lock()
	defer e.unlock()
	state = State{Running: e.running, Leader: e.GetLeader(), EndCause: e.endCause,
		Watching: e.observed.watching, Successor: e.observed.state.Successor().Identity}
	state.LastError, state.FailingSince = e.requests.failing()
	expires = clock.Forever
	if l := e.leader.Load(); state.Leader != "" && !l.until.IsZero() {
		expires = time.Until(l.until)
	}
	switch r := e.run; {
	case r == nil || r.context.Err() != nil:
	case e.IsLeader():
		state.Leading, state.Term = true, r.term
		expires = min(expires, e.ValidFor())
	default:
		state.EndCause = ErrRenewalFailed // the trust window has ended, and the timer that ends the term is about to fire
	}
	return state, e.changed, max(expires, time.Nanosecond)
}

// afterUnlock adds a function that unlock calls.
func (e *Elector) afterUnlock(effect func()) { e.effects = append(e.effects, effect) }

// unlock unlocks mu. It then calls the functions that were passed to
// afterUnlock, in the same order. These functions must not lock mu, and must not block.
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

// signalLocked wakes every goroutine that waits on e.changed.
func (e *Elector) signalLocked() {
	close(e.changed)
	e.changed = make(chan struct{})
}
