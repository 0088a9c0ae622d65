package metrics_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/metrics"
)

// This example exports the metrics of an Elector at /metrics.
func Example() {
	server := leaderelectiontest.NewServer() // an in-memory API server
	defer server.Close()
	restConfig, logger := server.Client("pod-1").Config(), slog.New(slog.DiscardHandler)
	restConfig.Host = "https://10.96.0.1:443"
	clientset := kubernetes.NewForConfigOrDie(restConfig)

	m, registry, mux := metrics.New(), prometheus.NewRegistry(), http.NewServeMux()
	registry.MustRegister(m)
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	config := &leaderelection.Config{
		Enabled: true, Identity: "pod-1", LeaseName: "my-app-leader", LeaseNamespace: "default", ReleaseOnCancel: true,
	}
	callbacks := leaderelection.Callbacks{
		OnStartedLeading: func(context.Context) {
			scrape(mux, "incumbent_leader_election_is_leader")
			stop()
		},
	}
	elector, err := leaderelection.New(config, clientset, callbacks, logger, m.Option())
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := elector.Run(ctx); err != nil {
		fmt.Println(err)
		return
	}
	scrape(mux, "incumbent_leader_election_overruns_total")

	// Output:
	// incumbent_leader_election_is_leader{api_server="10.96.0.1:443",elector="",lease_name="my-app-leader",lease_namespace="default"} 1
	// incumbent_leader_election_overruns_total{api_server="10.96.0.1:443",elector="",lease_name="my-app-leader",lease_namespace="default"} 0
}

// scrape requests /metrics from handler and prints the values of one metric.
func scrape(handler http.Handler, metric string) {
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	for line := range strings.Lines(answer.Body.String()) {
		if strings.HasPrefix(line, metric+"{") {
			fmt.Print(line)
		}
	}
}
