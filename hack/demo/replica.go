package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/log"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/haproxy-template-ic/incumbent/hack/spawn"
	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/manager"
)

// timing is what most programs have: what is seen here is what users get.
var timing = leaderelection.Config{
	LeaseDuration: leaderelection.DefaultLeaseDuration,
	RenewDeadline: leaderelection.DefaultRenewDeadline,
	RetryPeriod:   leaderelection.DefaultRetryPeriod,
}

const leaseName = "demo"

// runReplica is one replica: an operator as a user of the library writes it. It
// prints events and runs until it is asked to stop, the director is gone, or its
// leadership was lost: then its process ends, as that of an operator must.
func runReplica(identity, namespace, kubeconfig string, fenced bool) error {
	ctx, stop := spawn.Context()
	defer stop()
	config, err := loadConfig(kubeconfig)
	if err != nil {
		return err
	}
	config.UserAgent = "incumbent-demo/" + identity
	if fenced {
		config = asPod(config, namespace, identity)
	}
	log.SetLogger(logr.FromSlogHandler(slog.NewTextHandler(os.Stderr, nil)))
	r, err := newReplica(identity, namespace, config, &reporter{replica: identity, out: os.Stdout})
	if err != nil {
		return err
	}
	if fenced {
		r.late = func() { r.events.report(r.ledger.writeLate(identity)) }
	}
	return r.run(ctx)
}

// replica is a Manager whose leader has work to do.
type replica struct {
	manager crmanager.Manager
	elector *leaderelection.Elector
	ledger  ledger
	events  *reporter
	late    func() // writes past the elector, after the process was frozen; nil: it does not
}

// newReplica makes a Manager with a worker, which needs leader election as each
// Runnable does that does not say otherwise.
func newReplica(identity, namespace string, config *rest.Config, events *reporter) (*replica, error) {
	mgr, err := manager.New(config, crmanager.Options{
		LeaderElection: true, LeaderElectionID: leaseName, LeaderElectionNamespace: namespace,
		LeaseDuration: &timing.LeaseDuration, RenewDeadline: &timing.RenewDeadline, RetryPeriod: &timing.RetryPeriod,
		Metrics: metricsserver.Options{BindAddress: "0"}, // all replicas are on one machine
	}, manager.WithIdentity(identity))
	if err != nil {
		return nil, err
	}
	working, err := kubernetes.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, err
	}
	r := &replica{
		manager: mgr, elector: manager.ElectorOf(mgr), events: events,
		ledger: ledger{working.CoreV1().ConfigMaps(namespace)},
	}
	w := &worker{
		replica:  identity,
		ledger:   r.ledger,
		isLeader: r.elector.IsLeader,
		events:   events,
	}
	return r, mgr.Add(crmanager.RunnableFunc(w.run))
}

// run runs the Manager until ctx ends or it stops by itself, and meanwhile asks
// IsLeader all the time.
func (r *replica) run(ctx context.Context) error {
	asking, stop := context.WithCancel(context.Background())
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		ask(asking, r.elector.IsLeader, r.late, r.events)
	}()
	err := r.manager.Start(ctx)
	stop()
	<-asked
	if err != nil {
		return fmt.Errorf("the manager: %w", err)
	}
	return nil
}

const (
	askPeriod = 5 * time.Millisecond
	// nap is how long the process must have been frozen to speak of it.
	nap = 2 * time.Second
)

// ask reports when isLeader begins to answer true and when it did so for the
// last time. The times are from before the question, so that a process that is
// frozen while it asks does not claim to have led until it woke. It asks once
// more when ctx has ended: the process may have been frozen until then.
func ask(ctx context.Context, isLeader func() bool, late func(), events *reporter) {
	ticker := time.NewTicker(askPeriod)
	defer ticker.Stop()
	leading, last, lastTrue := false, time.Now(), time.Time{}
	var writing sync.WaitGroup
	defer writing.Wait()
	for done := false; ; {
		now := time.Now()
		answer := isLeader()
		if slept := now.Sub(last); slept > nap {
			events.report(event{At: now, Kind: woke, Detail: fmt.Sprintf("noticed a gap of %.1f s, IsLeader() = %t", slept.Seconds(), answer)})
			if leading && late != nil {
				writing.Go(late)
			}
		}
		answer = answer && !done
		switch {
		case answer && !leading:
			events.report(event{At: now, Kind: leads})
		case !answer && leading:
			events.report(event{At: lastTrue, Kind: led})
		}
		if done {
			return
		}
		if answer {
			lastTrue = now
		}
		leading, last = answer, now
		select {
		case <-ctx.Done():
			done = true
		case <-ticker.C:
		}
	}
}
