package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"
)

// patience is how long anything may take before the benchmark gives up.
const patience = time.Minute

// A troupe is a contender's candidates for one Lease.
type troupe struct {
	cluster   *cluster
	contender contender
	pace      pace
	lease     string
	traced    bool

	actors []*actor
	leader *actor
	starts chan start
}

// An actor is one candidate at work: a process, as far as the others know.
type actor struct {
	client *client
	cancel context.CancelFunc
	done   chan struct{} // closed when its campaign has ended
	err    error         // then: how

	crashed bool      // its campaign may end with an error
	stopped time.Time // when its work ended; read it after done is closed
}

// A start is the moment at which somebody's work began.
type start struct {
	actor *actor
	at    time.Time
}

// newTroupe starts size candidates and waits until one leads.
func newTroupe(ctx context.Context, t troupe, size int) (*troupe, error) {
	t.starts = make(chan start, 16)
	t.lease = strings.ToLower(strings.ReplaceAll(t.contender.name, " ", "-") + "-" + rand.Text()[:6])
	t.enter(1)
	first, err := t.awaitStart(ctx)
	if err != nil {
		return &t, err
	}
	t.leader = first.actor
	t.enter(size - 1)
	return &t, nil
}

// enter starts that many candidates more.
func (t *troupe) enter(number int) {
	for range number {
		t.actors = append(t.actors, t.start())
	}
}

// start starts a candidate, with a new name and new connections, as a process
// that is started has them.
func (t *troupe) start() *actor {
	ctx, cancel := context.WithCancel(context.Background())
	a := &actor{client: t.cluster.client(), cancel: cancel, done: make(chan struct{})}
	if t.traced {
		a.client.wire.trace()
	}
	c := candidate{pace: t.pace, lease: t.lease, identity: strings.ToLower(rand.Text()), client: a.client}
	c.work = func(ctx context.Context) {
		t.starts <- start{a, time.Now()}
		<-ctx.Done()
		a.stopped = time.Now()
	}
	go func() {
		defer close(a.done)
		a.err = t.contender.campaign(ctx, c)
	}()
	return a
}

// awaitStart waits for the start of somebody's work.
func (t *troupe) awaitStart(ctx context.Context) (start, error) {
	select {
	case s := <-t.starts:
		return s, nil
	case <-ctx.Done():
		return start{}, context.Cause(ctx)
	case <-time.After(patience):
		return start{}, fmt.Errorf("%s: nobody led for %v", t.contender.name, patience)
	}
}

// A handover is how the work passed from one candidate to another.
type handover struct {
	asked   time.Time // when the leader was stopped, or crashed
	allowed time.Time // when the Lease of a leader that crashed has run out
	started time.Time // when the successor's work began
	from    *actor
	to      *actor
}

func (h handover) took() time.Duration { return h.started.Sub(h.asked) }

// stopLeader stops the leader and waits for its successor.
func (t *troupe) stopLeader(ctx context.Context) (handover, error) {
	h := handover{from: t.leader, asked: time.Now()}
	h.from.cancel()
	err := t.follow(ctx, &h)
	return h, err
}

// crashLeader lets the leader vanish between two renewals, and waits for its
// successor.
func (t *troupe) crashLeader(ctx context.Context) (handover, error) {
	h := handover{from: t.leader}
	for {
		h.asked = time.Now()
		if last := h.from.client.wire.lastApplied(); !last.IsZero() && h.asked.Sub(last) > 20*time.Millisecond {
			h.allowed = last.Add(t.pace.lease)
			break
		}
		if err := pause(ctx, time.Millisecond); err != nil {
			return h, err
		}
	}
	h.from.crashed = true
	h.from.client.crash()
	err := t.follow(ctx, &h)
	return h, err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t *troupe) follow(ctx context.Context, h *handover) error {
	next, err := t.awaitStart(ctx)
	if err != nil {
		return err
	}
	h.to, h.started = next.actor, next.at
	t.leader = next.actor
	return nil
}

// replace waits until an actor that was stopped has ended, and starts another one
// in its place.
func (t *troupe) replace(old *actor) error {
	err := old.end()
	for i, a := range t.actors {
		if a == old {
			t.actors[i] = t.start()
		}
	}
	return err
}

// end stops an actor and waits until it has ended.
func (a *actor) end() error {
	a.cancel()
	select {
	case <-a.done:
		// controller-runtime still sends an event after its Manager has stopped.
		time.AfterFunc(time.Second, a.client.close)
		if a.crashed {
			return nil
		}
		return a.err
	case <-time.After(patience):
		return fmt.Errorf("a candidate had not stopped after %v", patience)
	}
}

// followers are all but the leader.
func (t *troupe) followers() []*actor {
	var others []*actor
	for _, a := range t.actors {
		if a != t.leader {
			others = append(others, a)
		}
	}
	return others
}

// awaitCalm waits until everybody has looked at the Lease, and those who watch it
// send nothing more.
func (t *troupe) awaitCalm(ctx context.Context) error {
	var before traffic
	for began := time.Now(); time.Since(began) < patience; {
		if err := pause(ctx, 3*time.Second); err != nil {
			return err
		}
		now, members := t.traffic(), int64(len(t.actors))
		recent := now.minus(before)
		watching := now.watches >= members && recent.reads+recent.watches+recent.refused == 0
		polling := now.watches == 0 && now.reads >= members
		if watching || polling {
			return nil
		}
		before = now
	}
	return fmt.Errorf("%s: %d candidates had not settled after %v", t.contender.name, len(t.actors), patience)
}

// traffic is what went over all wires together.
func (t *troupe) traffic() traffic {
	var sum traffic
	for _, a := range t.actors {
		sum = sum.plus(a.client.wire.traffic())
	}
	return sum
}

// close stops everybody, the leader last.
func (t *troupe) close() error {
	if t == nil {
		return nil
	}
	followers := t.followers()
	for _, a := range followers {
		a.cancel()
	}
	var errs []error
	for _, a := range followers {
		errs = append(errs, a.end())
	}
	if t.leader != nil {
		errs = append(errs, t.leader.end())
	}
	return errors.Join(errs...)
}
