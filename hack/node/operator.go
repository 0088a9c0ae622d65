//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/haproxy-template-ic/incumbent/leaderelection/guard"
	"github.com/haproxy-template-ic/incumbent/manager"
)

// The elections that an operator can use.
const (
	incumbent         = "incumbent"
	controllerRuntime = "controller-runtime"
	noElection        = "none" // the operator works at once
)

// The signals with which a scenario makes an operator fail.
const (
	exitSignal    = syscall.SIGUSR1 // exit with status 1, without a stop
	memorySignal  = syscall.SIGUSR2 // allocate memory until the kernel kills the process
	unhealthyCall = syscall.SIGHUP  // fail the liveness probe
)

// begun is when this process began, except for the initialization of the packages that it
// imports.
var begun = time.Now()

// runOperator runs an operator in a Pod. The operator has one controller, whose work the
// referee records.
func runOperator(args []string) error {
	flags := flag.NewFlagSet("operator", flag.ExitOnError)
	election := flags.String("election", incumbent, "incumbent, controller-runtime or none")
	lease := flags.String("lease", "", "name of the Lease")
	referee := flags.String("referee", "", "address of the referee")
	_ = flags.Parse(args)

	logger := logr.FromSlogHandler(slog.NewTextHandler(os.Stdout, nil))
	log.SetLogger(logger)
	klog.SetLogger(logger)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	reports, err := dialReferee(ctx, *referee)
	if err != nil {
		return err
	}
	var unhealthy atomic.Bool
	go fail(&unhealthy)

	namespace := os.Getenv("POD_NAMESPACE")
	options := ctrl.Options{
		LeaderElection: *election != noElection, LeaderElectionID: *lease, LeaderElectionNamespace: namespace,
		LeaderElectionReleaseOnCancel: true,
		HealthProbeBindAddress:        ":8081", Metrics: metricsserver.Options{BindAddress: ":8080"},
		Cache: cache.Options{DefaultNamespaces: map[string]cache.Config{namespace: {}}},
	}
	mgr, err := newManager(*election, options)
	if err != nil {
		return err
	}
	live, ready, allowed := healthz.Ping, healthz.Ping, func(ctx context.Context) bool { return ctx.Err() == nil }
	if *election == incumbent {
		live, ready = manager.Live(mgr), manager.Ready(mgr)
		allowed = func(ctx context.Context) bool { return guard.Check(ctx, manager.ElectorOf(mgr)) == nil }
	}
	work := reconcile.Func(func(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
		workUntilDone(ctx, allowed, reports.send)
		return ctrl.Result{}, nil
	})
	warm := true
	err = errors.Join(
		mgr.AddReadyzCheck("leaderelection", ready),
		mgr.AddHealthzCheck("leaderelection", live),
		mgr.AddHealthzCheck("fail-on-request", func(*http.Request) error {
			if unhealthy.Load() {
				return errors.New("this process was asked to fail its liveness probe")
			}
			return nil
		}),
		builder.ControllerManagedBy(mgr).Named("settings").For(&corev1.ConfigMap{}).
			WithOptions(controller.Options{EnableWarmup: &warm}).Complete(work),
	)
	if err != nil {
		return err
	}
	return mgr.Start(ctx)
}

func newManager(election string, options ctrl.Options) (crmanager.Manager, error) {
	cfg, err := config.GetConfig()
	if err != nil {
		return nil, err
	}
	switch election {
	case incumbent:
		return manager.New(cfg, options)
	case controllerRuntime, noElection:
		return crmanager.New(cfg, options)
	default:
		return nil, fmt.Errorf("election %q is unknown: choose %s, %s or %s", election, incumbent, controllerRuntime, noElection)
	}
}

// fail makes the process fail in the way that a signal requests.
func fail(unhealthy *atomic.Bool) {
	signals := make(chan os.Signal, 3)
	signal.Notify(signals, exitSignal, memorySignal, unhealthyCall)
	for s := range signals {
		switch s {
		case exitSignal:
			os.Exit(1)
		case memorySignal:
			for hold := [][]byte{}; ; {
				block := make([]byte, 1<<20)
				for i := 0; i < len(block); i += 4096 {
					block[i] = 1 // only memory that was written counts
				}
				hold = append(hold, block)
			}
		case unhealthyCall:
			unhealthy.Store(true)
		}
	}
}

const (
	beat = 2 * time.Millisecond
	// frozen is the time between two beats from which on the process counts as frozen
	// meanwhile. A frozen process does not work.
	frozen = 500 * time.Millisecond
)

// workUntilDone works until ctx is done. Before each beat it asks allowed, as an operator
// asks before a write. It reports when the work begins and when it ends.
func workUntilDone(ctx context.Context, allowed func(context.Context) bool, send func(kind, time.Time)) {
	var last time.Time // the last beat; zero while the process does not work
	stop := func(at time.Time) {
		if !last.IsZero() {
			send(ended, at)
			last = time.Time{}
		}
	}
	for ctx.Err() == nil {
		now := time.Now()
		if now.Sub(last) > frozen {
			stop(last)
		}
		switch {
		case !allowed(ctx):
			stop(now)
		case last.IsZero():
			send(began, now)
			fallthrough
		default:
			last = now
		}
		select {
		case <-ctx.Done():
		case <-time.After(beat):
		}
	}
	stop(time.Now())
}

// reporter sends reports to the referee.
type reporter struct {
	mu      sync.Mutex
	encoder *json.Encoder
	process report
}

// dialReferee connects to the referee and reports the start of this process. The kernel
// closes the connection when the process ends, so the referee learns that at once.
func dialReferee(ctx context.Context, address string) (*reporter, error) {
	connection, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("the referee does not answer: %w", err)
	}
	r := &reporter{encoder: json.NewEncoder(connection), process: report{
		Namespace: os.Getenv("POD_NAMESPACE"), Pod: os.Getenv("POD_NAME"), UID: os.Getenv("POD_UID"), Started: begun,
	}}
	r.send(started, begun)
	return r, nil
}

func (r *reporter) send(k kind, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rep := r.process
	rep.Kind, rep.At = k, at
	if err := r.encoder.Encode(rep); err != nil {
		panic(fmt.Sprintf("the referee is gone: %v", err)) // unreported work must not go on
	}
}
