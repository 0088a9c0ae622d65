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
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/log"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
)

// A leaderelection.Elector can be added to a Manager, because it implements these
// interfaces.
var (
	_ crmanager.Runnable               = (*leaderelection.Elector)(nil)
	_ crmanager.LeaderElectionRunnable = (*leaderelection.Elector)(nil)
)

// defaultGracefulShutdownTimeout is the GracefulShutdownTimeout that controller-runtime
// uses by default.
const defaultGracefulShutdownTimeout = 30 * time.Second

// An electedManager is the Manager that New returns. It wraps a Manager of
// controller-runtime, which is called the inner Manager. During a term, the Elector
// runs the inner Manager.
type electedManager struct {
	crmanager.Manager
	elector       *leaderelection.Elector
	config        leaderelection.Config
	grace         time.Duration // the user's GracefulShutdownTimeout; a negative value means no limit
	logger        logr.Logger   // the user's logger
	client        *electionClient
	events        *recorder
	gate          *gate
	route         *route // nil if the leader's Pod gets no label
	base          *baseContexts
	warmups       warmups
	observability observability

	started   atomic.Bool
	stopping  chan struct{}         // closed when the inner Manager begins to stop
	failure   atomic.Pointer[error] // the error that stopped the Manager; nil if the Manager was asked to stop before
	ended     chan struct{}         // closed if the term ends before the inner Manager has stopped
	cause     error                 // the reason why the term ended; set before ended is closed
	abandoned atomic.Bool           // true if the grace period expired while Runnables were running

	// Start sets the following fields.
	stopAsked   <-chan struct{} // closed when the context of Start is done
	inner       *task           // the call of the inner Manager's Start
	stopInner   func()
	campaign    *task // the call of the Elector's Run
	endCampaign func()
}

