package manager

import (
	"context"
	"errors"
	"slices"

	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// An Elector is a leaderelection.Elector that belongs to a Manager. LeaderOnly adds
// Runnables to it.
type Elector struct {
	*leaderelection.Elector
	group         *leaderOnlyGroup
	client        *electionClient // nil if the election is not enabled
	observability observability
}

var (
	_ crmanager.Runnable               = (*Elector)(nil)
	_ crmanager.LeaderElectionRunnable = (*Elector)(nil)
)

// NewElector returns an Elector that was added to a Manager. It campaigns while the
// Manager runs, and its error stops the Manager. Its client uses the Manager's
// configuration, but shares neither a rate limiter nor connections with the
// application. It logs and records events as the Manager does. The namespace and the
// identity have the same defaults as with New. A Manager may have several Electors, one
// for each Lease.
//
// opts take precedence over the options that NewElector sets.
func NewElector(mgr crmanager.Manager, config *leaderelection.Config, callbacks leaderelection.Callbacks, opts ...leaderelection.Option) (*Elector, error) {
	if mgr == nil || config == nil {
		return nil, errors.New("manager: NewElector needs a Manager and a *leaderelection.Config")
	}
	own := *config
	var client *electionClient
	if own.Enabled {
		if err := complete(&own, mgr.GetConfig()); err != nil {
			return nil, err
		}
		var err error
		if client, err = newElectionClient(mgr.GetConfig(), own); err != nil {
			return nil, err
		}
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
	e := &Elector{client: client, group: newLeaderOnlyGroup(logger), observability: newObservability(nil)}
	if client != nil {
		e.observability = newObservability(client)
	}
	work := callbacks.OnStartedLeading
	callbacks.OnStartedLeading = func(ctx context.Context) { e.group.lead(ctx, work) }
	opts = slices.Concat([]leaderelection.Option{
		leaderelection.WithEventRecorder(mgr.GetEventRecorderFor(config.Identity)), //nolint:staticcheck // the only recorder with the events that the elector records
	}, e.observability.options(), opts)
	var err error
	if e.Elector, err = leaderelection.New(&config, client, callbacks, logger, opts...); err != nil {
		return nil, err
	}
	e.group.stepDown = e.StepDown
	return e, nil
}

// Start is Run. It implements controller-runtime's Runnable.
func (e *Elector) Start(ctx context.Context) error { return e.Run(ctx) }

// Run campaigns as leaderelection.Elector.Run does. If a Runnable with FailManager
// fails, Run ends after that term and returns the error.
func (e *Elector) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if e.group.beginRun(cancel) {
		err := e.Elector.Run(ctx)
		if e.client != nil {
			e.client.close()
		}
		return join(e.group.endRun(), err)
	}
	return e.Elector.Run(ctx) // it returns ErrAlreadyRunning
}
