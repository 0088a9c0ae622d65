package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// A candidateGroup is a set of candidates for one Lease. All candidates use the same
// implementation and run in this process.
type candidateGroup struct {
	cluster        *lab.Cluster
	implementation implementation
	timing         lab.Timing
	lease          string
	traced         bool

	candidates []*candidate
	leader     *candidate
	crashed    func(*candidate) error // called after the leader has crashed; may be nil
	starts     chan start
}

// A candidate campaigns for the Lease of its candidateGroup. Each candidate has its own
// connections, like a candidate in a separate process.
type candidate struct {
	client *client
	cancel context.CancelFunc
	done   chan struct{} // closed when the campaign has ended
	err    error         // the error of the campaign; valid after done is closed

	crashed bool      // true after a simulated crash of the candidate
	stopped time.Time // the time at which the work stopped; valid after done is closed
}

// A start records when a candidate's work began.
type start struct {
	candidate *candidate
	at        time.Time
}

// uniqueLease returns a unique name for a new Lease.
func uniqueLease(implementation string) string {
	return strings.ToLower(strings.ReplaceAll(implementation, " ", "-") + "-" + rand.Text()[:6])
}

// newGroup starts one candidate and waits until the candidate leads. Then it starts the
// other candidates of the group g. size is the total number of
// candidates.
func newGroup(ctx context.Context, g candidateGroup, size int) (*candidateGroup, error) {
	g.starts = make(chan start, 16)
	g.lease = uniqueLease(g.implementation.name)
	g.candidates = append(g.candidates, g.start())
	first, err := g.awaitWork(ctx)
	if err != nil {
		return &g, err
	}
	g.leader = first.candidate
	for range size - 1 {
		g.candidates = append(g.candidates, g.start())
	}
	return &g, nil
}

// start starts a candidate with a new identity and new connections.
func (g *candidateGroup) start() *candidate {
	ctx, cancel := context.WithCancel(context.Background())
	c := &candidate{client: newClient(g.cluster.Config), cancel: cancel, done: make(chan struct{})}
	if g.traced {
		c.client.transport.startTrace()
	}
	spec := candidateSpec{timing: g.timing, lease: g.lease, identity: strings.ToLower(rand.Text()), client: c.client}
	spec.work = func(ctx context.Context) {
		g.starts <- start{c, time.Now()}
		<-ctx.Done()
		c.stopped = time.Now()
	}
	go func() {
		defer close(c.done)
		c.err = g.implementation.campaign(ctx, spec)
	}()
	return c
}

// awaitWork waits until the work of a candidate begins.
func (g *candidateGroup) awaitWork(ctx context.Context) (start, error) {
	select {
	case s := <-g.starts:
		return s, nil
	case <-ctx.Done():
		return start{}, context.Cause(ctx)
	case <-time.After(waitTimeout):
		return start{}, fmt.Errorf("%s: there was no leader for %v", g.implementation.name, waitTimeout)
	}
}

// A handover is the change from one leader to the next leader.
type handover struct {
	began   time.Time // when the leader was asked to stop, or when the leader crashed
	expired time.Time // when the crashed leader's Lease expired; the zero time if the leader did not crash
	started time.Time // when the successor's work began
	from    *candidate
	to      *candidate
}

func (h handover) took() time.Duration { return h.started.Sub(h.began) }

// stopLeader asks the leader to stop, and waits until the successor's work begins.
func (g *candidateGroup) stopLeader(ctx context.Context) (handover, error) {
	h := handover{from: g.leader, began: time.Now()}
	h.from.cancel()
	err := g.awaitSuccessor(ctx, &h)
	return h, err
}

// crashLeader disconnects the leader between two renewals, and waits until the
// successor's work begins.
func (g *candidateGroup) crashLeader(ctx context.Context) (handover, error) {
	h := handover{from: g.leader}
	for {
		h.began = time.Now()
		if last := h.from.client.transport.lastApplied(); !last.IsZero() && h.began.Sub(last) > 20*time.Millisecond {
			h.expired = last.Add(g.timing.LeaseDuration)
			break
		}
		if err := lab.Sleep(ctx, time.Millisecond); err != nil {
			return h, err
		}
	}
	h.from.crashed = true
	h.from.client.crash()
	if g.crashed != nil {
		if err := g.crashed(h.from); err != nil {
			return h, err
		}
	}
	err := g.awaitSuccessor(ctx, &h)
	return h, err
}

func (g *candidateGroup) awaitSuccessor(ctx context.Context, h *handover) error {
	next, err := g.awaitWork(ctx)
	if err != nil {
		return err
	}
	h.to, h.started = next.candidate, next.at
	g.leader = next.candidate
	return nil
}

// replace stops one candidate, waits until the candidate's campaign has ended, and
// starts a new candidate.
func (g *candidateGroup) replace(old *candidate) error {
	err := old.end()
	if i := slices.Index(g.candidates, old); i >= 0 {
		g.candidates[i] = g.start()
	}
	return err
}

// end stops the candidate and waits until the candidate's campaign has ended.
func (c *candidate) end() error {
	c.cancel()
	select {
	case <-c.done:
		// Close the connections one second later, because a stopped Manager of
		// controller-runtime may still send an event.
		time.AfterFunc(time.Second, c.client.close)
		if c.crashed {
			return nil
		}
		return c.err
	case <-time.After(waitTimeout):
		return fmt.Errorf("a candidate had not stopped after %v", waitTimeout)
	}
}

// followers returns all candidates except the leader.
func (g *candidateGroup) followers() []*candidate {
	return slices.DeleteFunc(slices.Clone(g.candidates), func(c *candidate) bool { return c == g.leader })
}

// awaitIdle waits until all candidates have started and are idle.
func (g *candidateGroup) awaitIdle(ctx context.Context) error {
	var before traffic
	for began := time.Now(); time.Since(began) < waitTimeout; {
		if err := lab.Sleep(ctx, 3*time.Second); err != nil {
			return err
		}
		now, size := g.traffic(), int64(len(g.candidates))
		recent := now.minus(before)
		watching := now.watches >= size && recent.reads+recent.watches+recent.refused == 0
		polling := now.watches == 0 && now.reads >= size
		if watching || polling {
			return nil
		}
		before = now
	}
	return fmt.Errorf("%s: %d candidates had not settled after %v", g.implementation.name, len(g.candidates), waitTimeout)
}

// traffic returns the sum of the traffic of all candidates.
func (g *candidateGroup) traffic() traffic {
	var sum traffic
	for _, c := range g.candidates {
		sum = sum.plus(c.client.transport.traffic())
	}
	return sum
}

// close stops all candidates. It stops the leader last. Therefore no follower becomes
// the leader.
func (g *candidateGroup) close() error {
	if g == nil {
		return nil
	}
	followers := g.followers()
	for _, c := range followers {
		c.cancel()
	}
	var errs []error
	for _, c := range followers {
		errs = append(errs, c.end())
	}
	if g.leader != nil {
		errs = append(errs, g.leader.end())
	}
	return errors.Join(errs...)
}
