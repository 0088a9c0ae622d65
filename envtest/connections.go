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

// LoseConnections makes the connections dead that are open now, in a way that
// nobody is told of, as a router does that forgets them: what is written into them
// is lost, and nothing comes back, so what is under way is never answered. New
// connections work.
func (c *Client) LoseConnections() { c.connections.lose() }

// connections are those of one client, down where it is TCP.
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
	made := &connection{Conn: conn, all: c, closed: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[made] = true
	return made, nil
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

// A connection may be lost. Who reads from it then waits until it is closed.
type connection struct {
	net.Conn
	all    *connections
	lost   atomic.Bool
	once   sync.Once
	closed chan struct{} // before Conn is
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
