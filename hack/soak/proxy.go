package main

import (
	"errors"
	"net"
	"sync"
	"time"
)

// A proxy is the network of one replica: TCP connections to whichever API server
// answers, as through a load balancer. It lies outside the replica's process, so
// that it goes on when that is frozen: what was sent may arrive much later.
type proxy struct {
	listener net.Listener
	upstream []string
	group    sync.WaitGroup

	mu      sync.Mutex
	next    int // upstream to try first
	fault   fault
	delay   time.Duration
	changed chan struct{} // closed and replaced when the fault changes
	conns   map[net.Conn]bool
	closed  bool
}

type fault int

const (
	whole   fault = iota
	hangs         // bytes are held until it is whole again
	refuses       // connections break, and new ones do
	slow          // bytes arrive later by delay
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

// set puts a fault in the place of the last one.
func (p *proxy) set(f fault, delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.delay = f, delay
	close(p.changed)
	p.changed = make(chan struct{})
	if f == refuses {
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
	p.set(whole, 0)
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

// serve carries one connection.
func (p *proxy) serve(client net.Conn) {
	defer p.forget(client)
	if !p.keep(client) || !p.pass() {
		return
	}
	server, err := p.dial()
	if err != nil {
		return
	}
	defer p.forget(server)
	if !p.keep(server) {
		return
	}
	var back sync.WaitGroup
	back.Go(func() { p.carry(client, server) })
	p.carry(server, client)
	back.Wait()
}

// keep notes a connection, unless it has to break at once.
func (p *proxy) keep(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.fault == refuses {
		return false
	}
	p.conns[conn] = true
	return true
}

func (p *proxy) forget(conn net.Conn) {
	_ = conn.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, conn)
}

// dial connects to one of the API servers that answer, in turn.
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

// carry copies what comes from one end to the other until one of them breaks, and
// then breaks the other.
func (p *proxy) carry(to, from net.Conn) {
	defer func() { _ = to.Close(); _ = from.Close() }()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if !p.pass() {
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

// pass waits as long as the network hangs, or is slow. It answers false if the
// proxy is closed.
func (p *proxy) pass() bool {
	for {
		p.mu.Lock()
		f, delay, changed, closed := p.fault, p.delay, p.changed, p.closed
		p.mu.Unlock()
		switch {
		case closed:
			return false
		case f == slow:
			time.Sleep(delay)
			return true
		case f != hangs:
			return true
		}
		<-changed
	}
}
