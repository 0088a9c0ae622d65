package main

import (
	"errors"
	"net"
	"sync"
	"time"
)

// A proxy simulates the network between one replica and the API servers. Like a load
// balancer, it forwards each TCP connection to one of the API servers. The proxy runs
// outside the replica's process. Therefore it can deliver a request while the replica
// is frozen, long after the replica sent the request.
type proxy struct {
	listener net.Listener
	upstream []string
	group    sync.WaitGroup

	mu      sync.Mutex
	next    int // the index of the API server that dial tries first
	state   condition
	delay   time.Duration
	changed chan struct{} // closed and replaced when the condition changes
	conns   map[net.Conn]bool
	closed  bool
}

// A condition is the state of a network.
type condition int

const (
	healthy condition = iota
	hangs             // bytes are held back until the condition changes
	refuses           // existing connections break, and new connections are closed at once
	slow              // bytes are delivered after a delay
)

func newProxy(host string, upstream []string) (*proxy, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: listener, upstream: upstream, changed: make(chan struct{}), conns: map[net.Conn]bool{}}
	p.group.Go(p.accept)
	return p, nil
}

func (p *proxy) address() string { return p.listener.Addr().String() }

// set changes the condition of the network to c. delay is used only if c
// is the condition slow.
func (p *proxy) set(c condition, delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state, p.delay = c, delay
	close(p.changed)
	p.changed = make(chan struct{})
	if c == refuses {
		p.breakAllLocked()
	}
}

func (p *proxy) breakAllLocked() {
	for conn := range p.conns {
		_ = conn.Close()
	}
}

func (p *proxy) close() {
	_ = p.listener.Close()
	p.set(healthy, 0)
	p.mu.Lock()
	p.closed = true
	p.breakAllLocked()
	p.mu.Unlock()
	p.group.Wait()
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.group.Go(func() { p.serve(client) })
	}
}

// serve forwards one connection to an API server until the connection breaks.
func (p *proxy) serve(client net.Conn) {
	defer p.untrack(client)
	if !p.track(client) || !p.awaitHealthy() {
		return
	}
	server, err := p.dial()
	if err != nil {
		return
	}
	defer p.untrack(server)
	if !p.track(server) {
		return
	}
	var back sync.WaitGroup
	back.Go(func() { p.forward(client, server) })
	p.forward(server, client)
	back.Wait()
}

// track registers the connection and returns true. If the connection must be closed at
// once, track returns false and does not register the connection.
func (p *proxy) track(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.state == refuses {
		return false
	}
	p.conns[conn] = true
	return true
}

func (p *proxy) untrack(conn net.Conn) {
	_ = conn.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, conn)
}

// dial connects to an API server that accepts connections. Successive calls begin with
// different API servers.
func (p *proxy) dial() (net.Conn, error) {
	p.mu.Lock()
	first := p.next
	p.next++
	p.mu.Unlock()
	var errs []error
	for i := range p.upstream {
		conn, err := net.DialTimeout("tcp", p.upstream[(first+i)%len(p.upstream)], time.Second)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// forward copies bytes from one connection to the other until one of the two
// connections breaks. Then it closes both connections.
func (p *proxy) forward(to, from net.Conn) {
	defer func() { _ = to.Close(); _ = from.Close() }()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if !p.awaitHealthy() {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// awaitHealthy waits while the network hangs. If the network is slow, awaitHealthy
// waits for the delay. It returns false if the proxy is closed.
func (p *proxy) awaitHealthy() bool {
	for {
		p.mu.Lock()
		c, delay, changed, closed := p.state, p.delay, p.changed, p.closed
		p.mu.Unlock()
		switch {
		case closed:
			return false
		case c == slow:
			time.Sleep(delay)
			return true
		case c != hangs:
			return true
		}
		<-changed
	}
}
