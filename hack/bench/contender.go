package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientleaderelection "k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/manager"
)

// A pace is the three durations of an election.
type pace struct{ lease, renew, retry time.Duration }

func (p pace) String() string {
	return p.lease.String() + "/" + p.renew.String() + "/" + p.retry.String()
}

var defaultPace = pace{15 * time.Second, 10 * time.Second, 2 * time.Second}

// A candidate is one process that wants to lead, as far as the others know.
type candidate struct {
	pace     pace
	lease    string
	identity string
	client   *client
	work     func(context.Context) // returns as soon as its context ends

	// A process of a fleet has these too; they may be nil.
	ready   func()                                         // it campaigns, or is about to
	observe func(context.Context, *leaderelection.Elector) // until the context ends
	operate func(crmanager.Manager) error                  // adds a controller in the place of the work
}

// A contender is a way to elect a leader. Its campaign goes on until ctx is done,
// the work has stopped and the Lease was released.
type contender struct {
	name     string
	campaign func(ctx context.Context, c candidate) error
}

// The names of the contenders, and of the limit, which is none.
const (
	limitName    = "limit"
	clientGo     = "client-go"
	runtimeName  = "controller-runtime"
	incumbent    = "incumbent"
	incumbentMgr = "incumbent manager"
)

var contenders = []contender{
	{clientGo, campaignClientGo},
	{runtimeName, campaignControllerRuntime},
	{incumbent, campaignIncumbent},
	{incumbentMgr, campaignIncumbentManager},
}

func contenderNamed(name string) contender {
	for _, c := range contenders {
		if c.name == name {
			return c
		}
	}
	panic("bug: no contender " + name)
}

func campaignClientGo(ctx context.Context, c candidate) error {
	ctx = logr.NewContext(ctx, logr.Discard())
	elector, err := clientleaderelection.NewLeaderElector(clientleaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: namespace, Name: c.lease},
			Client:     c.client.clientset().CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: c.identity},
		},
		LeaseDuration: c.pace.lease, RenewDeadline: c.pace.renew, RetryPeriod: c.pace.retry,
		ReleaseOnCancel: true,
		Callbacks: clientleaderelection.LeaderCallbacks{
			OnStartedLeading: c.work,
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return err
	}
	c.isReady()
	elector.Run(ctx)
	return nil
}

func campaignIncumbent(ctx context.Context, c candidate) error {
	elector, err := leaderelection.New(c.config(), c.client.clientset(),
		leaderelection.Callbacks{OnStartedLeading: c.work}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	c.isReady()
	defer c.watch(elector)()
	return elector.Run(ctx)
}

func (c candidate) isReady() {
	if c.ready != nil {
		c.ready()
	}
}

// watch has the elector observed until stop is called.
func (c candidate) watch(elector *leaderelection.Elector) (stop func()) {
	if c.observe == nil || elector == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.observe(ctx, elector)
	}()
	return func() { cancel(); <-done }
}

func (c candidate) config() *leaderelection.Config {
	return &leaderelection.Config{
		Enabled: true, Identity: c.identity, LeaseName: c.lease, LeaseNamespace: namespace,
		LeaseDuration: c.pace.lease, RenewDeadline: c.pace.renew, RetryPeriod: c.pace.retry,
		ReleaseOnCancel: true,
	}
}

func campaignControllerRuntime(ctx context.Context, c candidate) error {
	options := c.managerOptions()
	options.LeaderElectionReleaseOnCancel = true
	mgr, err := crmanager.New(c.client.config, options)
	if err != nil {
		return err
	}
	return c.runManager(ctx, mgr)
}

func campaignIncumbentManager(ctx context.Context, c candidate) error {
	mgr, err := manager.New(c.client.config, c.managerOptions(), manager.WithIdentity(c.identity))
	if err != nil {
		return err
	}
	return c.runManager(ctx, mgr)
}

func (c candidate) managerOptions() crmanager.Options {
	return crmanager.Options{
		LeaderElection: true, LeaderElectionID: c.lease, LeaderElectionNamespace: namespace,
		LeaseDuration: &c.pace.lease, RenewDeadline: &c.pace.renew, RetryPeriod: &c.pace.retry,
		Logger:  logr.Discard(),
		Metrics: metricsserver.Options{BindAddress: "0"},
		Cache:   cache.Options{DefaultNamespaces: map[string]cache.Config{namespace: {}}},
	}
}

func (c candidate) runManager(ctx context.Context, mgr crmanager.Manager) error {
	operate := c.operate
	if operate == nil {
		operate = c.addWork
	}
	if err := errors.Join(operate(mgr), mgr.Add(everywhere{c.isReady})); err != nil {
		return err
	}
	defer c.watch(manager.ElectorOf(mgr))()
	return mgr.Start(ctx)
}

func (c candidate) addWork(mgr crmanager.Manager) error {
	return mgr.Add(crmanager.RunnableFunc(func(ctx context.Context) error {
		c.work(ctx)
		return nil
	}))
}

// everywhere is a Runnable that calls f, whether or not its Manager leads.
type everywhere struct{ f func() }

// Start implements manager.Runnable.
func (e everywhere) Start(context.Context) error { e.f(); return nil }

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (e everywhere) NeedLeaderElection() bool { return false }
