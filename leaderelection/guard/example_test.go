package guard_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"k8s.io/client-go/rest"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/guard"
)

// Create a configuration whose clients write only while the Elector leads. Do not use
// this configuration for the Elector's own client.
func ExampleTransport() {
	clients := func(cfg *rest.Config, elector *leaderelection.Elector) *rest.Config {
		guarded := rest.CopyConfig(cfg)
		guarded.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return guard.Transport(elector, next)
		})
		return guarded
	}
	_ = clients
}

// Before a write to a system other than Kubernetes, check that this process still
// leads.
func ExampleCheck() {
	work := make(chan context.Context, 1)
	elector, err := leaderelection.New(&leaderelection.Config{}, nil, leaderelection.Callbacks{ // Enabled is false, so the Elector leads without a Lease
		OnStartedLeading: func(ctx context.Context) { work <- ctx },
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- elector.Run(ctx) }()

	term := <-work
	fmt.Println("in the term:", guard.Check(term, elector))
	stop()
	if err := <-done; err != nil {
		panic(err)
	}
	err = guard.Check(term, elector)
	fmt.Println("refused after the term:", errors.Is(err, guard.ErrWriteRefused), errors.Is(err, leaderelection.ErrCancelled))
	// Output:
	// in the term: <nil>
	// refused after the term: true true
}
