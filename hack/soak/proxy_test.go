package main

import (
	"bufio"
	"net"
	"testing"
	"time"
)

// startEcho starts a server that echoes each line, prefixed with the server's name. It
// returns the address of the server.
func startEcho(t *testing.T, name string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for lines := bufio.NewScanner(conn); lines.Scan(); {
					conn.Write([]byte(name + ": " + lines.Text() + "\n"))
				}
			}()
		}
	}()
	return listener.Addr().String()
}

type testClient struct {
	net.Conn
	lines *bufio.Reader
}

func connect(t *testing.T, p *proxy) *testClient {
	t.Helper()
	conn, err := net.Dial("tcp", p.address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &testClient{conn, bufio.NewReader(conn)}
}

func (c *testClient) send(t *testing.T, text string) {
	t.Helper()
	if _, err := c.Write([]byte(text + "\n")); err != nil {
		t.Fatal(err)
	}
}

func (c *testClient) receive(t *testing.T) string {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(time.Minute))
	line, err := c.lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}

func newTestProxy(t *testing.T, upstream ...string) *proxy {
	t.Helper()
	p, err := newProxy("127.0.0.1", upstream)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	return p
}

func TestProxy_ConnectsToTheServerThatAnswers(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := listener.Addr().String()
	listener.Close()
	p := newTestProxy(t, gone, startEcho(t, "b"))
	for range 3 {
		c := connect(t, p)
		c.send(t, "hello")
		if got := c.receive(t); got != "b: hello\n" {
			t.Errorf("received %q", got)
		}
	}
}

func TestProxy_HoldsBytesWhileItHangs(t *testing.T) {
	p := newTestProxy(t, startEcho(t, "a"))
	c := connect(t, p)
	c.send(t, "one")
	c.receive(t)
	p.set(hangs, 0)
	c.send(t, "two")
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if line, err := c.lines.ReadString('\n'); err == nil {
		t.Errorf("received %q from a network that hangs", line)
	}
	p.set(healthy, 0)
	if got := c.receive(t); got != "a: two\n" {
		t.Errorf("received %q", got)
	}
}

func TestProxy_BreaksConnectionsWhenItRefuses(t *testing.T) {
	p := newTestProxy(t, startEcho(t, "a"))
	c := connect(t, p)
	c.send(t, "one")
	c.receive(t)
	p.set(refuses, 0)
	for _, conn := range []*testClient{c, connect(t, p)} {
		conn.SetReadDeadline(time.Now().Add(time.Minute))
		if line, err := conn.lines.ReadString('\n'); err == nil {
			t.Errorf("received %q from a network that refuses", line)
		}
	}
	p.set(healthy, 0)
	again := connect(t, p)
	again.send(t, "two")
	if got := again.receive(t); got != "a: two\n" {
		t.Errorf("received %q", got)
	}
}

func TestProxy_DelaysWhenItIsSlow(t *testing.T) {
	p := newTestProxy(t, startEcho(t, "a"))
	p.set(slow, 30*time.Millisecond)
	c := connect(t, p)
	began := time.Now()
	c.send(t, "one")
	c.receive(t)
	if took := time.Since(began); took < 60*time.Millisecond {
		t.Errorf("the round trip took %v, want two delays of 30ms", took)
	}
}
