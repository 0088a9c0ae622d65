package manager

import (
	"context"
	"errors"
	"slices"

	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// An Elector is a leaderelection.Elector that a Manager runs. Use LeaderOnly to create
// Runnables that run in each term of the Elector.
type Elector struct {
	*leaderelection.Elector
	group         *leaderOnlyGroup
	client        *electionClient
	observability observability
}

var (
	_ crmanager.Runnable               = (*Elector)(nil)
	_ crmanager.LeaderElectionRunnable = (*Elector)(nil)
)

// NewElector creates an Elector and adds it to a Manager. The Elector campaigns while
// the Manager runs. If the Elector fails, its error stops the Manager. A Manager may
// have several Electors, one for each Lease.
//
// The Elector's client uses the Manager's client configuration. The client shares
// neither a rate limiter nor connections with the application's clients. The Elector
// uses the Manager's logger and event recorder. The namespace and the identity have the
// same defaults as with New.
//
// The options in opts take precedence over the options that NewElector sets.
func NewElector(mgr crmanager.Manager, config *leaderelection.Config, callbacks leaderelection.Callbacks, opts ...leaderelection.Option) (*Elector, error) {
	if mgr == nil || config == nil {
		return nil, errors.New("manager: NewElector needs a Manager and a *leaderelection.Config")
	}
	own := *config
	if own.Enabled {
		if err := complete(&own, mgr.GetConfig()); err != nil {
			return nil, err
		}
	}
	client, err := newElectionClient(mgr.GetConfig(), own) // New needs it also to find out that Enabled was forgotten
	if err != nil {
		return nil, err
	}
	e, err := newElector(own, client, callbacks, mgr, opts)
	if err != nil {
		return nil, err
	}
	if err := mgr.Add(e); err != nil {
		return nil, err
	}
	e.serveStatus(mgr)
	return e, nil
}

func newElector(config leaderelection.Config, client *electionClient, callbacks leaderelection.Callbacks, mgr crmanager.Manager, opts []leaderelection.Option) (*Elector, error) {
	logger := slogOf(mgr.GetLogger())
	e := &Elector{client: client, group: newLeaderOnlyGroup(logger), observability: newObservability(client)}
	work := callbacks.OnStartedLeading
	callbacks.OnStartedLeading = func(ctx context.Context) { e.group.lead(ctx, work) }
	opts = slices.Concat([]leaderelection.Option{
		leaderelection.WithEventRecorder(mgr.GetEventRecorderFor(config.Identity)), //nolint:staticcheck // the only recorder of the Manager that implements resourcelock.EventRecorder
	}, e.observability.options(), opts)
	var err error
	if e.Elector, err = leaderelection.New(&config, client, callbacks, logger, opts...); err != nil {
		return nil, err
	}
	e.group.stepDown = e.StepDown
	return e, nil
}

// Start calls Run. The Runnable interface of controller-runtime requires this method.
func (e *Elector) Start(ctx context.Context) error { return e.Run(ctx) }

// Run campaigns like the method Run of leaderelection.Elector. If a Runnable with the
// option FailManager fails, Run ends after the current term and returns the error of
// that Runnable.
func (e *Elector) Run(ctx context.Context) error {
	campaign, cancel := context.WithCancel(ctx)
	defer cancel()
	if e.group.beginRun(ctx, cancel) {
		e.observability.failed.Store(nil)
		err := e.Elector.Run(campaign)
		e.client.close()
		return e.observability.ended(join(e.group.endRun(), err))
	}
	return e.Elector.Run(ctx) // returns ErrAlreadyRunning, because another call of Run is active
}
