package migration

import (
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/health"
	"github.com/haproxy-template-ic/incumbent/leaderelection/metrics"
	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
)

// newObservableElector returns an Elector with health checks, events and metrics. These
// features replace client-go's WatchDog, EventRecorder and metrics provider.
func newObservableElector(config *leaderelection.Config, clientset kubernetes.Interface, callbacks leaderelection.Callbacks, logger *slog.Logger,
	recorder resourcelock.EventRecorder, registry *prometheus.Registry, mux *http.ServeMux,
) (*leaderelection.Elector, error) {
	h, m := health.New(), metrics.New()
	registry.MustRegister(m)
	mux.Handle("/healthz", health.Handler(h.Live))
	elector, err := leaderelection.New(config, clientset, callbacks, logger,
		h.Option(), m.Option(), leaderelection.WithEventRecorder(recorder),
		rights.AtStart(clientset, rights.Uses{Events: true}))
	return elector, err
}
