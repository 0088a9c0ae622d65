package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// timing is what most programs have: what is seen here is what users get.
var timing = leaderelection.Config{
	LeaseDuration: leaderelection.DefaultLeaseDuration,
	RenewDeadline: leaderelection.DefaultRenewDeadline,
	RetryPeriod:   leaderelection.DefaultRetryPeriod,
}

const leaseName = "demo"

// runReplica is one replica: a program as a user of the library writes it. It
// prints events and runs until it is asked to stop, or the director is gone.
func runReplica(identity, namespace, kubeconfig string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ctx, orphaned := context.WithCancel(ctx)
	defer orphaned()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends when the director does
		orphaned()
	}()

	config, err := loadConfig(kubeconfig)
	if err != nil {
		return err
	}
	config.UserAgent = "incumbent-demo/" + identity
	r, err := newReplica(identity, namespace, config, &reporter{replica: identity, out: os.Stdout})
	if err != nil {
		return err
	}
	return r.run(ctx)
}

// replica is an elector with its work.
type replica struct {
	elector *leaderelection.Elector
	events  *reporter
}

// newReplica gives the election a client of its own: a busy worker must not
// use up the rate limit that renewals need.
func newReplica(identity, namespace string, config *rest.Config, events *reporter) (*replica, error) {
	electing, err := kubernetes.NewForConfig(rest.CopyConfig(config))
	if err != nil {
		return nil, err
	}
	working, err := kubernetes.NewForConfig(rest.CopyConfig(config))
	if err != nil {
		return nil, err
	}
	r := &replica{events: events}
	w := &worker{
		replica:  identity,
		ledger:   ledger{working.CoreV1().ConfigMaps(namespace)},
		isLeader: func() bool { return r.elector.IsLeader() },
		events:   events,
	}
	electorConfig := timing
	electorConfig.Enabled = true
	electorConfig.Identity = identity
	electorConfig.LeaseName, electorConfig.LeaseNamespace = leaseName, namespace
	electorConfig.ReleaseOnCancel = true
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	r.elector, err = leaderelection.New(&electorConfig, electing, leaderelection.Callbacks{OnStartedLeading: w.run}, logger)
	return r, err
}

// run campaigns until ctx ends, and meanwhile asks IsLeader all the time.
func (r *replica) run(ctx context.Context) error {
	asking, stop := context.WithCancel(context.Background())
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		ask(asking, r.elector.IsLeader, r.events)
	}()
	err := r.elector.Run(ctx)
	stop()
	<-asked
	if err != nil {
		return fmt.Errorf("the elector: %w", err)
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
// frozen while it asks does not claim to have led until it woke.
func ask(ctx context.Context, isLeader func() bool, events *reporter) {
	ticker := time.NewTicker(askPeriod)
	defer ticker.Stop()
	leading, last, lastTrue := false, time.Now(), time.Time{}
	for {
		now := time.Now()
		answer := isLeader()
		if slept := now.Sub(last); slept > nap {
			events.report(event{At: now, Kind: woke, Detail: fmt.Sprintf("noticed a gap of %.1f s, IsLeader() = %t", slept.Seconds(), answer)})
		}
		switch {
		case answer && !leading:
			events.report(event{At: now, Kind: leads})
		case !answer && leading:
			events.report(event{At: lastTrue, Kind: led})
		}
		if answer {
			lastTrue = now
		}
		leading, last = answer, now
		select {
		case <-ctx.Done():
			if leading {
				events.report(event{At: lastTrue, Kind: led})
			}
			return
		case <-ticker.C:
		}
	}
}
