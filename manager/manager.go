package manager

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"sigs.k8s.io/controller-runtime/pkg/log"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
)

// What controller-runtime expects of an Elector that is added to a Manager.
var (
	_ crmanager.Runnable               = (*leaderelection.Elector)(nil)
	_ crmanager.LeaderElectionRunnable = (*leaderelection.Elector)(nil)
)

// defaultGracefulShutdownTimeout is controller-runtime's.
const defaultGracefulShutdownTimeout = 30 * time.Second

// An electedManager is controller-runtime's Manager as the work of one of our
// Electors.
type electedManager struct {
	crmanager.Manager
	elector *leaderelection.Elector
	config  leaderelection.Config
	grace   time.Duration // the user's GracefulShutdownTimeout: negative for ever
	logger  logr.Logger   // the user's
	client  *electionClient
	events  *recorder
	gate    *gate
	route   *route // nil: the leader is not labelled
	base    *baseContexts
	warmups warmups
	onCall  onCall

	started   atomic.Bool
	stopping  chan struct{} // closed when the inner Manager has begun to stop
	failure   atomic.Pointer[error]
	ended     chan struct{} // closed when the term ended before the inner Manager had stopped
	cause     error         // then: why
	abandoned atomic.Bool   // the grace period ran out

	// These are set by Start.
	inner       *task // the inner Manager's Start, and what it leaves behind
	stopInner   func()
	campaign    *task // the Elector's Run
	endCampaign func()
}

// New is ctrl.NewManager with our election in the place of its own: same
// signature, same options, another import. If opts.LeaderElection is false it
// is ctrl.NewManager.
//
// Of the options, LeaderElectionReleaseOnCancel need not be set: the Lease is
// always released, for here it is safe, unless WithoutRelease is given.
// LeaderElectionResourceLockInterface is refused, for it replaces what this
// package is for. LeaderElectionNamespace defaults to POD_NAMESPACE, to the
// pod's namespace, or to that of the kubeconfig.
//
// Start returns ErrLeadershipLost when leadership was lost, and
// leaderelection.ErrSteppedDown after StepDown of the Elector. A Manager can be
// started once: exit the process when Start has returned.
func New(cfg *rest.Config, opts crmanager.Options, more ...Option) (crmanager.Manager, error) {
	if !opts.LeaderElection {
		return crmanager.New(cfg, opts)
	}
	var o options
	for _, option := range more {
		if option != nil {
			option(&o)
		}
	}
	if err := refuse(cfg, opts, o); err != nil {
		return nil, err
	}
	m := &electedManager{grace: defaultGracefulShutdownTimeout, logger: opts.Logger, stopping: make(chan struct{}), ended: make(chan struct{})}
	if m.logger.GetSink() == nil {
		m.logger = log.Log
	}
	if opts.GracefulShutdownTimeout != nil {
		m.grace = *opts.GracefulShutdownTimeout
	}
	if err := m.makeElector(cfg, opts, o); err != nil {
		return nil, err
	}
	if err := m.makeInner(cfg, opts, o); err != nil {
		return nil, err
	}
	return m, nil
}

// ElectorOf returns the Elector of a Manager that was made by New, for IsLeader,
// StepDown and the like; nil for any other Manager, and for one without
// LeaderElection.
func ElectorOf(mgr crmanager.Manager) *leaderelection.Elector {
	if m, ok := mgr.(*electedManager); ok {
		return m.elector
	}
	return nil
}

