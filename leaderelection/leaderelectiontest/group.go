package leaderelectiontest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Group runs several candidates on one [Server]. The Group fails the test as soon
// as two candidates work at the same time. A candidate is any code that competes
// for a Lease. All methods may be called from any goroutine. A Group works in real time
// and in a bubble of testing/synctest.
type Group struct {
	tb     testing.TB
	server *Server

	mu         sync.Mutex
	candidates []*Candidate
	working    []string      // identities of the candidates at work, in the order in which they started
	changed    chan struct{} // closed and replaced when working changes
}

// Candidate is one candidate of a [Group], for example one pod.
type Candidate struct {
	group    *Group
	identity string
	client   *Client
	cancel   context.CancelFunc
	done     chan struct{} // closed when run has returned
	err      error         // the error that run returned; read err only after done is closed
}

// NewGroup returns a Group with a new Server. At the end of the test, all
// candidates are stopped, and then the Server is closed. In a bubble of
// testing/synctest, pass the testing.TB of the bubble.
func NewGroup(tb testing.TB) *Group {
	g := &Group{tb: tb, server: NewServer(), changed: make(chan struct{})}
	tb.Cleanup(func() {
		g.mu.Lock()
		candidates := slices.Clone(g.candidates)
		g.mu.Unlock()
		for _, c := range candidates {
			_ = c.Stop() // a test that needs the error calls Stop itself
		}
		g.server.Close()
	})
	return g
}

// Server returns the Server, for example to edit or delete the Lease.
func (g *Group) Server() *Server { return g.server }

// Start starts a candidate and returns it. identity is the name
// of the candidate and of its [Client]. run is the code under
// test, such as the Run method of an Elector. run must return when
// its context is done.
func (g *Group) Start(identity string, run func(context.Context, *Candidate) error) *Candidate {
	ctx, cancel := context.WithCancel(context.Background())
	c := &Candidate{group: g, identity: identity, client: g.server.Client(identity), cancel: cancel, done: make(chan struct{})}
	g.mu.Lock()
	g.candidates = append(g.candidates, c)
	g.mu.Unlock()
	go func() {
		defer close(c.done)
		c.err = run(ctx, c)
	}()
	return c
}

// Working returns the identity of the candidate that currently works. If no
// candidate works, Working returns "". If several candidates work, Working returns
// all identities, joined with " and ".
func (g *Group) Working() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Join(g.working, " and ")
}

// AwaitWork waits until a candidate works, and returns the identity of this
// candidate. If ctx is done first, AwaitWork returns the error of ctx.
func (g *Group) AwaitWork(ctx context.Context) (identity string, err error) {
	for {
		g.mu.Lock()
		working, changed := g.working, g.changed
		g.mu.Unlock()
		if len(working) > 0 {
			return working[0], nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

// Identity returns the identity that was passed to Start.
func (c *Candidate) Identity() string { return c.identity }

// Client returns the candidate's client. To inject faults between this candidate
// and the Server, use the Network of the client.
func (c *Candidate) Client() *Client { return c.client }

// Work records that the candidate has started to work as leader. Call the returned
// function when this work ends. If another candidate works in the meantime, the test
// fails. Call Work at the start of the code that only the leader may run.
func (c *Candidate) Work() (stop func()) {
	g := c.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.working) > 0 {
		g.tb.Errorf("leaderelectiontest: %s started to work while %s worked", c.identity, strings.Join(g.working, " and "))
	}
	g.setLocked(append(slices.Clone(g.working), c.identity))
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		i := slices.Index(g.working, c.identity)
		g.setLocked(slices.Delete(slices.Clone(g.working), i, i+1))
	})
}

func (g *Group) setLocked(working []string) {
	g.working = working
	close(g.changed)
	g.changed = make(chan struct{})
}

// Stop cancels the context of the candidate and waits until run
// has returned. Stop then returns the error of run. But if this error
// is context.Canceled, Stop returns nil.
func (c *Candidate) Stop() error {
	c.cancel()
	<-c.done
	if errors.Is(c.err, context.Canceled) {
		return nil
	}
	return c.err
}

// Crash simulates the death of the candidate's process. After the crash, no
// request of the candidate reaches the Server, not even a release. Crash
// cancels the context of the candidate and waits until its function run has
// returned. Therefore the candidate's work must stop when this context is done.
func (c *Candidate) Crash() {
	c.client.Network().Cut(Refuse)
	c.cancel()
	<-c.done
}
