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

// userAgentSuffix separates the election's requests from the application's.
const userAgentSuffix = "/incumbent-leader-election"

// ClientConfig returns a copy of restConfig for a clientset that only this election
// uses:
//
//	clientset, err := kubernetes.NewForConfig(config.ClientConfig(restConfig))
//
// Each such clientset has its own connections and uses HTTP/1.1. A request that hangs
// occupies one connection, and the next attempt opens another. Without ClientConfig,
// client-go sends all requests over one HTTP/2 connection, including the application's,
// whatever the QPS of each clientset. It takes 45 s to detect that this connection is
// dead, and without a renewal a term lasts no longer than Window. Dead connections on
// which nothing is sent, such as that of a watch, are detected within 6 s, and sooner
// with a short RenewDeadline.
//
// There is no rate limit and no Timeout, because the Elector bounds each request itself.
// It usually needs two connections: one for its watch and one for all other requests.
// The user agent ends in /incumbent-leader-election.
//
// Everything else stays as in restConfig: the server, credentials, a Proxy, wrappers, and
// NextProtos or Dial if they are set. A Dial should time out, and send keep-alives,
// within seconds. If a Transport is set, it alone decides about connections.
func (c Config) ClientConfig(restConfig *rest.Config) *rest.Config {
	own := rest.CopyConfig(restConfig)
	own.RateLimiter, own.QPS, own.Burst = nil, -1, 0
	own.Timeout = 0 // a timeout would end the watch, too
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
	// With a Dial, client-go makes a transport for each clientset. Otherwise clientsets
	// with the same TLS settings share one.
	if own.Dial == nil {
		own.Dial = c.dialer().DialContext
	}
	return own
}

// dialer returns the dialer for the election's connections.
func (c Config) dialer() *net.Dialer {
	c = c.withDefaults()
	interval := c.keepAliveInterval()
	return &net.Dialer{
		Timeout:         c.dialTimeout(),
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: interval, Interval: interval, Count: 2},
	}
}

// rateLimits counts the electors of this process that run on each rate limiter. Only
// their sum shows whether the limit suffices.
var rateLimits = struct {
	sync.Mutex
	load map[flowcontrol.RateLimiter]float64 // renewals a second
}{load: map[flowcontrol.RateLimiter]float64{}}

// A rateLimit is the rate limiter of a clientset, nil if it has none.
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

// join counts an elector that renews once in each period. It returns a warning if the
// electors need more than half of the limit.
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

// isNil reports whether an interface holds nothing or a nil pointer.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	value := reflect.ValueOf(v)
	return value.Kind() == reflect.Pointer && value.IsNil()
}
