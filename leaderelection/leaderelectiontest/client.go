package leaderelectiontest

import (
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Client is one user of a [Server], with a network and rights of its own:
// a pod, say.
type Client struct {
	server    *Server
	name      string
	clientset kubernetes.Interface
	network   *Network
	denied    map[string]bool // verbs; guarded by the server's mutex
}

// Client returns the client of that name. The first call makes it.
func (s *Server) Client(name string) *Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	if client := s.clients[name]; client != nil {
		return client
	}
	c := &Client{server: s, name: name, network: &Network{server: s}, denied: map[string]bool{}}
	var err error
	if c.clientset, err = kubernetes.NewForConfig(c.Config()); err != nil {
		panic("bug: " + err.Error())
	}
	s.clients[name] = c
	return c
}

// Name is the client's name, as it appears in [Request] and [Write].
func (c *Client) Name() string { return c.name }

// Network is what lies between this client and the server.
func (c *Client) Network() *Network { return c.network }

// Clientset returns a real clientset that talks to the server. It is not rate
// limited; make one from [Client.Config] for other settings.
func (c *Client) Clientset() kubernetes.Interface { return c.clientset }

// Config returns a new configuration for any client-go client, with JSON as
// content type and without a rate limit. Protobuf is understood as well, and
// takes half the time.
func (c *Client) Config() *rest.Config {
	return &rest.Config{
		Host:          "http://leaderelectiontest.invalid",
		UserAgent:     c.name,
		QPS:           -1,
		ContentConfig: rest.ContentConfig{ContentType: "application/json", AcceptContentTypes: "application/json"},
		Transport:     roundTripper{c},
	}
}

// Deny makes the server answer 403 to these verbs of this client. A watch
// that is open stays open.
func (c *Client) Deny(verbs ...string) {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	for _, verb := range verbs {
		c.denied[verb] = true
	}
}

// Allow takes back [Client.Deny], for these verbs or, without any, for all.
func (c *Client) Allow(verbs ...string) {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	if len(verbs) == 0 {
		clear(c.denied)
	}
	for _, verb := range verbs {
		delete(c.denied, verb)
	}
}

func (x *exchange) authorize(verb string) error {
	x.server.mu.Lock()
	defer x.server.mu.Unlock()
	return x.authorizeLocked(verb)
}

func (x *exchange) authorizeLocked(verb string) error {
	if !x.client.denied[verb] {
		return nil
	}
	return apierrors.NewForbidden(leaseResource, x.request.Name, fmt.Errorf(
		"User %q cannot %s resource \"leases\" in API group \"coordination.k8s.io\" in the namespace %q",
		x.client.name, verb, x.request.Namespace))
}

// roundTripper is the client's end of the wire.
type roundTripper struct{ client *Client }

// RoundTrip implements [http.RoundTripper].
func (t roundTripper) RoundTrip(h *http.Request) (*http.Response, error) { return t.client.exchange(h) }
