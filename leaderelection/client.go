package leaderelection

import (
	"fmt"
	"net"
	"reflect"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
)

// userAgentSuffix is appended to the user agent of the election's requests.
const userAgentSuffix = "/incumbent-leader-election"

// ClientConfig returns a copy of restConfig for a clientset that is used only for this
// election:
//
//	clientset, err := kubernetes.NewForConfig(config.ClientConfig(restConfig))
//
// A clientset made this way has its own connections and uses HTTP/1.1. If a request
// hangs on a dead connection, the next request opens a new connection. Keep-alives
// detect a dead idle connection within 6 s, or sooner if RenewDeadline is short.
//
// Without ClientConfig, the election and the application share one HTTP/2 connection.
// client-go needs 45 s to detect that this connection is dead. With the default
// durations, a term ends after 12 s without a renewal.
//
// The copy has no rate limit and no Timeout, because the Elector sets a timeout for
// each request. The user agent ends in /incumbent-leader-election. All other fields are
// copied from restConfig, including NextProtos and Dial. If you set Dial, use a timeout
// and a keep-alive interval of a few seconds. If you set Transport, ClientConfig does
// not change the connections.
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
	// Setting Dial makes client-go create a separate transport for this clientset.
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

// rateLimits contains, for each rate limiter, the total number of renewals per second
// that the running electors of this process need.
var rateLimits = struct {
	sync.Mutex
	load map[flowcontrol.RateLimiter]float64 // renewals per second
}{load: map[flowcontrol.RateLimiter]float64{}}

// apiServerOfClientset returns the URL of the API server that clientset uses. It returns
// "" if the server is unknown.
func apiServerOfClientset(clientset kubernetes.Interface) string {
	if isNil(clientset) {
		return ""
	}
	return apiServerOf(clientset.CoordinationV1().RESTClient())
}

// apiServerOf returns the URL of the API server to which client sends its requests. It
// returns "" if the server is unknown.
func apiServerOf(client rest.Interface) string {
	if isNil(client) {
		return ""
	}
	request := client.Get()
	if request == nil {
		return ""
	}
	server := request.URL()
	server.Path = strings.TrimSuffix(strings.TrimSuffix(server.Path, "/"), "/apis/"+coordinationv1.SchemeGroupVersion.String())
	return server.String()
}

// A rateLimit is the rate limiter of a clientset. A nil *rateLimit means that the
// clientset has no rate limiter.
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

// join adds one renewal per period to the load of the rate limiter. It
// returns a warning if the total load is more than half of the limit.
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
