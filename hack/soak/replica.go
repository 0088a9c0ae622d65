package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

const (
	leaseName = "soak"
	// exitWorkTooSlow is the exit status of a replica whose work did not stop in time.
	exitWorkTooSlow = 3
)

// settings are the parameters of a replica's process.
type settings struct {
	Kubeconfig string
	Timing     lab.Timing
}

// runReplica runs one replica. The replica is an Elector and a worker that writes into
// both ledgers while the replica leads.
func runReplica(ctx context.Context, s settings, events *lab.Reporter) error {
	restConfig, err := lab.LoadConfig(s.Kubeconfig)
	if err != nil {
		return err
	}
	config := leaderelection.Config{
		Enabled: true, Identity: events.Replica, ReleaseOnCancel: true, LeaseName: leaseName, LeaseNamespace: namespace,
		LeaseDuration: s.Timing.LeaseDuration, RenewDeadline: s.Timing.RenewDeadline, RetryPeriod: s.Timing.RetryPeriod,
	}
	electing, err := kubernetes.NewForConfig(config.ClientConfig(restConfig))
	if err != nil {
		return err
	}
	restConfig.QPS = -1 // no rate limit for the worker's requests
	w := worker{events: events}
	if w.client, err = kubernetes.NewForConfig(restConfig); err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	elector, err := leaderelection.New(&config, electing, leaderelection.Callbacks{OnStartedLeading: func(ctx context.Context) { w.run(ctx) }}, logger)
	if err != nil {
		return err
	}
	w.isLeader = elector.IsLeader
	err = lab.Sampler{IsLeader: elector.IsLeader, Events: events}.During(func() error { return elector.Run(ctx) })
	if errors.Is(err, leaderelection.ErrWorkStillRunning) {
		os.Exit(exitWorkTooSlow)
	}
	return err
}

// A worker does the leader's work. It writes entries into both ledgers.
type worker struct {
	client   kubernetes.Interface
	isLeader func() bool
	events   *lab.Reporter
}

// run writes entries into both ledgers until ctx is done.
func (w *worker) run(ctx context.Context) {
	var both sync.WaitGroup
	for _, name := range []string{unguardedLedger, guardedLedger} {
		l := ledger(w.client, name)
		both.Go(func() {
			lab.Work(ctx, w.events.Replica, func(ctx context.Context, e lab.Entry) bool {
				w.write(ctx, l, e)
				return true // a failed write is not repeated, because the next entry follows soon
			})
		})
	}
	both.Wait()
}

// write calls IsLeader. If IsLeader returns true, write replaces the entry in the ledger.
// The new entry contains the time just before the call. The entry shows that the replica
// was at work at this time.
func (w *worker) write(ctx context.Context, l lab.Ledger, e lab.Entry) {
	e.At = time.Now()
	if w.isLeader() {
		_ = l.Overwrite(ctx, e)
	}
}
