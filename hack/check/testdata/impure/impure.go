package impure

import (
	"context" // want: imports context
	"time"

	_ "k8s.io/client-go/kubernetes" // want: imports k8s.io/client-go/kubernetes
	_ "net/http"                    // want: imports net/http
)

func f(now time.Time) bool {
	_ = context.Background
	go f(now)           // want: go statement
	_ = time.Since(now) // want: time.Since
	return now == now.Add(time.Second)
}

func g() time.Time { return time.Now() } // want: time.Now
