package main

import (
	"bufio"
	"context"
	cryptorand "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/haproxy-template-ic/incumbent/hack/spawn"
)

// A fleet is a contender's candidates for one Lease, each a process of its own,
// as replicas of a Deployment are: they know of each other only what the API
// server says, and each is as old as it is.
type fleet struct {
	orders  orders // of each replica, but for its name
	journal spawn.Journal[told]
	logs    spawn.Tail
	members []*member // oldest first
	born    int
}

// A member is one process of a fleet.
type member struct {
	*spawn.Process
	identity string
}

// generation is how much older than a new process all others are, in a rollout: by
// a few milliseconds, as in no cluster, they would count as equals.
const generation = time.Second

// newFleet starts size processes, and waits until one leads, all are ready, and
// whoever comes next is a new one.
func newFleet(ctx context.Context, c *cluster, o orders, size int) (*fleet, error) {
	f := &fleet{orders: o}
	f.orders.Lease = strings.ToLower(strings.ReplaceAll(o.Contender, " ", "-") + "-" + cryptorand.Text()[:6])
	var err error
	if f.orders.Kubeconfig, err = c.plane.Admin().Kubeconfig(); err != nil {
		return f, err
	}
	for i := range size {
		m, err := f.start(ctx)
		if err != nil {
			return f, err
		}
		if i > 0 {
			continue
		}
		if _, err := f.await(ctx, m.identity, began); err != nil {
			return f, err
		}
	}
	return f, pause(ctx, generation)
}

// start starts one more process and waits until it is ready.
func (f *fleet) start(ctx context.Context) (*member, error) {
	f.born++
	o := f.orders
	o.Identity = replicaName(f.born)
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	p, err := spawn.Start(spawn.Spec{
		Env: []string{ordersVariable + "=" + string(text)}, Logs: &f.logs,
		Read: f.read, Ended: func(string) {},
	})
	if err != nil {
		return nil, err
	}
	m := &member{p, o.Identity}
	f.members = append(f.members, m)
	_, err = f.await(ctx, m.identity, isReady)
	return m, err
}

// replicaName sorts as replicas are born.
func replicaName(born int) string { return fmt.Sprintf("replica-%03d", born) }

func (f *fleet) read(stdout io.Reader) error {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		var t told
		if err := json.Unmarshal(lines.Bytes(), &t); err != nil {
			return fmt.Errorf("not a report: %q: %w", lines.Text(), err)
		}
		f.journal.Add(t)
	}
	return lines.Err()
}

// await waits until a process has told something.
func (f *fleet) await(ctx context.Context, identity, what string) (told, error) {
	t, err := f.journal.Await(ctx, patience, fmt.Sprintf("%s's %q", identity, what), func(t told) bool {
		return t.Replica == identity && t.What == what
	})
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", f.orders.Contender, err, &f.logs)
	}
	return t, err
}

// terms are the beginnings of work so far, in order.
func (f *fleet) terms() []told {
	return slices.DeleteFunc(f.journal.All(), func(t told) bool { return t.What != began })
}

// stop stops a process. If it led, stop waits until another one does.
func (f *fleet) stop(ctx context.Context, m *member) error {
	terms := f.terms()
	if err := m.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-m.Gone():
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(patience):
		return fmt.Errorf("%s of %s had not stopped after %v\n%s", m.identity, f.orders.Contender, patience, &f.logs)
	}
	f.members = slices.DeleteFunc(f.members, func(other *member) bool { return other == m })
	if err := m.Err(); err != nil {
		return fmt.Errorf("%s of %s: %w\n%s", m.identity, f.orders.Contender, err, &f.logs)
	}
	if terms[len(terms)-1].Replica != m.identity {
		return nil
	}
	count := 0
	_, err := f.journal.Await(ctx, patience, "a successor of "+m.identity, func(t told) bool {
		if t.What == began {
			count++
		}
		return count > len(terms)
	})
	return err
}

// close stops everybody, the followers first.
func (f *fleet) close() error {
	if f == nil {
		return nil
	}
	var errs []error
	for _, m := range slices.Backward(f.members) {
		errs = append(errs, m.Signal(syscall.SIGTERM))
	}
	deadline := time.After(patience)
	for _, m := range f.members {
		select {
		case <-m.Gone():
			errs = append(errs, m.Err())
		case <-deadline:
			m.Kill()
			errs = append(errs, fmt.Errorf("%s of %s had not stopped after %v and was killed", m.identity, f.orders.Contender, patience))
		}
	}
	f.members = nil
	return errors.Join(errs...)
}

// A rollout is what the replacement of all replicas came to.
type rollout struct {
	handovers int
	idle      time.Duration // for which nobody worked, all handovers together
	overlap   bool          // two worked at once
}

// A picker says which of the old processes is stopped as the i-th one. leader is
// who leads.
type picker func(i int, old []*member, leader string) *member

// inOrder stops the present processes in that order, 0 being the eldest.
func (f *fleet) inOrder(order []int) picker {
	members := slices.Clone(f.members)
	return func(i int, _ []*member, _ string) *member { return members[order[i]] }
}

// leaderFirst stops the leader for as long as that is an old one: no order has more
// handovers.
func leaderFirst(_ int, old []*member, leader string) *member {
	for _, m := range old {
		if m.identity == leader {
			return m
		}
	}
	return old[rand.N(len(old))]
}

// roll replaces all processes as a rolling update does: up to surge new ones are
// started before an old one is stopped. settled returns when an old one may be
// stopped.
func (f *fleet) roll(ctx context.Context, pick picker, surge int, settled func(context.Context) error) (rollout, error) {
	terms, old := f.terms(), slices.Clone(f.members)
	before, size, started := len(terms), len(old), 0
	for i := range size {
		for ; started < min(i+surge, size); started++ {
			if _, err := f.start(ctx); err != nil {
				return rollout{}, err
			}
			if err := settled(ctx); err != nil {
				return rollout{}, err
			}
		}
		terms = f.terms()
		next := pick(i, old, terms[len(terms)-1].Replica)
		old = slices.DeleteFunc(old, func(m *member) bool { return m == next })
		if err := f.stop(ctx, next); err != nil {
			return rollout{}, err
		}
	}
	return rolloutOf(f.journal.All(), before), nil
}

// rolloutOf reads a journal from the term on that was the last one before.
func rolloutOf(journal []told, before int) (r rollout) {
	journal = slices.DeleteFunc(journal, func(t told) bool { return t.What != began && t.What != ended })
	slices.SortStableFunc(journal, func(a, b told) int { return a.At.Compare(b.At) })
	terms, working := 0, 0
	var idleSince time.Time
	for _, t := range journal {
		if t.What == ended {
			working--
			idleSince = t.At
			continue
		}
		terms++
		working++
		if terms > before {
			r.handovers++
			r.overlap = r.overlap || working > 1
			r.idle += max(0, t.At.Sub(idleSince))
		}
	}
	return r
}
