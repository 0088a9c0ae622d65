package leaderelection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/kubernetes"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
)

// Callbacks are what an Elector tells its user. Each may be nil.
type Callbacks struct {
	// OnStartedLeading is called when the Lease was won. Its context lives as
	// long as leadership, and carries the Term, the logger and, once cancelled,
	// the reason as context.Cause. It may do the work, or start it and return:
	// returning does not end the term. The Lease is not released before it
	// has returned.
	OnStartedLeading func(ctx context.Context)

	// OnStoppedLeading is called once for each OnStartedLeading, after its
	// context was cancelled and it has returned. The Lease is not released
	// before OnStoppedLeading has returned too. There is one exception, for
	// those who exit here: when leadership was lost, or StopTimeout has passed,
	// and the work has not stopped in time, it is called all the same.
	OnStoppedLeading func()

	// OnNewLeader is called when another leader than the last one was seen,
	// ourselves included: in order, without repeats, never with "". If it is
	// slow it is told the newest only. It delays nothing else.
	OnNewLeader func(identity string)
}

// An Elector campaigns for one Lease. Make it with New. All its methods may be
// called from any goroutine at any time.
type Elector struct {
	config    Config
	options   options
	callbacks Callbacks
	leases    coordinationclient.LeaseInterface // nil if the election is not enabled
	limit     *sharedLimit
	logger    *slog.Logger // the caller's, with the Lease and the identity
	log       *slog.Logger // the same one, which never blocks: for our own lines
	scribe    *scribe
	tasks     tasks
	notifier  notifier
	trouble   trouble
	teller    teller
	turning   pulse // of the campaign
	looking   pulse // of the observer

	confirming confirming

	trust  atomic.Pointer[trust]  // of the live term; nil when there is none: what IsLeader reads
	leader atomic.Pointer[leader] // what GetLeader reads

	contact atomic.Pointer[time.Time] // when the API server last told something of the Lease

	// mu guards the rest. It is never held across a request or a callback.
	mu        sync.Mutex
	running   bool
	giveUp    context.Context // of claims and of everything else that ends with Run
	changed   chan struct{}   // closed and replaced at each change
	observer  observer
	following following
	writes    writes
	heirship  heirship  // our attempts to be the heir
	tenure    *tenure   // our hold on the Lease; nil without one
	work      *work     // of the term that is, or of one that has not returned
	ended     error     // why the last term ended
	rested    time.Time // until when an elector that stepped down leaves the Lease to others
}

// New makes an Elector. It returns one error that names everything that is
// wrong with its arguments; the clientset may be nil only if the election is
// not enabled. A nil logger means slog.Default(). config is copied.
func New(config *Config, clientset kubernetes.Interface, callbacks Callbacks, logger *slog.Logger, opts ...Option) (*Elector, error) {
	if config == nil {
		return nil, errors.New("leaderelection: the configuration is nil: give a *Config")
	}
	resolved, options := config.withDefaults(), newOptions(opts)
	problems := append(resolved.problems(), options.problems(resolved)...)
	if isNil(clientset) && resolved.Enabled {
		problems = append(problems, errors.New("the clientset is nil: give a kubernetes.Interface, or set Enabled to false"))
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("leaderelection: the configuration is refused: %w", errors.Join(problems...))
	}
	e := &Elector{config: resolved, options: options, callbacks: callbacks, changed: make(chan struct{})}
	e.following.look = make(chan struct{}, 1)
	e.confirming.turn = make(chan struct{}, 1)
	e.heirship.started = processStart
	e.logger = newLogger(logger, resolved)
	e.scribe = newScribe()
	late := lateHandler{e.logger.Handler}
	e.logger, e.log = slog.New(late), slog.New(patientHandler{late, e.scribe})
	e.trouble.log, e.trouble.changed = e.log, e.signal
	if resolved.Enabled {
		client := clientset.CoordinationV1()
		e.leases = client.Leases(resolved.LeaseNamespace)
		e.limit = limitOf(client.RESTClient())
		if _, err := e.newEngine(e.newLock(nil)); err != nil {
			return nil, fmt.Errorf("leaderelection: client-go refuses the configuration: %w", err)
		}
		for _, warning := range resolved.warnings() {
			e.log.Warn("Unwise configuration", "why", warning)
		}
	}
	for _, wrap := range options.wrappers {
		e.callbacks = wrap(e, e.callbacks)
	}
	e.notifier.call = e.callbacks.OnNewLeader
	e.teller.made(e)
	return e, nil
}

// IsLeader reports whether this process leads now: the work's context is live
// and the clock is before the end of trust. It is right also after the process
// was frozen, before any timer has fired. It takes no lock and allocates
// nothing.
func (e *Elector) IsLeader() bool {
	t := e.trust.Load()
	return t != nil && t.remaining(time.Now()) > 0
}

// ValidFor is for how long from now leadership is certain, if nobody touches
// the Lease by hand: zero if not leading, the greatest Duration if the election
// is not enabled.
func (e *Elector) ValidFor() time.Duration {
	t := e.trust.Load()
	if t == nil {
		return 0
	}
	return max(0, t.remaining(time.Now()))
}

// HeldFor is for how long from now the Lease is certain to be ours, if nobody touches
// it by hand. Unlike ValidFor it goes on after the work was told to stop in an orderly
// way, as long as the Lease is renewed until it has: what must be done before somebody
// else leads has that long. It is zero without a Lease, after a loss, and from the
// moment at which the Lease is about to be released; and the greatest Duration while an
// Elector runs whose election is not enabled.
func (e *Elector) HeldFor() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch t := e.tenure; {
	case !e.config.Enabled && e.running:
		return forever
	case t == nil || t.cause != nil || t.releasing:
		return 0
	default:
		return max(0, e.trustIn(t).remaining(time.Now()))
	}
}

// GetLeader names the holder of the Lease as last seen, "" if there is none or
// its time has run out.
func (e *Elector) GetLeader() string {
	l := e.leader.Load()
	if l == nil || !l.until.IsZero() && !time.Now().Before(l.until) {
		return ""
	}
	return l.identity
}

// Term returns the term in which this process leads, and whether it does, as
// IsLeader says.
func (e *Elector) Term() (Term, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.IsLeader() {
		return Term{}, false
	}
	return e.work.term, true
}

// Start is Run, under the name that controller-runtime's Runnable has for it.
func (e *Elector) Start(ctx context.Context) error { return e.Run(ctx) }

// NeedLeaderElection tells controller-runtime that an Elector runs on every
// replica.
func (e *Elector) NeedLeaderElection() bool { return false }
