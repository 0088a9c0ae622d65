package manager

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"
	crmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/health"
	"github.com/haproxy-template-ic/incumbent/leaderelection/metrics"
	"github.com/haproxy-template-ic/incumbent/leaderelection/status"
)

// StatusPath is the path of the status page on the metrics server of a Manager that New
// returned. The status page of an Elector that NewElector returned has the path
// StatusPath/<LeaseNamespace>/<LeaseName>, even if its election is not enabled.
const StatusPath = "/leaderelection"

// Metrics returns the metrics of all Electors of this package, which
// controller-runtime's registry exports. A program that starts and ends many Managers
// should call Metrics.Forget for each Lease that it no longer uses.
func Metrics() *metrics.Metrics { return registered() }

// registered registers the metrics with controller-runtime at the first call. If the
// program has already registered a metrics.Metrics, the Electors use it.
var registered = sync.OnceValue(func() *metrics.Metrics { return register(crmetrics.Registry) })

func register(registry prometheus.Registerer) *metrics.Metrics {
	m := metrics.New()
	var already prometheus.AlreadyRegisteredError
	if err := registry.Register(m); errors.As(err, &already) {
		if existing, ok := already.ExistingCollector.(*metrics.Metrics); ok {
			return existing
		}
	}
	return m
}

// observability contains the health checks and the status page of one Elector.
type observability struct {
	health *health.Health
	page   *status.Page
	failed *atomic.Pointer[string] // the text of the error that Start returned; nil if there is none
}

// newObservability returns the observability of an Elector. The readiness check uses
// reviewer to ask the API server for missing rights.
func newObservability(reviewer kubernetes.Interface) observability {
	return observability{health: health.New(health.WithReview(reviewer)), page: status.New(), failed: &atomic.Pointer[string]{}}
}

// ended records the error that Start returns, and returns this error. The Elector's own
// Run has returned nil after a loss of leadership, or if a Runnable has failed.
func (o observability) ended(err error) error {
	if err != nil {
		o.failed.Store(ptr.To(err.Error()))
	}
	return err
}

// ready is the readiness check. After Start has returned an error, the check
// fails until Start is called again.
func (o observability) ready(r *http.Request) error {
	if text := o.failed.Load(); text != nil {
		return fmt.Errorf("the election has ended: %s", *text)
	}
	return o.health.Ready(r)
}

func (o observability) options() []leaderelection.Option {
	return append(podOf(os.Getenv), registered().Option(), o.health.Option(), o.page.Option())
}

// podOf returns options that make the Elector also record its events on the pod, and use
// proof of death. POD_CONTAINER is the name of the container, which is necessary only if
// the pod has several. podOf returns nil unless POD_NAMESPACE, POD_NAME and POD_UID are
// all set.
func podOf(getenv func(string) string) []leaderelection.Option {
	namespace, name, uid := getenv("POD_NAMESPACE"), getenv("POD_NAME"), getenv("POD_UID")
	if namespace == "" || name == "" || uid == "" {
		return nil
	}
	return []leaderelection.Option{
		leaderelection.WithPod(namespace, name, types.UID(uid)),
		leaderelection.WithProofOfDeath(namespace, name, types.UID(uid), getenv("POD_CONTAINER")),
	}
}

// serve returns a copy of the map handlers that also contains the status page at
// StatusPath. If the program has its own handler at StatusPath, serve keeps that
// handler.
func (o observability) serve(handlers map[string]http.Handler) map[string]http.Handler {
	handlers = maps.Clone(handlers)
	if handlers == nil {
		handlers = map[string]http.Handler{}
	}
	if handlers[StatusPath] == nil {
		handlers[StatusPath] = o.page
	}
	return handlers
}

// Live returns the check for the liveness probe of a Manager that New returned, see
// package health. The check fails only if the process must be restarted. For any other
// Manager the check never fails.
//
//	mgr.AddHealthzCheck("leaderelection", manager.Live(mgr))
//	mgr.AddReadyzCheck("leaderelection", manager.Ready(mgr))
func Live(mgr crmanager.Manager) healthz.Checker {
	if m, ok := mgr.(*electedManager); ok {
		return m.observability.health.Live
	}
	return healthz.Ping
}

// Ready returns the check for the readiness probe of a Manager that New returned, see
// package health. The check fails while this process cannot take part in the election,
// because the Lease cannot be read, a right is missing, or caches have not synced. It
// also fails after Start has returned an error. The check does not depend on leadership.
// For any other Manager the check never fails.
func Ready(mgr crmanager.Manager) healthz.Checker {
	if m, ok := mgr.(*electedManager); ok {
		return m.observability.ready
	}
	return healthz.Ping
}

// Live is the check for the liveness probe, see package health. Pass this method to
// AddHealthzCheck.
func (e *Elector) Live(r *http.Request) error { return e.observability.health.Live(r) }

// Ready is the check for the readiness probe, see package health. Pass this method to
// AddReadyzCheck. The check does not depend on leadership. After Run has returned an
// error, the check fails until Run is called again.
func (e *Elector) Ready(r *http.Request) error { return e.observability.ready(r) }

// serveStatus adds the status page to the metrics server of mgr. If the server does not
// accept the page, for example because the server was already started, serveStatus logs
// the error.
func (e *Elector) serveStatus(mgr crmanager.Manager) {
	c := e.Config()
	pagePath := path.Join(StatusPath, c.LeaseNamespace, c.LeaseName) // both can be empty if the election is not enabled
	if err := mgr.AddMetricsServerExtraHandler(pagePath, e.observability.page); err != nil {
		mgr.GetLogger().V(1).Info("Not serving the status page", "path", pagePath, "err", err.Error())
	}
}
