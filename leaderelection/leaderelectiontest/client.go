package leaderelectiontest

import (
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Client is one client of a [Server], for example a Pod. Each Client has its
// own [Network] and its own rights.
type Client struct {
	server    *Server
	name      string
	clientset kubernetes.Interface
	network   *Network
	denied    map[string]bool // denied verbs; guarded by the mutex of the server
}

// Client returns the client with this name. If there is no client with this
// name yet, Client creates one.
func (s *Server) Client(name string) *Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	if client := s.clients[name]; client != nil {
		return client
	}
	c := &Client{server: s, name: name, network: NewNetwork(), denied: map[string]bool{}}
	c.network.client = name
	var err error
	if c.clientset, err = kubernetes.NewForConfig(c.Config()); err != nil {
		panic("bug: " + err.Error())
	}
	s.clients[name] = c
	return c
}

// Name returns the name of the client. [Request] and [Write] contain this name
// in their field Client.
func (c *Client) Name() string { return c.name }

// Network returns the network between this client and the server.
func (c *Client) Network() *Network { return c.network }

// Clientset returns a real client-go clientset that sends its requests to the
// server. The clientset has no rate limit. For other settings, create a
// clientset from [Client.Config].
func (c *Client) Clientset() kubernetes.Interface { return c.clientset }

// Config returns a new configuration for a client-go client. The client uses
// JSON and has no rate limit. The server also supports protobuf, which needs
// half as much CPU time as JSON.
func (c *Client) Config() *rest.Config {
	return &rest.Config{
		Host:          c.server.host,
		UserAgent:     c.name,
		QPS:           -1,
		ContentConfig: rest.ContentConfig{ContentType: "application/json", AcceptContentTypes: "application/json"},
		Transport:     c.network.RoundTripper(serverTransport{c}),
	}
}

// Deny takes away the right of this client to use the given verbs. Later
// requests with one of these verbs get the status 403. Open watches stay open.
func (c *Client) Deny(verbs ...string) {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	for _, verb := range verbs {
		c.denied[verb] = true
	}
}

// Allow restores the right of this client to use the given verbs, after
// [Client.Deny]. Without arguments, Allow restores all rights.
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

func (c *call) authorize(verb string) error {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	return c.authorizeLocked(verb)
}

func (c *call) authorizeLocked(verb string) error {
	if !c.client.denied[verb] {
		return nil
	}
	return apierrors.NewForbidden(leaseResource, c.Name, fmt.Errorf(
		"User %q cannot %s resource \"leases\" in API group \"coordination.k8s.io\" in the namespace %q",
		c.client.name, verb, c.Namespace))
}
