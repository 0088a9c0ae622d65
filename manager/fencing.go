package manager

import (
	"net/http"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
)

// fencedClient returns a NewClientFunc for a Manager behind a Fence. The function
// newClient creates each client. If the Fence refuses a write, the client repeats the
// write as long as confirmer confirms the term. If mode includes ByTerm, the client
// also stamps its writes.
func fencedClient(newClient client.NewClientFunc, mode fencing.Mode, confirmer fencing.TermConfirmer) client.NewClientFunc {
	if newClient == nil {
		newClient = client.New
	}
	return func(cfg *rest.Config, opts client.Options) (client.Client, error) {
		if opts.HTTPClient == nil {
			var err error
			if opts.HTTPClient, err = rest.HTTPClientFor(cfg); err != nil {
				return nil, err
			}
		}
		own := *opts.HTTPClient
		next := own.Transport
		if next == nil {
			next = http.DefaultTransport
		}
		if mode&fencing.ByTerm != 0 {
			next = fencing.StampTransport(next)
		}
		own.Transport = fencing.RetryTransport(confirmer, next)
		opts.HTTPClient = &own
		return newClient(cfg, opts)
	}
}
