package manager

import (
	"context"
	"errors"
	"slices"

	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// An Elector is a leaderelection.Elector that belongs to a Manager, and that
// LeaderOnly can give work to.
type Elector struct {
	*leaderelection.Elector
	crew   *crew
	client *electionClient // nil if the election is not enabled
	onCall onCall
}

var (
	_ crmanager.Runnable               = (*Elector)(nil)
	_ crmanager.LeaderElectionRunnable = (*Elector)(nil)
)

// NewElector makes an Elector out of what the Manager has, and adds it to the
// Manager: it campaigns while the Manager runs, and its error stops the Manager.
// Its client is made from the Manager's configuration, and shares neither a rate
// limiter nor connections with the application; it logs and records events where
// the Manager does. The namespace and the identity default as those of New do.
// There may be several in one Manager, one for each Lease.
//
// The options win over what the Manager sets.
func NewElector(mgr crmanager.Manager, config *leaderelection.Config, callbacks leaderelection.Callbacks, opts ...leaderelection.Option) (*Elector, error) {
	if mgr == nil || config == nil {
		return nil, errors.New("manager: NewElector wants a Manager and a *leaderelection.Config")
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
	e.show(mgr)
	return e, nil
}

func newElector(config leaderelection.Config, client *electionClient, callbacks leaderelection.Callbacks, mgr crmanager.Manager, opts []leaderelection.Option) (*Elector, error) {
	logger := slogOf(mgr.GetLogger())
	e := &Elector{client: client, crew: newCrew(logger), onCall: newOnCall(nil)}
	if client != nil {
		e.onCall = newOnCall(client)
	}
	work := callbacks.OnStartedLeading
	callbacks.OnStartedLeading = func(ctx context.Context) { e.crew.lead(ctx, work) }
	opts = slices.Concat([]leaderelection.Option{
		leaderelection.WithEventRecorder(mgr.GetEventRecorderFor(config.Identity)), //nolint:staticcheck // the only one with the elector's kind of events
	}, e.onCall.options(), opts)
	var err error
	if e.Elector, err = leaderelection.New(&config, client, callbacks, logger, opts...); err != nil {
		return nil, err
	}
	e.crew.stepDown = e.StepDown
	return e, nil
}

// Start is Run, under the name that controller-runtime's Runnable has for it.
func (e *Elector) Start(ctx context.Context) error { return e.Run(ctx) }

// Run campaigns as leaderelection.Elector.Run does. It also ends, with their
// errors, after a term in which Runnables have failed that were added with
// FailManager.
func (e *Elector) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if e.crew.enlist(cancel) {
		err := e.Elector.Run(ctx)
		if e.client != nil {
			e.client.close()
		}
		return join(e.crew.dismiss(), err)
	}
	return e.Elector.Run(ctx) // it says that it runs already
}
