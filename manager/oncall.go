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

// StatusPath is where the metrics server of a Manager that New made serves the
// status page. That of an Elector of NewElector has "/", the namespace, "/" and the
// name of its Lease behind it.
const StatusPath = "/leaderelection"

// registered is what shows the electors of this process in controller-runtime's
// registry. If the program has registered a metrics.Metrics of its own there, that
// one stays.
var registered = sync.OnceValue(func() *metrics.Metrics {
	m := metrics.New()
	_ = crmetrics.Registry.Register(m)
	return m
})

// onCall is what shows one Elector to those who run it.
type onCall struct {
	health *health.Health
	page   *status.Page
}

// newOnCall uses reviewer, unless it is nil, to find out whether rights suffice.
func newOnCall(reviewer kubernetes.Interface) onCall {
	var opts []health.Option
	if reviewer != nil {
		opts = append(opts, health.WithReview(reviewer))
	}
	return onCall{health: health.New(opts...), page: status.New()}
}

func (o onCall) options() []leaderelection.Option {
	return append(podOf(os.Getenv), registered().Option(), o.health.Option(), o.page.Option())
}

// podOf lets events be recorded on the pod as well, if the environment says which
// it is.
func podOf(getenv func(string) string) []leaderelection.Option {
	namespace, name, uid := getenv("POD_NAMESPACE"), getenv("POD_NAME"), getenv("POD_UID")
	if namespace == "" || name == "" || uid == "" {
		return nil
	}
	return []leaderelection.Option{leaderelection.WithPod(namespace, name, types.UID(uid))}
}

// serve adds the page to the metrics server's handlers, unless the program has one
// of its own at that path.
func (o onCall) serve(handlers map[string]http.Handler) map[string]http.Handler {
	handlers = maps.Clone(handlers)
	if handlers == nil {
		handlers = map[string]http.Handler{}
	}
	if handlers[StatusPath] == nil {
		handlers[StatusPath] = o.page
	}
	return handlers
}

// Live returns the check that New's Manager wants for its liveness probe, see
// package health: it fails only when nothing but a new process helps. For any
// other Manager it never fails.
//
//	mgr.AddHealthzCheck("leaderelection", manager.Live(mgr))
//	mgr.AddReadyzCheck("leaderelection", manager.Ready(mgr))
func Live(mgr crmanager.Manager) healthz.Checker {
	if m, ok := mgr.(*electedManager); ok {
		return m.onCall.health.Live
	}
	return healthz.Ping
}

// Ready returns the check for the readiness probe: it fails while this process
// cannot take part in the election, be it because the Lease cannot be reached, a
// right is missing or caches have not synced. It never means that it leads, see
// package health. For any other Manager than New's it never fails.
func Ready(mgr crmanager.Manager) healthz.Checker {
	if m, ok := mgr.(*electedManager); ok {
		return m.onCall.health.Ready
	}
	return healthz.Ping
}

// Live is a healthz.Checker for the liveness probe, see package health.
func (e *Elector) Live(r *http.Request) error { return e.onCall.health.Live(r) }

// Ready is a healthz.Checker for the readiness probe, see package health. It never
// means that this process leads.
func (e *Elector) Ready(r *http.Request) error { return e.onCall.health.Ready(r) }

// show serves the page on the metrics server of mgr. One that has been started
// already takes no more handlers.
func (e *Elector) show(mgr crmanager.Manager) {
	path := StatusPath
	if c := e.Config(); c.Enabled {
		path += "/" + c.LeaseNamespace + "/" + c.LeaseName
	}
	if err := mgr.AddMetricsServerExtraHandler(path, e.onCall.page); err != nil {
		mgr.GetLogger().V(1).Info("The status page is not served", "path", path, "why", err.Error())
	}
}
