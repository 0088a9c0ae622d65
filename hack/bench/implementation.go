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

	"github.com/haproxy-template-ic/incumbent/hack/lab"
	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/manager"
)

var defaultTiming = lab.Timing{LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second}

// A candidateSpec contains the parameters of one candidate.
type candidateSpec struct {
	timing   lab.Timing
	lease    string
	identity string
	client   *client
	work     func(context.Context) // does the leader's work until the context is done

	// These functions are used only in a separate process. Each function may be nil.
	ready   func()                                         // called when the candidate begins to campaign
	observe func(context.Context, *leaderelection.Elector) // called with the Elector of the candidate; runs until the context is done
	operate func(crmanager.Manager) error                  // adds a controller to the Manager; the controller does the work
}

// An implementation runs leader election with one library, for instance client-go. The
// function campaign runs one candidate until ctx is done. The function returns after
// the Lease was released.
type implementation struct {
	name     string
	campaign func(ctx context.Context, c candidateSpec) error
}

// The names of the implementations and of the limit. The limit is the shortest possible
// handover, see the type limit.
const (
	limitName    = "limit"
	clientGo     = "client-go"
	runtimeName  = "controller-runtime"
	incumbent    = "incumbent"
	incumbentMgr = "incumbent manager"
)

var implementations = []implementation{
	{clientGo, campaignClientGo},
	{runtimeName, campaignControllerRuntime},
	{incumbent, campaignIncumbent},
	{incumbentMgr, campaignIncumbentManager},
}

func implementationNamed(name string) implementation {
	for _, i := range implementations {
		if i.name == name {
			return i
		}
	}
	panic("bug: no implementation " + name)
}

// sideBySide calls measure for all implementations at the same time. It
// returns the results, keyed by the name of the implementation.
func sideBySide[R any](measure func(implementation) (R, error)) (map[string]R, error) {
	type result struct {
		name  string
		value R
		err   error
	}
	results := make(chan result)
	for _, i := range implementations {
		go func() {
			value, err := measure(i)
			results <- result{i.name, value, err}
		}()
	}
	values := map[string]R{}
	var errs []error
	for range implementations {
		r := <-results
		values[r.name] = r.value
		errs = append(errs, r.err)
	}
	return values, errors.Join(errs...)
}

func campaignClientGo(ctx context.Context, c candidateSpec) error {
	ctx = logr.NewContext(ctx, logr.Discard())
	elector, err := clientleaderelection.NewLeaderElector(clientleaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: namespace, Name: c.lease},
			Client:     c.client.clientset().CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: c.identity},
		},
		LeaseDuration: c.timing.LeaseDuration, RenewDeadline: c.timing.RenewDeadline, RetryPeriod: c.timing.RetryPeriod,
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

func campaignIncumbent(ctx context.Context, c candidateSpec) error {
	elector, err := leaderelection.New(c.config(), c.client.clientset(),
		leaderelection.Callbacks{OnStartedLeading: c.work}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	c.isReady()
	defer c.startObserver(elector)()
	return elector.Run(ctx)
}

func (c candidateSpec) isReady() {
	if c.ready != nil {
		c.ready()
	}
}

// startObserver calls observe in a new goroutine. The returned function
// cancels the context of the goroutine and waits until the goroutine has ended.
func (c candidateSpec) startObserver(elector *leaderelection.Elector) (stop func()) {
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

func (c candidateSpec) config() *leaderelection.Config {
	return &leaderelection.Config{
		Enabled: true, Identity: c.identity, LeaseName: c.lease, LeaseNamespace: namespace,
		LeaseDuration: c.timing.LeaseDuration, RenewDeadline: c.timing.RenewDeadline, RetryPeriod: c.timing.RetryPeriod,
		ReleaseOnCancel: true,
	}
}

func campaignControllerRuntime(ctx context.Context, c candidateSpec) error {
	options := c.managerOptions()
	options.LeaderElectionReleaseOnCancel = true
	mgr, err := crmanager.New(c.client.config, options)
	if err != nil {
		return err
	}
	return c.runManager(ctx, mgr)
}

func campaignIncumbentManager(ctx context.Context, c candidateSpec) error {
	mgr, err := manager.New(c.client.config, c.managerOptions(), manager.WithIdentity(c.identity))
	if err != nil {
		return err
	}
	return c.runManager(ctx, mgr)
}

func (c candidateSpec) managerOptions() crmanager.Options {
	return crmanager.Options{
		LeaderElection: true, LeaderElectionID: c.lease, LeaderElectionNamespace: namespace,
		LeaseDuration: &c.timing.LeaseDuration, RenewDeadline: &c.timing.RenewDeadline, RetryPeriod: &c.timing.RetryPeriod,
		Logger:  logr.Discard(),
		Metrics: metricsserver.Options{BindAddress: "0"},
		Cache:   cache.Options{DefaultNamespaces: map[string]cache.Config{namespace: {}}},
	}
}

func (c candidateSpec) runManager(ctx context.Context, mgr crmanager.Manager) error {
	operate := c.operate
	if operate == nil {
		operate = c.addWork
	}
	if err := errors.Join(operate(mgr), mgr.Add(everywhere{c.isReady})); err != nil {
		return err
	}
	defer c.startObserver(manager.ElectorOf(mgr))()
	return mgr.Start(ctx)
}

func (c candidateSpec) addWork(mgr crmanager.Manager) error {
	return mgr.Add(crmanager.RunnableFunc(func(ctx context.Context) error {
		c.work(ctx)
		return nil
	}))
}

// everywhere is a Runnable that does not need leader election. It calls f
// when the Manager starts.
type everywhere struct{ f func() }

// Start implements manager.Runnable.
func (e everywhere) Start(context.Context) error { e.f(); return nil }

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (e everywhere) NeedLeaderElection() bool { return false }
