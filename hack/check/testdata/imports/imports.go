package imports

import (
	_ "errors"

	_ "github.com/haproxy-template-ic/incumbent/leaderelection/health"
	_ "github.com/haproxy-template-ic/incumbent/manager" // want: may not import
	_ "github.com/prometheus/client_golang/prometheus"
	_ "k8s.io/client-go/kubernetes" // want: may import the standard library
)
