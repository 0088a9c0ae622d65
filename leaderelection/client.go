package leaderelection

import (
	"net"
	"strings"
	"time"

	"k8s.io/client-go/rest"
)

// userAgentSuffix tells the election's requests from the application's.
const userAgentSuffix = "/incumbent-leader-election"

// ClientConfig returns a copy of restConfig for a clientset that speaks for this
// election and for nothing else:
//
//	clientset, err := kubernetes.NewForConfig(config.ClientConfig(restConfig))
//
// Each such clientset has connections of its own, and speaks HTTP/1.1: a request that
// hangs occupies one of them, and the next attempt opens another. Otherwise client-go
// speaks HTTP/2, and sends all requests over one connection, those of the application
// among them, whatever the QPS of each clientset. It notices after 45 s that this
// connection is dead, and without a renewal a term lasts no longer than Window. Dead
// connections over which nothing is sent, such as that of a watch, are found out
// within 6 s, and sooner with a short RenewDeadline.
//
// There is no rate limit and no Timeout: the Elector bounds each request itself. It
// needs two connections as a rule, for its watch and for all else. The user agent
// ends in /incumbent-leader-election.
//
// Everything else stays as it is in restConfig: the server, credentials, a Proxy,
// wrappers, and NextProtos or Dial where they are set: a Dial should give up, and
// send keep-alives, within seconds. Where a Transport is set the connections are its
// own affair, and whether they are shared, or HTTP/2, is up to whoever made it.
func (c Config) ClientConfig(restConfig *rest.Config) *rest.Config {
	own := rest.CopyConfig(restConfig)
	own.RateLimiter, own.QPS, own.Burst = nil, -1, 0
	own.Timeout = 0 // it would end the watch, too
	if own.UserAgent == "" {
		own.UserAgent = rest.DefaultKubernetesUserAgent()
	}
	own.UserAgent = strings.TrimSuffix(own.UserAgent, userAgentSuffix) + userAgentSuffix
	if own.Transport != nil {
		return own
	}
	if len(own.NextProtos) == 0 {
		own.NextProtos = []string{"http/1.1"}
	}
	// With a Dial, even the caller's, client-go makes a transport for each clientset:
	// otherwise those with the same TLS settings share one.
	if own.Dial == nil {
		own.Dial = c.dialer().DialContext
	}
	return own
}

// However long an outage is tolerated, a connection is none the better for being
// waited for: these are the limits for long durations.
const (
	maxDialTimeout = 5 * time.Second
	maxKeepAlive   = 2 * time.Second
)

// dialer makes the election's connections. The kernel counts keep-alives in whole
// seconds.
func (c Config) dialer() *net.Dialer {
	c = c.withDefaults()
	pace := min(max(time.Second, (c.RenewDeadline/4).Truncate(time.Second)), maxKeepAlive)
	return &net.Dialer{
		Timeout:         min(c.shortestRead(), maxDialTimeout),
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: pace, Interval: pace, Count: 2},
	}
}
