package manager

import (
	"cmp"
	"net"
	"net/http"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// userAgentSuffix tells the elector's requests from the application's.
const userAgentSuffix = "/incumbent-leader-election"

// An electionClient speaks for one Elector, and for nothing else.
type electionClient struct {
	kubernetes.Interface
	transport http.RoundTripper // its own; nil if the caller gave one
}

// newElectionClient makes a client out of cfg that shares neither a rate limiter
// nor a connection with the application.
func newElectionClient(cfg *rest.Config, config leaderelection.Config) (*electionClient, error) {
	own, c := electionConfig(cfg, config), &electionClient{}
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

// electionConfig is cfg for the elector's own client.
func electionConfig(cfg *rest.Config, config leaderelection.Config) *rest.Config {
	own := rest.CopyConfig(cfg)
	own.RateLimiter, own.QPS, own.Burst = nil, -1, 0
	own.Timeout = 0 // the elector bounds each request itself; this would end its watch, too
	if own.UserAgent == "" {
		own.UserAgent = rest.DefaultKubernetesUserAgent()
	}
	own.UserAgent += userAgentSuffix
	if own.Transport != nil {
		return own // the caller's: it cannot be had a second time
	}
	if len(own.NextProtos) == 0 {
		// HTTP/2 sends all requests over one connection, and takes 45 s to notice
		// that it is dead: longer than a Lease lives. Over HTTP/1.1 an attempt that
		// hangs occupies its connection, and the next attempt opens another.
		own.NextProtos = []string{"http/1.1"}
	}
	if own.Dial == nil {
		own.Dial = electionDialer(config).DialContext // this also keeps client-go from sharing a transport
	}
	return own
}

// electionDialer finds out before a Lease runs out that a connection is dead
// over which nothing is sent, such as that of a watch.
func electionDialer(config leaderelection.Config) *net.Dialer {
	deadline := cmp.Or(config.RenewDeadline, leaderelection.DefaultRenewDeadline)
	pace := max(time.Second, (deadline / 4).Truncate(time.Second))
	return &net.Dialer{
		Timeout:         2 * pace,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: pace, Interval: pace, Count: 2},
	}
}
