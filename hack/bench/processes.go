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

// A processGroup is a set of candidates for one Lease. All candidates use the same
// implementation. Each candidate is a separate process, like a replica of a Deployment.
type processGroup struct {
	settings  settings // the settings of each replica
	journal   lab.Journal
	logs      lab.LogTail
	processes []*lab.Process // oldest first
	started   int            // the number of processes that were started
}

// ageGap is the pause between the start of a processGroup and the first rolling update.
// Therefore the old processes are clearly older than the new processes.
const ageGap = time.Second

// newProcessGroup starts one process and waits until the process leads. Then it starts
// the other processes. size is the total number of processes.
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

// start starts one more process and waits until the process is ready.
func (g *processGroup) start(ctx context.Context) (*lab.Process, error) {
	g.started++
	p, err := lab.StartReplica(replicaName(g.started), g.settings, &g.logs, g.journal.Add)
	if err != nil {
		return nil, err
	}
	g.processes = append(g.processes, p)
	return p, g.await(ctx, p.Identity, ready)
}

// replicaName returns the name of the replica with the given number. The alphabetical
// order of the names is the order in which the replicas were started.
func replicaName(number int) string { return fmt.Sprintf("replica-%03d", number) }

// await waits until the process has reported an event of the given kind.
func (g *processGroup) await(ctx context.Context, identity string, kind lab.Kind) error {
	_, err := g.journal.Await(ctx, waitTimeout, fmt.Sprintf("the event %q of %s", kind, identity), func(e lab.Event) bool {
		return e.Replica == identity && e.Kind == kind
	})
	return g.explain(err)
}

// explain adds the name of the implementation and the last lines of the logs to the
// error.
func (g *processGroup) explain(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w\n%s", g.settings.Implementation, err, &g.logs)
}

// terms returns the events of the kind Elected, oldest first. Each of these events
// marks the start of a term.
func (g *processGroup) terms() []lab.Event {
	return slices.DeleteFunc(g.journal.All(), func(e lab.Event) bool { return e.Kind != lab.Elected })
}

// stop stops the process p and waits until p has exited. If p was the leader, stop also
// waits until another process leads.
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

// close stops all processes. It sends SIGTERM to the youngest process first and to the
// oldest process last.
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

// A rollout is the result of one rolling update. A rolling update replaces all
// replicas.
type rollout struct {
	handovers int
	idle      time.Duration // the total time in which no replica worked
	overlap   bool          // true if two replicas worked at the same time
}

// A picker chooses the next process to stop in a rolling update. i is the
// number of processes that were already stopped. old contains the
// processes that ran before the update and still run. leader is the
// identity of the leader.
type picker func(i int, old []*lab.Process, leader string) *lab.Process

// inOrder returns a picker that chooses the current processes in the given order. The
// parameter order contains indexes into g.processes.
func (g *processGroup) inOrder(order []int) picker {
	processes := slices.Clone(g.processes)
	return func(i int, _ []*lab.Process, _ string) *lab.Process { return processes[order[i]] }
}

// leaderFirst is a picker. It chooses the leader if the parameter old contains the
// leader. Otherwise it chooses a random process.
func leaderFirst(_ int, old []*lab.Process, leader string) *lab.Process {
	for _, p := range old {
		if p.Identity == leader {
			return p
		}
	}
	return old[rand.N(len(old))]
}

// roll replaces all processes, like a rolling update of a Deployment. The parameter
// surge is the maximum number of additional processes. After each start of a process,
// roll calls the function settled and waits until settled has returned.
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

// rolloutOf computes the result of a rolling update from all events. The parameter
// before is the number of terms that began before the rolling update.
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
