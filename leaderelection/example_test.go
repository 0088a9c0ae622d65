package leaderelection_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

func Example() {
	clientset, logger := fake.NewClientset(), slog.New(slog.DiscardHandler)
	ctx, stop := context.WithCancel(context.Background())

	config := &leaderelection.Config{
		Enabled: true, Identity: "pod-1", LeaseName: "my-app-leader", LeaseNamespace: "default",
		LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
		ReleaseOnCancel: true,
	}
	callbacks := leaderelection.Callbacks{
		OnStartedLeading: func(ctx context.Context) { // became leader
			fmt.Println("started")
			stop() // cancels ctx, as SIGTERM does in a real program
			<-ctx.Done()
			fmt.Println("cancelled:", errors.Is(context.Cause(ctx), leaderelection.ErrCancelled))
		},
		OnStoppedLeading: func() { fmt.Println("stopped") }, // leadership has ended
		OnNewLeader:      func(string) {},                   // a new leader was observed
	}
	elector, err := leaderelection.New(config, clientset, callbacks, logger)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := elector.Run(ctx); err != nil { // Run blocks until ctx is cancelled
		fmt.Println(err)
		return
	}
	fmt.Println("released")
	// Output:
	// started
	// cancelled: true
	// stopped
	// released
}

// A complete main function. It stops on an interrupt or SIGTERM.
func Example_main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()

	restConfig, err := rest.InClusterConfig()
	if err != nil {
		fmt.Println("not in a cluster")
		return
	}
	config := &leaderelection.Config{
		Enabled: true, Identity: os.Getenv("POD_NAME"), LeaseName: "my-app-leader", LeaseNamespace: os.Getenv("POD_NAMESPACE"),
		ReleaseOnCancel: true, StopTimeout: 25 * time.Second,
	}
	clientset, err := kubernetes.NewForConfig(config.ClientConfig(restConfig)) // a clientset that is used only for the election
	if err != nil {
		slog.Error("cannot create the client", "err", err)
		os.Exit(1)
	}
	elector, err := leaderelection.New(config, clientset, leaderelection.Callbacks{OnStartedLeading: work}, nil)
	if err != nil {
		slog.Error("invalid configuration", "err", err)
		os.Exit(1)
	}
	if err := elector.Run(ctx); err != nil {
		slog.Error("the work did not stop", "err", err)
		os.Exit(1) // exit, because another candidate may already lead
	}
	// Output: not in a cluster
}

// work is an example of work that only one process may do at a time. It returns when
// ctx is cancelled.
func work(ctx context.Context) {
	for ctx.Err() == nil {
		term, _ := leaderelection.TermFromContext(ctx)
		leaderelection.LoggerFromContext(ctx).Info("working", "token", term.Token)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

func ExampleElector_Changes() {
	elector, err := leaderelection.New(&leaderelection.Config{Enabled: false, Identity: "dev"}, nil, leaderelection.Callbacks{}, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error)
	go func() { ran <- elector.Run(ctx) }()
	for state := range elector.Changes(context.Background()) {
		if state.Leading {
			fmt.Println("leader:", state.Leader)
			break
		}
	}
	stop()
	fmt.Println(<-ran)
	// Output:
	// leader: dev
	// <nil>
}
