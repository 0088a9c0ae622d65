package main

import (
	"bufio"
	"net"
	"testing"
	"time"
)

// echo is a server that sends back each line, and says its name before.
func echo(t *testing.T, name string) string {
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

type talker struct {
	net.Conn
	lines *bufio.Reader
}

func talk(t *testing.T, p *proxy) *talker {
	t.Helper()
	conn, err := net.Dial("tcp", p.address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &talker{conn, bufio.NewReader(conn)}
}

func (c *talker) say(t *testing.T, text string) {
	t.Helper()
	if _, err := c.Write([]byte(text + "\n")); err != nil {
		t.Fatal(err)
	}
}

func (c *talker) hear(t *testing.T) string {
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

func TestProxy_FindsTheServerThatAnswers(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := listener.Addr().String()
	listener.Close()
	p := newTestProxy(t, gone, echo(t, "b"))
	for range 3 {
		c := talk(t, p)
		c.say(t, "hello")
		if got := c.hear(t); got != "b: hello\n" {
			t.Errorf("heard %q", got)
		}
	}
}

func TestProxy_HoldsWhatIsSentWhileItHangs(t *testing.T) {
	p := newTestProxy(t, echo(t, "a"))
	c := talk(t, p)
	c.say(t, "one")
	c.hear(t)
	p.set(hangs, 0)
	c.say(t, "two")
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if line, err := c.lines.ReadString('\n'); err == nil {
		t.Errorf("heard %q from a network that hangs", line)
	}
	p.set(whole, 0)
	if got := c.hear(t); got != "a: two\n" {
		t.Errorf("heard %q", got)
	}
}

func TestProxy_BreaksConnectionsWhenItRefuses(t *testing.T) {
	p := newTestProxy(t, echo(t, "a"))
	c := talk(t, p)
	c.say(t, "one")
	c.hear(t)
	p.set(refuses, 0)
	for _, conn := range []*talker{c, talk(t, p)} {
		conn.SetReadDeadline(time.Now().Add(time.Minute))
		if line, err := conn.lines.ReadString('\n'); err == nil {
			t.Errorf("heard %q from a network that refuses", line)
		}
	}
	p.set(whole, 0)
	again := talk(t, p)
	again.say(t, "two")
	if got := again.hear(t); got != "a: two\n" {
		t.Errorf("heard %q", got)
	}
}

func TestProxy_DelaysWhenItIsSlow(t *testing.T) {
	p := newTestProxy(t, echo(t, "a"))
	p.set(slow, 30*time.Millisecond)
	c := talk(t, p)
	began := time.Now()
	c.say(t, "one")
	c.hear(t)
	if took := time.Since(began); took < 60*time.Millisecond {
		t.Errorf("there and back took %v, want two delays of 30ms", took)
	}
}
