package main

import (
	"context"
	"net"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/connrotation"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

const (
	namespace = "bench"
	// waitTimeout is the maximum time that the benchmark waits for one event.
	waitTimeout = time.Minute
)

// startCluster starts the control plane of the benchmark. Call Close on the returned
// Cluster even if startCluster also returns an error.
func startCluster(ctx context.Context) (*lab.Cluster, error) {
	return lab.OpenCluster(ctx, "", namespace, envtest.Options{StartTimeout: 3 * time.Minute}) // a long timeout, because other tests may run on this machine at the same time
}

// A client sends requests over its own connections and without a rate limit. Therefore
// it behaves like the client of a separate process. The benchmark does not use an
// envtest.Client, because an envtest.Client records each request, which takes time and
// memory.
type client struct {
	config      *rest.Config
	transport   *transport
	connections *connrotation.Dialer
}

func newClient(config *rest.Config) *client {
	dialer := net.Dialer{Timeout: 10 * time.Second, KeepAlive: 10 * time.Second}
	c := &client{config: rest.CopyConfig(config), transport: &transport{}, connections: connrotation.NewDialer(dialer.DialContext)}
	c.config.QPS = -1
	c.config.Dial = c.connections.DialContext // a function in Dial also prevents client-go from sharing one transport among several clients
	c.config.Wrap(c.transport.wrap)
	return c
}

// clientset returns a new clientset. Each clientset opens its own connection.
func (c *client) clientset() kubernetes.Interface {
	return kubernetes.NewForConfigOrDie(c.config)
}

// crash simulates a crash of the client's process. It blocks all later requests of the
// client and closes all connections.
func (c *client) crash() {
	c.transport.cut.Store(true)
	c.close()
}

func (c *client) close() { c.connections.CloseAll() }
