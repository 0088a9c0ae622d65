package main

import (
	"context"
	"errors"
	"net"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/connrotation"

	"github.com/haproxy-template-ic/incumbent/envtest"
)

const namespace = "bench"

// A cluster is the control plane that everything is measured on.
type cluster struct {
	plane   *envtest.ControlPlane
	config  *rest.Config
	version string
}

func startCluster(ctx context.Context) (*cluster, error) {
	plane, err := envtest.Start(envtest.Options{StartTimeout: 3 * time.Minute}) // on a machine that is busy with tests
	if err != nil {
		return nil, err
	}
	c := &cluster{plane: plane}
	if err := c.prepare(ctx); err != nil {
		return nil, errors.Join(err, plane.Stop())
	}
	return c, nil
}

func (c *cluster) prepare(ctx context.Context) error {
	text, err := c.plane.Admin().Kubeconfig()
	if err != nil {
		return err
	}
	// Not the control plane's own clients: they remember each request, so that
	// faults can be put in its way, and that takes time and memory.
	if c.config, err = clientcmd.RESTConfigFromKubeConfig(text); err != nil {
		return err
	}
	clientset := c.plane.Admin().Clientset()
	version, err := clientset.Discovery().ServerVersion()
	if err != nil {
		return err
	}
	c.version = version.GitVersion
	_, err = clientset.CoreV1().Namespaces().Create(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	return err
}

// A client has connections of its own and no rate limit, as if it were alone in
// its process.
type client struct {
	config      *rest.Config
	wire        *wire
	connections *connrotation.Dialer
}

func (c *cluster) client() *client {
	dialer := net.Dialer{Timeout: 10 * time.Second, KeepAlive: 10 * time.Second}
	own := &client{config: rest.CopyConfig(c.config), wire: &wire{}, connections: connrotation.NewDialer(dialer.DialContext)}
	own.config.QPS = -1
	own.config.Dial = own.connections.DialContext // this also keeps client-go from sharing a transport
	own.config.Wrap(own.wire.wrap)
	return own
}

// clientset makes a clientset. Each one has a connection of its own.
func (c *client) clientset() kubernetes.Interface {
	return kubernetes.NewForConfigOrDie(c.config)
}

// crash lets nothing through any more, and breaks what is open.
func (c *client) crash() {
	c.wire.cut.Store(true)
	c.close()
}

func (c *client) close() { c.connections.CloseAll() }
