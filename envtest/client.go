package envtest

import (
	"context"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// Client is a client of one API server of a [ControlPlane]. A Client can
// represent one pod, for example. Each Client has its own connections and its
// own network.
type Client struct {
	name        string
	config      *rest.Config
	network     *leaderelectiontest.Network
	connections *connections
	clientset   func() kubernetes.Interface
}

// ClientOption configures a [Client].
type ClientOption func(*clientSettings)

type clientSettings struct {
	user   string
	groups []string
	pod    *pod
	server int
}

// AsUser makes the client act as the user with the given name. The user is a
// member of the given groups. Without this option, the client is an
// administrator with all rights.
func AsUser(name string, groups ...string) ClientOption {
	return func(s *clientSettings) { s.user, s.groups = name, groups }
}

// OnAPIServer connects the client to the API server with the number i. The
// first API server has the number 0. Default: 0.
func OnAPIServer(i int) ClientOption {
	return func(s *clientSettings) { s.server = i }
}

// Client returns a new client. The parameter name becomes the user agent of the
// client. [ControlPlane.Stop] closes all clients that are still open.
func (cp *ControlPlane) Client(name string, options ...ClientOption) *Client {
	settings := clientSettings{user: name, groups: []string{"system:masters"}}
	for _, option := range options {
		option(&settings)
	}
	cert, key, err := cp.pki.client(settings.user, settings.groups)
	if err != nil {
		panic("bug: " + err.Error())
	}
	c := &Client{name: name, network: leaderelectiontest.NewNetwork(), connections: &connections{open: map[*connection]bool{}}}
	c.config = c.network.Wrap(&rest.Config{
		Host:            cp.servers[settings.server].URL(),
		TLSClientConfig: rest.TLSClientConfig{CAData: cp.pki.caPEM, CertData: cert, KeyData: key},
		UserAgent:       name,
		QPS:             -1, // no rate limit
		Dial:            c.connections.dial,
	})
	if settings.pod != nil {
		c.config = settings.pod.account.Pod(c.config, settings.pod.name)
	}
	c.clientset = sync.OnceValue(func() kubernetes.Interface {
		return kubernetes.NewForConfigOrDie(c.config)
	})
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if cp.stopped {
		c.Close()
	}
	cp.clients = append(cp.clients, c)
	return c
}

// Name returns the name that was passed to [ControlPlane.Client].
func (c *Client) Name() string { return c.name }

// Network returns the network between this client and the API server. A test
// can inject faults into this network.
func (c *Client) Network() *leaderelectiontest.Network { return c.network }

// Config returns a new configuration for clients of client-go or
// controller-runtime. The configuration has no rate limit. All clients with
// this configuration use the network of this Client.
func (c *Client) Config() *rest.Config { return rest.CopyConfig(c.config) }

// Clientset returns a clientset that uses the network of this Client.
func (c *Client) Clientset() kubernetes.Interface { return c.clientset() }

// Kubeconfig returns the content of a kubeconfig file with the user and the API
// server of this Client. Use the file for other programs, for example kubectl.
// The requests of such programs do not pass through the network of this Client.
func (c *Client) Kubeconfig() ([]byte, error) {
	kubeconfig := clientcmdapi.NewConfig()
	kubeconfig.Clusters["envtest"] = &clientcmdapi.Cluster{
		Server: c.config.Host, CertificateAuthorityData: c.config.CAData,
	}
	kubeconfig.AuthInfos[c.name] = &clientcmdapi.AuthInfo{
		ClientCertificateData: c.config.CertData, ClientKeyData: c.config.KeyData,
		Impersonate: c.config.Impersonate.UserName, ImpersonateGroups: c.config.Impersonate.Groups,
		ImpersonateUserExtra: c.config.Impersonate.Extra,
	}
	kubeconfig.Contexts["envtest"] = &clientcmdapi.Context{Cluster: "envtest", AuthInfo: c.name}
	kubeconfig.CurrentContext = "envtest"
	return clientcmd.Write(*kubeconfig)
}

// Close closes the network and all connections of the Client.
func (c *Client) Close() {
	c.network.Close()
	c.connections.close()
}

// LoseConnections simulates a router that loses its state. All open connections
// become dead: they stay open, but no data passes through them. Requests in
// progress get no reply. New connections work.
func (c *Client) LoseConnections() { c.connections.lose() }

// connections is the set of the open TCP connections of one client.
type connections struct {
	mu   sync.Mutex
	open map[*connection]bool
}

func (c *connections) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: 10 * time.Second, KeepAlive: 10 * time.Second}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	opened := &connection{Conn: conn, all: c, closed: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[opened] = true
	return opened, nil
}

func (c *connections) list() []*connection {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.open))
}

func (c *connections) lose() {
	for _, conn := range c.list() {
		conn.lost.Store(true)
	}
}

func (c *connections) close() {
	for _, conn := range c.list() {
		_ = conn.Close()
	}
}

// connection is a TCP connection that a test can make fail. After the failure,
// Read blocks until Close is called.
type connection struct {
	net.Conn
	all    *connections
	lost   atomic.Bool
	once   sync.Once
	closed chan struct{} // closed when Close is called
}

func (c *connection) Write(p []byte) (int, error) {
	if c.lost.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *connection) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.lost.Load() {
		<-c.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *connection) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.all.mu.Lock()
		defer c.all.mu.Unlock()
		delete(c.all.open, c)
	})
	return c.Conn.Close()
}
