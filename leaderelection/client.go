package leaderelection

import (
	"fmt"
	"net"
	"reflect"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
)

// userAgentSuffix distinguishes the election's requests from the application's
// requests.
const userAgentSuffix = "/incumbent-leader-election"

// ClientConfig returns a copy of restConfig for a clientset that is used only for this
// election:
//
//	clientset, err := kubernetes.NewForConfig(config.ClientConfig(restConfig))
//
// A clientset made this way has its own connections and uses HTTP/1.1. A request that
// hangs occupies one connection, and the next attempt opens another connection. Without
// ClientConfig, client-go sends all requests of the election and of the application
// over one HTTP/2 connection, even if each clientset has its own QPS. client-go needs
// 45 s to detect that this connection is dead. A term ends much sooner, because without
// a renewal it lasts no longer than Window. With ClientConfig, keep-alives detect a
// dead connection on which nothing is sent, such as the connection of a watch. This
// takes at most 6 s, and less with a short RenewDeadline.
//
// The copy has no rate limit and no Timeout, because the Elector bounds each request
// itself. The Elector usually needs two connections: one for its watch and one for all
// other requests. The user agent ends in /incumbent-leader-election.
//
// Everything else is copied from restConfig: the server, credentials, a Proxy,
// wrappers, and NextProtos or Dial if they are set. If you set Dial, its timeout and
// its keep-alive interval should be a few seconds. If you set Transport, ClientConfig
// changes nothing about connections.
func (c Config) ClientConfig(restConfig *rest.Config) *rest.Config {
	own := rest.CopyConfig(restConfig)
	own.RateLimiter, own.QPS, own.Burst = nil, -1, 0
	own.Timeout = 0 // a Timeout would also end the watch
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
	// If Dial is not set, clientsets with the same TLS settings share one transport. If
	// Dial is set, client-go makes a transport for each clientset.
	if own.Dial == nil {
		own.Dial = c.dialer().DialContext
	}
	return own
}

func (c Config) dialer() *net.Dialer {
	c = c.withDefaults()
	interval := c.keepAliveInterval()
	return &net.Dialer{
		Timeout:         c.dialTimeout(),
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: interval, Interval: interval, Count: 2},
	}
}

// rateLimits contains the load that the running electors of this process put on each
// rate limiter. The limit must suffice for all electors that share a rate limiter.
var rateLimits = struct {
	sync.Mutex
	load map[flowcontrol.RateLimiter]float64 // renewals per second
}{load: map[flowcontrol.RateLimiter]float64{}}

// A rateLimit is the rate limiter of a clientset. It is nil if the clientset has no
// rate limiter.
type rateLimit struct{ limiter flowcontrol.RateLimiter }

func rateLimitOf(client rest.Interface) *rateLimit {
	if isNil(client) {
		return nil
	}
	limiter := client.GetRateLimiter()
	if isNil(limiter) || limiter.QPS() <= 0 || !reflect.TypeOf(limiter).Comparable() {
		return nil
	}
	return &rateLimit{limiter}
}

// join adds an elector to the load of the rate limiter. The elector sends one renewal
// in each period. It returns a warning if the electors together need more than half of
// the limit.
func (l *rateLimit) join(period time.Duration) (warning string) {
	if l == nil {
		return ""
	}
	rateLimits.Lock()
	defer rateLimits.Unlock()
	rateLimits.load[l.limiter] += 1 / period.Seconds()
	load, qps := rateLimits.load[l.limiter], float64(l.limiter.QPS())
	if load <= qps/2 {
		return ""
	}
	return fmt.Sprintf("the electors on this clientset renew %.1f times a second when all of them lead, and its rate limit is %.1f requests a second: "+
		"use a clientset made with Config.ClientConfig", load, qps)
}

func (l *rateLimit) leave(period time.Duration) {
	if l == nil {
		return
	}
	rateLimits.Lock()
	defer rateLimits.Unlock()
	if rateLimits.load[l.limiter] -= 1 / period.Seconds(); rateLimits.load[l.limiter] < 1e-9 {
		delete(rateLimits.load, l.limiter)
	}
}

// isNil reports whether v is nil or contains a nil pointer.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	value := reflect.ValueOf(v)
	return value.Kind() == reflect.Pointer && value.IsNil()
}