// New returns a Manager that uses the leader election of this module. It has the
// signature and the options of ctrl.NewManager. If opts.LeaderElection is false, New
// calls ctrl.NewManager.
//
// These options differ from ctrl.NewManager:
//
//   - LeaderElectionReleaseOnCancel has no effect. The Lease is released after
//     all Runnables have stopped, unless WithoutRelease is given.
//   - LeaderElectionResourceLockInterface must be nil, because it would replace the
//     election of this package.
//   - LeaderElectionNamespace also has a default outside of a pod: the namespace of the
//     kubeconfig's context from which the client configuration of the election was made.
//     New returns an error if several contexts with different namespaces are possible.
//     In a pod the default is the namespace of the pod, as with ctrl.NewManager.
//   - LeaseDuration is rounded up to whole seconds, because a Lease stores whole seconds.
//     New logs a warning then. controller-runtime rounds the stored value down.
//   - Controller.EnableWarmup defaults to true. A follower's controllers then start their
//     sources and fill their queues before they lead, and reconcile at once when they
//     lead. Otherwise controller-runtime polls the sources every 100 ms. The queue of a
//     follower contains each object once. Set EnableWarmup to false to save this memory.
//
// Start returns ErrLeadershipLost after a loss of leadership. It returns
// leaderelection.ErrSteppedDown after a call of the Elector's StepDown. Call Start only
// once, and exit the process when Start has returned.
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
	if err := validate(cfg, opts, o); err != nil {
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

// ElectorOf returns the Elector of a Manager that New returned. Use the Elector, for
// example, to call IsLeader or StepDown. ElectorOf returns nil for any other Manager,
// and for a Manager whose option LeaderElection is false.
func ElectorOf(mgr crmanager.Manager) *leaderelection.Elector {
	if m, ok := mgr.(*electedManager); ok {
		return m.elector
	}
	return nil
}

// validate checks the arguments of New. It returns one error that names every invalid
// argument, or nil.
func validate(cfg *rest.Config, opts crmanager.Options, o options) error {
	var errs []error
	if cfg == nil {
		errs = append(errs, errors.New("must specify Config"))
	}
	if opts.LeaderElectionResourceLockInterface != nil {
		errs = append(errs, errors.New("LeaderElectionResourceLockInterface is invalid, because it replaces the election of this package: use ctrl.NewManager with it"))
	}
	if lock := opts.LeaderElectionResourceLock; lock != "" && lock != resourcelock.LeasesResourceLock {
		errs = append(errs, fmt.Errorf("LeaderElectionResourceLock (%q) must be %q or empty", lock, resourcelock.LeasesResourceLock))
	}
	if opts.LeaderElectionID == "" {
		errs = append(errs, errors.New("LeaderElectionID is empty, set the name of the Lease"))
	}
	if mode := o.fencing; mode != nil && (*mode == 0 || *mode&^(fencing.ByPod|fencing.ByTerm) != 0) {
		errs = append(errs, fmt.Errorf("WithFencing has an invalid mode: %d, use fencing.ByPod (%d), fencing.ByTerm (%d), or both", *mode, fencing.ByPod, fencing.ByTerm))
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("manager: invalid options: %w", errors.Join(errs...))
}

// makeElector creates the Elector that runs the inner Manager. own is the
// client configuration of the Manager.
func (m *electedManager) makeElector(own *rest.Config, opts crmanager.Options, o options) error {
	cfg := own
	if opts.LeaderElectionConfig != nil {
		cfg = opts.LeaderElectionConfig
	}
	m.config = leaderelection.Config{
		Enabled: true, Identity: o.identity, LeaseName: opts.LeaderElectionID, LeaseNamespace: opts.LeaderElectionNamespace,
		LeaseDuration: m.wholeSeconds(valueOf(opts.LeaseDuration)), RenewDeadline: valueOf(opts.RenewDeadline), RetryPeriod: valueOf(opts.RetryPeriod),
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
	m.observability = newObservability(m.client)
	check := m.checkRights
	if o.unchecked {
		check = nil
	}
	m.elector, err = leaderelection.New(&m.config, m.client, leaderelection.Callbacks{OnStartedLeading: m.lead}, slogOf(m.logger),
		slices.Concat([]leaderelection.Option{
			leaderelection.WithEventRecorder(m.events),
			leaderelection.WithLeaseLabels(opts.LeaderElectionLabels),
			leaderelection.WithBackgroundTask(check),
		}, m.observability.options(), m.route.options(), o.elector)...)
	return err
}

// wholeSeconds rounds a LeaseDuration up, because a Lease stores whole seconds. It logs a
// warning if d is not whole seconds. Rounding up is safe: the Lease of this process
// contains the rounded value, so other candidates wait at least that long, and the trust
// window of this process is at most nine tenths of it.
func (m *electedManager) wholeSeconds(d time.Duration) time.Duration {
	if d <= 0 || d%time.Second == 0 {
		return d
	}
	rounded := d.Truncate(time.Second) + time.Second
	m.logger.Info("LeaseDuration is not whole seconds; rounding it up", "leaseDuration", d, "used", rounded)
	return rounded
}

// stopTimeout converts the user's GracefulShutdownTimeout to the Elector's StopTimeout.
// A negative value becomes 0, which means no limit. The value 0 becomes 1 ns. Any other
// result is at least one second, because the Elector's callbacks need time to return.
func (m *electedManager) stopTimeout() time.Duration {
	switch {
	case m.grace < 0:
		return 0
	case m.grace == 0:
		return time.Nanosecond
	default:
		return max(m.grace, time.Second)
	}
}

// makeInner creates the inner Manager, which does everything except the election.
func (m *electedManager) makeInner(cfg *rest.Config, opts crmanager.Options, o options) error {
	m.gate = newGate(m.config.Identity, m.config.LeaseNamespace+"/"+m.config.LeaseName)
	m.base = &baseContexts{gate: m.gate}

	opts.LeaderElectionResourceLockInterface = m.gate
	opts.LeaderElectionConfig = nil
	opts.LeaderElectionReleaseOnCancel = false
	opts.Metrics.ExtraHandlers = m.observability.serve(opts.Metrics.ExtraHandlers)
	opts.LeaseDuration, opts.RenewDeadline, opts.RetryPeriod = gateTiming()
	opts.GracefulShutdownTimeout = ptr.To(time.Duration(-1)) // no limit, because Start applies the user's timeout
	opts.BaseContext = m.base.wrap(opts.BaseContext)
	opts.Logger = quiet(m.logger)
	if opts.Controller.EnableWarmup == nil {
		opts.Controller.EnableWarmup = ptr.To(true)
	}
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
	if opts.EventBroadcaster != nil { //nolint:staticcheck // deprecated, but still supported by controller-runtime
		m.events.use(m.Manager.GetEventRecorderFor(m.config.Identity)) //nolint:staticcheck // the only recorder of the Manager that implements resourcelock.EventRecorder
	}
	return m.Manager.Add(stopDetector{m})
}

// gateTiming returns the durations of controller-runtime's own election. The durations
// are long, because this election needs no frequent renewals.
func gateTiming() (lease, renew, retry *time.Duration) {
	return ptr.To(3 * time.Hour), ptr.To(2 * time.Hour), ptr.To(time.Hour)
}

// GetLogger returns the logger that was passed to New. The inner Manager uses a
// different logger, which drops misleading lines.
func (m *electedManager) GetLogger() logr.Logger { return m.logger }

// complete sets config.LeaseNamespace and config.Identity to their defaults if they are
// empty. cfg is the client configuration for the cluster of the Lease.
func complete(config *leaderelection.Config, cfg *rest.Config) error {
	env := processEnvironment()
	var err error
	if config.LeaseNamespace, err = env.namespace(config.LeaseNamespace, cfg); err != nil {
		return err
	}
	if config.Identity == "" {
		config.Identity, err = env.identity()
	}
	return err
}

func valueOf(d *time.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return *d
}
