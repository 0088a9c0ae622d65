package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// A processGroup is a set of candidates of one implementation for one Lease. Each is a
// process, as the replicas of a Deployment are: they communicate only through the API
// server, and each has an age of its own.
type processGroup struct {
	settings  settings // of each replica
	journal   lab.Journal
	logs      lab.LogTail
	processes []*lab.Process // oldest first
	started   int            // number of processes so far
}

// ageGap is the least age of all old processes when a rollout starts a new one. With
// an age gap of a few milliseconds, which no real cluster has, they would count as
// equally old.
const ageGap = time.Second

// newProcessGroup starts size processes. It returns when one leads, all are ready and
// a process that is started next is clearly younger.
func newProcessGroup(ctx context.Context, c *lab.Cluster, s settings, size int) (*processGroup, error) {
	g := &processGroup{settings: s}
	g.settings.Kubeconfig, g.settings.Lease = c.Kubeconfig, uniqueLease(s.Implementation)
	for i := range size {
		p, err := g.start(ctx)
		if err != nil {
			return g, err
		}
		if i > 0 {
			continue
		}
		if err := g.await(ctx, p.Identity, lab.Elected); err != nil {
			return g, err
		}
	}
	return g, lab.Sleep(ctx, ageGap)
}

// start starts one more process and waits until it is ready.
func (g *processGroup) start(ctx context.Context) (*lab.Process, error) {
	g.started++
	p, err := lab.StartReplica(replicaName(g.started), g.settings, &g.logs, g.journal.Add)
	if err != nil {
		return nil, err
	}
	g.processes = append(g.processes, p)
	return p, g.await(ctx, p.Identity, ready)
}

// replicaName returns a name that sorts by age.
func replicaName(number int) string { return fmt.Sprintf("replica-%03d", number) }

// await waits until a process has reported an event of that kind.
func (g *processGroup) await(ctx context.Context, identity string, kind lab.Kind) error {
	_, err := g.journal.Await(ctx, waitTimeout, fmt.Sprintf("the event %q of %s", kind, identity), func(e lab.Event) bool {
		return e.Replica == identity && e.Kind == kind
	})
	return g.explain(err)
}

// explain adds the implementation and the last lines of the logs to an error.
func (g *processGroup) explain(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w\n%s", g.settings.Implementation, err, &g.logs)
}

// terms returns the events at which work began so far, in order.
func (g *processGroup) terms() []lab.Event {
	return slices.DeleteFunc(g.journal.All(), func(e lab.Event) bool { return e.Kind != lab.Elected })
}

// stop stops a process. If the process led, stop waits until another one leads.
func (g *processGroup) stop(ctx context.Context, p *lab.Process) error {
	terms := g.terms()
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := p.Await(ctx, waitTimeout); err != nil {
		return g.explain(err)
	}
	g.processes = slices.DeleteFunc(g.processes, func(other *lab.Process) bool { return other == p })
	if err := p.Err(); err != nil {
		return g.explain(fmt.Errorf("%s: %w", p.Identity, err))
	}
	if terms[len(terms)-1].Replica != p.Identity {
		return nil
	}
	count := 0
	_, err := g.journal.Await(ctx, waitTimeout, "a successor of "+p.Identity, func(e lab.Event) bool {
		if e.Kind == lab.Elected {
			count++
		}
		return count > len(terms)
	})
	return err
}

// close stops all processes, the followers first.
func (g *processGroup) close() error {
	if g == nil {
		return nil
	}
	var errs []error
	for _, p := range slices.Backward(g.processes) {
		errs = append(errs, p.Signal(syscall.SIGTERM))
	}
	for _, p := range g.processes {
		if err := p.Await(context.Background(), waitTimeout); err != nil {
			p.Kill()
			errs = append(errs, fmt.Errorf("%s: %w, and was killed", g.settings.Implementation, err))
			continue
		}
		errs = append(errs, p.Err())
	}
	g.processes = nil
	return errors.Join(errs...)
}

// A rollout is the result of the replacement of all replicas.
type rollout struct {
	handovers int
	idle      time.Duration // time without work in all handovers together
	overlap   bool          // two replicas worked at the same time
}

// A picker returns the old process that is stopped as the i-th one.
type picker func(i int, old []*lab.Process, leader string) *lab.Process

// inOrder stops the present processes in that order; 0 is the oldest.
func (g *processGroup) inOrder(order []int) picker {
	processes := slices.Clone(g.processes)
	return func(i int, _ []*lab.Process, _ string) *lab.Process { return processes[order[i]] }
}

// leaderFirst stops the leader as long as it is an old process. No order has more
// handovers.
func leaderFirst(_ int, old []*lab.Process, leader string) *lab.Process {
	for _, p := range old {
		if p.Identity == leader {
			return p
		}
	}
	return old[rand.N(len(old))]
}

// roll replaces all processes as a rolling update does: up to surge new processes are
// started before an old one is stopped. settled returns when an old one may be
// stopped.
func (g *processGroup) roll(ctx context.Context, pick picker, surge int, settled func(context.Context) error) (rollout, error) {
	terms, old := g.terms(), slices.Clone(g.processes)
	before, size, started := len(terms), len(old), 0
	for i := range size {
		for ; started < min(i+surge, size); started++ {
			if _, err := g.start(ctx); err != nil {
				return rollout{}, err
			}
			if err := settled(ctx); err != nil {
				return rollout{}, err
			}
		}
		terms = g.terms()
		next := pick(i, old, terms[len(terms)-1].Replica)
		old = slices.DeleteFunc(old, func(p *lab.Process) bool { return p == next })
		if err := g.stop(ctx, next); err != nil {
			return rollout{}, err
		}
	}
	return rolloutOf(g.journal.All(), before), nil
}

// rolloutOf reads the events after the first terms, of which there were before.
func rolloutOf(events []lab.Event, before int) (r rollout) {
	events = slices.DeleteFunc(events, func(e lab.Event) bool { return e.Kind != lab.Elected && e.Kind != lab.Ended })
	slices.SortStableFunc(events, func(a, b lab.Event) int { return a.At.Compare(b.At) })
	terms, working := 0, 0
	var idleSince time.Time
	for _, e := range events {
		if e.Kind == lab.Ended {
			working--
			idleSince = e.At
			continue
		}
		terms++
		working++
		if terms > before {
			r.handovers++
			r.overlap = r.overlap || working > 1
			r.idle += max(0, e.At.Sub(idleSince))
		}
	}
	return r
}
