package envtest

import (
	"sync"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// Client is one user of a ControlPlane, with connections and a Network of its
// own: a pod, say.
type Client struct {
	name        string
	config      *rest.Config
	network     *leaderelectiontest.Network
	connections *connections
	clientset   func() kubernetes.Interface
}

// A ClientOption says more about a Client.
type ClientOption func(*clientSettings)

type clientSettings struct {
	user   string
	groups []string
	pod    *pod
	server int
}

// AsUser makes the client that user. The groups are the user's groups for RBAC.
// Default: an administrator with all rights.
func AsUser(name string, groups ...string) ClientOption {
	return func(s *clientSettings) { s.user, s.groups = name, groups }
}

// OnAPIServer sends the client to the API server with that number. Default: 0.
func OnAPIServer(i int) ClientOption {
	return func(s *clientSettings) { s.server = i }
}

// Client makes a new client. Its name is its user agent. It is closed with the
// control plane, if not before.
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
		QPS:             -1, // no limit: a test that waits for its own rate limit tests nothing
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

// Name is the client's name.
func (c *Client) Name() string { return c.name }

// Network is what lies between this client and the API server.
func (c *Client) Network() *leaderelectiontest.Network { return c.network }

// Config returns a new configuration for any client of client-go or
// controller-runtime; they all share this client's Network. It has no rate limit.
func (c *Client) Config() *rest.Config { return rest.CopyConfig(c.config) }

// Clientset returns the client's clientset.
func (c *Client) Clientset() kubernetes.Interface { return c.clientset() }

// Kubeconfig returns a kubeconfig file for this client's user and API server, for
// other programs. What they do does not pass through the Network.
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

// Close closes the Network and all connections.
func (c *Client) Close() {
	c.network.Close()
	c.connections.close()
}
