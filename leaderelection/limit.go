package leaderelection

import (
	"fmt"
	"reflect"
	"sync"
	"time"

	restclient "k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
)

// limits counts the electors of this process that run over each rate limiter:
// only together do they know whether it suffices.
var limits = struct {
	sync.Mutex
	load map[flowcontrol.RateLimiter]float64
}{load: map[flowcontrol.RateLimiter]float64{}}

// A sharedLimit is the rate limiter of a clientset; nil if it has none.
type sharedLimit struct{ limiter flowcontrol.RateLimiter }

func limitOf(client restclient.Interface) *sharedLimit {
	if isNil(client) {
		return nil
	}
	limiter := client.GetRateLimiter()
	if isNil(limiter) || limiter.QPS() <= 0 || !reflect.TypeOf(limiter).Comparable() {
		return nil
	}
	return &sharedLimit{limiter}
}

// enter counts an elector that renews once in each period, and returns a warning
// if that is more than the limiter lets through.
func (l *sharedLimit) enter(period time.Duration) string {
	if l == nil {
		return ""
	}
	limits.Lock()
	defer limits.Unlock()
	limits.load[l.limiter] += 1 / period.Seconds()
	load, qps := limits.load[l.limiter], float64(l.limiter.QPS())
	if load <= qps/2 {
		return ""
	}
	return fmt.Sprintf("the electors that share this clientset renew %.1f times a second when all lead, and its rate limit is %.1f requests a second: "+
		"give them a clientset of their own, made with Config.ClientConfig", load, qps)
}

func (l *sharedLimit) leave(period time.Duration) {
	if l == nil {
		return
	}
	limits.Lock()
	defer limits.Unlock()
	if limits.load[l.limiter] -= 1 / period.Seconds(); limits.load[l.limiter] < 1e-9 {
		delete(limits.load, l.limiter)
	}
}

// isNil reports whether an interface holds nothing, or a nil pointer.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	value := reflect.ValueOf(v)
	return value.Kind() == reflect.Pointer && value.IsNil()
}
