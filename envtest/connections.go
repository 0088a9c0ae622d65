package envtest

import (
	"context"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

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
