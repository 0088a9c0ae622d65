package manager

import (
	"maps"
	"net/http"
	"os"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
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
// StatusPath/<LeaseNamespace>/<LeaseName>.
const StatusPath = "/leaderelection"

// registered returns the metrics that all Electors in this process share. The first
// call registers the metrics with controller-runtime. If the program has already
// registered its own metrics.Metrics, this registration fails, and the program's
// metrics remain registered.
var registered = sync.OnceValue(func() *metrics.Metrics {
	m := metrics.New()
	_ = crmetrics.Registry.Register(m)
	return m
})

// observability contains the health checks and the status page of one Elector.
type observability struct {
	health *health.Health
	page   *status.Page
}

// newObservability returns the observability of an Elector. If reviewer is not nil, the
// readiness check uses reviewer to ask the API server for missing rights.
func newObservability(reviewer kubernetes.Interface) observability {
	var opts []health.Option
	if reviewer != nil {
		opts = append(opts, health.WithReview(reviewer))
	}
	return observability{health: health.New(opts...), page: status.New()}
}

func (o observability) options() []leaderelection.Option {
	return append(podOf(os.Getenv), registered().Option(), o.health.Option(), o.page.Option())
}

// podOf returns an option that makes the Elector also record its events on the pod. It
// returns nil unless POD_NAMESPACE, POD_NAME and POD_UID are all set.
func podOf(getenv func(string) string) []leaderelection.Option {
	namespace, name, uid := getenv("POD_NAMESPACE"), getenv("POD_NAME"), getenv("POD_UID")
	if namespace == "" || name == "" || uid == "" {
		return nil
	}
	return []leaderelection.Option{leaderelection.WithPod(namespace, name, types.UID(uid))}
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
// because the Lease cannot be read, a right is missing, or caches have not synced. The
// check does not depend on leadership. For any other Manager the check never fails.
func Ready(mgr crmanager.Manager) healthz.Checker {
	if m, ok := mgr.(*electedManager); ok {
		return m.observability.health.Ready
	}
	return healthz.Ping
}

// Live is the check for the liveness probe, see package health. Pass this method to
// AddHealthzCheck.
func (e *Elector) Live(r *http.Request) error { return e.observability.health.Live(r) }

// Ready is the check for the readiness probe, see package health. Pass this method to
// AddReadyzCheck. The check does not depend on leadership.
func (e *Elector) Ready(r *http.Request) error { return e.observability.health.Ready(r) }

// serveStatus adds the status page to the metrics server of mgr. If the server does not
// accept the page, for example because the server was already started, serveStatus logs
// the error.
func (e *Elector) serveStatus(mgr crmanager.Manager) {
	path := StatusPath
	if c := e.Config(); c.Enabled {
		path += "/" + c.LeaseNamespace + "/" + c.LeaseName
	}
	if err := mgr.AddMetricsServerExtraHandler(path, e.observability.page); err != nil {
		mgr.GetLogger().V(1).Info("Not serving the status page", "path", path, "err", err.Error())
	}
}
