package manager

import (
	"net/http"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// An electionClient speaks for one Elector, and for nothing else.
type electionClient struct {
	kubernetes.Interface
	transport http.RoundTripper // its own; nil if the caller gave one
}

// newElectionClient makes a client out of cfg that shares neither a rate limiter
// nor a connection with the application.
func newElectionClient(cfg *rest.Config, config leaderelection.Config) (*electionClient, error) {
	own, c := config.ClientConfig(cfg), &electionClient{}
	if own.Transport == nil {
		note := func(rt http.RoundTripper) http.RoundTripper { c.transport = rt; return rt }
		own.WrapTransport = transport.Wrappers(note, own.WrapTransport)
	}
	httpClient, err := rest.HTTPClientFor(own)
	if err != nil {
		return nil, err
	}
	c.Interface, err = kubernetes.NewForConfigAndClient(own, httpClient)
	return c, err
}

// close closes the connections. The next request opens new ones.
func (c *electionClient) close() {
	if c.transport != nil {
		utilnet.CloseIdleConnectionsFor(c.transport)
	}
}