// refuse names what New cannot do.
func refuse(cfg *rest.Config, opts crmanager.Options, o options) error {
	var errs []error
	if cfg == nil {
		errs = append(errs, errors.New("must specify Config"))
	}
	if opts.LeaderElectionResourceLockInterface != nil {
		errs = append(errs, errors.New("LeaderElectionResourceLockInterface cannot be used: it replaces the election that this package is for; use ctrl.NewManager with it"))
	}
	if lock := opts.LeaderElectionResourceLock; lock != "" && lock != resourcelock.LeasesResourceLock {
		errs = append(errs, fmt.Errorf("LeaderElectionResourceLock (%q) must be %q or empty", lock, resourcelock.LeasesResourceLock))
	}
	if opts.LeaderElectionID == "" {
		errs = append(errs, errors.New("LeaderElectionID must be configured: it names the Lease"))
	}
	if mode := o.fencing; mode != nil && (*mode == 0 || *mode&^(fencing.ByPod|fencing.ByTerm) != 0) {
		errs = append(errs, fmt.Errorf("WithFencing(%d): give the Fence's mode, fencing.ByPod (%d), fencing.ByTerm (%d), or both", *mode, fencing.ByPod, fencing.ByTerm))
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("manager: the options are refused: %w", errors.Join(errs...))
}

// makeElector makes the Elector whose work the inner Manager is.
func (m *electedManager) makeElector(own *rest.Config, opts crmanager.Options, o options) error {
	cfg := own
	if opts.LeaderElectionConfig != nil {
		cfg = opts.LeaderElectionConfig
	}
	m.config = leaderelection.Config{
		Enabled: true, Identity: o.identity, LeaseName: opts.LeaderElectionID, LeaseNamespace: opts.LeaderElectionNamespace,
		LeaseDuration: valueOf(opts.LeaseDuration), RenewDeadline: valueOf(opts.RenewDeadline), RetryPeriod: valueOf(opts.RetryPeriod),
		ReleaseOnCancel: !o.keep, StopTimeout: m.stopTimeout(),
	}
	if err := complete(&m.config, cfg); err != nil {
		return err
	}
	var err error
	if m.client, err = newElectionClient(cfg, m.config); err != nil {
		return err
	}
	if m.route, err = m.newRoute(o.label, own, cfg); err != nil {
		return err
	}
	m.events = &recorder{client: m.client, identity: m.config.Identity, logger: m.logger.WithName("events")}
	m.onCall = newOnCall(m.client)
	check := m.checkRights
	if o.unchecked {
		check = nil
	}
	m.elector, err = leaderelection.New(&m.config, m.client, leaderelection.Callbacks{OnStartedLeading: m.lead}, slogOf(m.logger),
		slices.Concat([]leaderelection.Option{
			leaderelection.WithEventRecorder(m.events),
			leaderelection.WithLeaseLabels(opts.LeaderElectionLabels),
			leaderelection.WithBackgroundTask(check),
		}, m.onCall.options(), m.route.options(), o.elector)...)
	return err
}

// stopTimeout is how long the Elector waits for work that it told to stop. It is
// never as short as nothing, for its own callbacks need a moment to return.
func (m *electedManager) stopTimeout() time.Duration {
	switch {
	case m.grace < 0:
		return 0 // for ever
	case m.grace == 0:
		return time.Nanosecond
	default:
		return max(m.grace, time.Second)
	}
}

// makeInner makes the Manager that does everything but the election.
func (m *electedManager) makeInner(cfg *rest.Config, opts crmanager.Options, o options) error {
	m.gate = newGate(m.config.Identity, m.config.LeaseNamespace+"/"+m.config.LeaseName)
	m.base = &baseContexts{gate: m.gate}

	opts.LeaderElectionResourceLockInterface = m.gate
	opts.LeaderElectionConfig = nil
	opts.LeaderElectionReleaseOnCancel = false
	opts.Metrics.ExtraHandlers = m.onCall.serve(opts.Metrics.ExtraHandlers)
	opts.LeaseDuration, opts.RenewDeadline, opts.RetryPeriod = gatePace()
	opts.GracefulShutdownTimeout = new(time.Duration(-1)) // Start applies the user's
	opts.BaseContext = m.base.wrap(opts.BaseContext)
	opts.Logger = quiet(m.logger)
	if opts.Controller.Logger.GetSink() == nil {
		opts.Controller.Logger = m.logger
	}
	if o.fencing != nil {
		opts.NewClient = fencedClient(opts.NewClient, *o.fencing, m.elector)
	}
	if o.guard {
		opts.NewClient = guardedClient(opts.NewClient, m.elector)
	}
	var err error
	if m.Manager, err = crmanager.New(cfg, opts); err != nil {
		return err
	}
	if opts.EventBroadcaster != nil { //nolint:staticcheck // it is deprecated and works
		m.events.use(m.Manager.GetEventRecorderFor(m.config.Identity)) //nolint:staticcheck // the only one with the elector's kind of events
	}
	return m.Manager.Add(lookout(m.stopping))
}

// gatePace is how often controller-runtime's election looks at the gate: hardly,
// for nothing is to be seen there.
func gatePace() (lease, renew, retry *time.Duration) {
	return new(3 * time.Hour), new(2 * time.Hour), new(time.Hour)
}

// GetLogger returns the logger that the Manager was given, not the one that the
// inner one logs with.
func (m *electedManager) GetLogger() logr.Logger { return m.logger }

// complete fills in what can be found out.
func complete(config *leaderelection.Config, cfg *rest.Config) error {
	where := realSurroundings()
	var err error
	if config.LeaseNamespace, err = where.namespace(config.LeaseNamespace, cfg); err != nil {
		return err
	}
	if config.Identity == "" {
		config.Identity, err = where.identity()
	}
	return err
}

func valueOf(d *time.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return *d
}
