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

// Client is one client of a [ControlPlane], for example a pod. It has its own
// connections and its own network.
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

// AsUser gives the client the identity of a user. The groups are the user's groups for RBAC.
// Default: an administrator with all rights.
func AsUser(name string, groups ...string) ClientOption {
	return func(s *clientSettings) { s.user, s.groups = name, groups }
}

// OnAPIServer connects the client to the API server with this number. Default: 0.
func OnAPIServer(i int) ClientOption {
	return func(s *clientSettings) { s.server = i }
}

// Client returns a new client. Its name is its user agent. Stop closes it if the
// caller does not.
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

// Name returns the client's name.
func (c *Client) Name() string { return c.name }

// Network returns the network between this client and the API server.
func (c *Client) Network() *leaderelectiontest.Network { return c.network }

// Config returns a new configuration for clients of client-go or
// controller-runtime. They share this client's network. It has no rate limit.
func (c *Client) Config() *rest.Config { return rest.CopyConfig(c.config) }

// Clientset returns the client's clientset.
func (c *Client) Clientset() kubernetes.Interface { return c.clientset() }

// Kubeconfig returns a kubeconfig file with this client's user and API server, for
// other programs. Their requests do not pass through the client's network.
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

// Close closes the network and all connections.
func (c *Client) Close() {
	c.network.Close()
	c.connections.close()
}

// LoseConnections makes all open connections dead without closing them, like a
// router that loses its state: data written to them is lost and no data arrives.
// Requests under way get no reply. New connections work.
func (c *Client) LoseConnections() { c.connections.lose() }

// connections are the TCP connections of one client.
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

// connection is a connection that can be made dead. A Read from a dead connection
// waits until it is closed.
type connection struct {
	net.Conn
	all    *connections
	lost   atomic.Bool
	once   sync.Once
	closed chan struct{} // closed before Conn is
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
