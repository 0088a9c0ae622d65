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

// startCluster starts the control plane of the benchmark. The caller must close the
// Cluster, even if startCluster returns an error.
func startCluster(ctx context.Context) (*lab.Cluster, error) {
	return lab.OpenCluster(ctx, "", namespace, envtest.Options{StartTimeout: 3 * time.Minute}) // the timeout is long, because other tests may slow down this machine
}

// A client has its own connections and no rate limit, like the client of a separate
// process.
type client struct {
	config      *rest.Config
	transport   *transport
	connections *connrotation.Dialer
}

func newClient(config *rest.Config) *client {
	dialer := net.Dialer{Timeout: 10 * time.Second, KeepAlive: 10 * time.Second}
	c := &client{config: rest.CopyConfig(config), transport: &transport{}, connections: connrotation.NewDialer(dialer.DialContext)}
	c.config.QPS = -1
	c.config.Dial = c.connections.DialContext // with a Dial function, client-go does not share connections between clients
	c.config.Wrap(c.transport.wrap)
	return c
}

// clientset returns a new clientset. Each clientset opens its own connection.
func (c *client) clientset() kubernetes.Interface {
	return kubernetes.NewForConfigOrDie(c.config)
}

// crash simulates a crash of the client's process. It blocks all new requests and
// closes all connections.
func (c *client) crash() {
	c.transport.cut.Store(true)
	c.close()
}

func (c *client) close() { c.connections.CloseAll() }
