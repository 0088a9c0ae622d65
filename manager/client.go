package manager

import (
	"net/http"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// An electionClient is the Kubernetes client of one Elector.
type electionClient struct {
	kubernetes.Interface
	transport http.RoundTripper // the transport of this client; nil if the client shares the transport of the caller's rest.Config
}

// newElectionClient returns a client that shares neither a rate limiter nor connections
// with the application's clients.
func newElectionClient(cfg *rest.Config, config leaderelection.Config) (*electionClient, error) {
	own, c := config.ClientConfig(cfg), &electionClient{}
	if own.Transport == nil {
		record := func(rt http.RoundTripper) http.RoundTripper { c.transport = rt; return rt }
		own.WrapTransport = transport.Wrappers(record, own.WrapTransport)
	}
	httpClient, err := rest.HTTPClientFor(own)
	if err != nil {
		return nil, err
	}
	c.Interface, err = kubernetes.NewForConfigAndClient(own, httpClient)
	return c, err
}

// close closes the idle connections of the client. Later requests open new connections.
func (c *electionClient) close() {
	if c.transport != nil {
		utilnet.CloseIdleConnectionsFor(c.transport)
	}
}
