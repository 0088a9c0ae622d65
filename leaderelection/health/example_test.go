package health_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/health"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// This example serves the liveness and readiness probes of a Pod. In a cluster, also
// pass health.WithReview(clientset) to health.New. Ready then reports missing rights
// before the first write.
func Example() {
	server := leaderelectiontest.NewServer() // an in-memory API server
	defer server.Close()

	h, mux := health.New(), http.NewServeMux()
	mux.Handle("/livez", health.Handler(h.Live))
	mux.Handle("/readyz", health.Handler(h.Ready))

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	config := &leaderelection.Config{
		Enabled: true, Identity: "pod-1", LeaseName: "my-app-leader", LeaseNamespace: "default", ReleaseOnCancel: true,
	}
	callbacks := leaderelection.Callbacks{
		OnStartedLeading: func(context.Context) {
			probe(mux, "/livez")
			probe(mux, "/readyz")
			stop()
		},
	}
	elector, err := leaderelection.New(config, server.Client("pod-1").Clientset(), callbacks, silent, h.Option())
	if err != nil {
		fmt.Println(err)
		return
	}
	probe(mux, "/livez")
	probe(mux, "/readyz")
	if err := elector.Run(ctx); err != nil {
		fmt.Println(err)
	}

	// Output:
	// /livez: 200 ok
	// /readyz: 503 Lease default/my-app-leader: the elector is not running
	// /livez: 200 ok
	// /readyz: 200 ok
}

// probe requests a path from handler and prints the response.
func probe(handler http.Handler, path string) {
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, http.NoBody))
	fmt.Printf("%s: %d %s", path, answer.Code, answer.Body)
}
