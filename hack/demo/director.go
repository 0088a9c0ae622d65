package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"

	"github.com/haproxy-template-ic/incumbent/hack/spawn"
)

// patience is how long the director waits for anything that should happen.
const patience = time.Minute

// columnNames are those of the replicas without the number of the process.
var columnNames = []string{"a", "b", "c"}

// director runs the replicas and does to them what the scenario says.
type director struct {
	cluster   *cluster
	record    *spawn.Journal[event]
	timeline  *timeline
	logs      *spawn.Tail
	abort     context.CancelCauseFunc
	processes map[string]*process // by identity, those that run
	born      map[string]int      // processes started so far, by column
	mayEnd    sync.Map            // identities whose end is no surprise
	handovers []handover
	frozen    wakening
}

// A handover is one line of the table.
type handover struct {
	what   string
	before event     // the old leader's last entry; zero for the first election
	struck time.Time // when the old leader was told, killed, frozen or cut off
	after  event     // the new leader's first entry
}

// A wakening is what a frozen leader did when it was let go.
type wakening struct {
	replica       string
	term          uint64
	frozen, awake time.Time
}

func newDirector(c *cluster, out io.Writer, logs *spawn.Tail) *director {
	d := &director{cluster: c, logs: logs, processes: map[string]*process{}, born: map[string]int{}}
	d.timeline = newTimeline(out, time.Now(), columnNames...)
	d.record = &spawn.Journal[event]{Tell: d.timeline.print}
	return d
}

// say puts a line of the director's own on the timeline.
func (d *director) say(format string, args ...any) {
	d.record.Add(event{At: time.Now(), Kind: told, Detail: fmt.Sprintf(format, args...)})
}

// start starts a new process in the column: a new process has a new identity.
func (d *director) start(column string) error {
	d.born[column]++
	identity := fmt.Sprintf("%s-%d", column, d.born[column])
	p, err := startReplica(identity, []string{
		"-replica", identity, "-namespace", d.cluster.namespace, "-kubeconfig", d.cluster.kubeconfig,
		fmt.Sprintf("-fenced=%t", d.cluster.own != nil),
	}, d.logs, d.hear)
	if err != nil {
		return fmt.Errorf("starting %s: %w", identity, err)
	}
	d.processes[identity] = p
	d.mark(identity, stateWaits)
	d.record.Add(event{At: time.Now(), Replica: identity, Kind: told, Detail: fmt.Sprintf("%s is started, process %d", identity, p.ID())})
	return nil
}

// hear takes the events of the replicas.
func (d *director) hear(e event) {
	d.record.Add(e)
	if _, expected := d.mayEnd.Load(e.Replica); e.Kind == exited && !expected {
		d.abort(fmt.Errorf("%s ended by itself (%s); the end of the logs:\n%s", e.Replica, e.Detail, d.logs))
	}
}

// heading prints the title of an act.
func (d *director) heading(title string) {
	d.record.Do(func() { d.timeline.act(title) })
}

// mark changes a column of the timeline.
func (d *director) mark(replica, state string) {
	d.record.Do(func() { d.timeline.set(replica, state) })
}

// leader is the newest entry in the ledger, and with it who leads.
func (d *director) leader() event { return lastEntry(d.record.All(), event{}) }

// strike sends the leader a signal, and returns its last entry before that.
func (d *director) strike(s syscall.Signal, name string) (event, time.Time, error) {
	old := d.leader()
	d.say("%s to %s, the leader", name, old.Replica)
	if s != syscall.SIGSTOP {
		d.mayEnd.Store(old.Replica, true)
	}
	at := time.Now()
	return old, at, d.processes[old.Replica].signal(s)
}

// awaitSuccessor waits for the first entry of a later term.
func (d *director) awaitSuccessor(ctx context.Context, what string, old event, struck time.Time) error {
	return d.awaitEntry(ctx, what, struck, func(e event) bool { return e.Term > old.Term })
}

// awaitEntry waits until the ledger takes an entry that matches, and notes who
// wrote before it, and when.
func (d *director) awaitEntry(ctx context.Context, what string, struck time.Time, match func(event) bool) error {
	first, err := d.record.Await(ctx, patience, "the next leader's first entry", func(e event) bool {
		return e.Kind == appended && match(e)
	})
	if err != nil {
		return err
	}
	d.handovers = append(d.handovers, handover{what: what, before: lastEntry(d.record.All(), first), struck: struck, after: first})
	return nil
}

// awaitGone waits until the process has exited.
func (d *director) awaitGone(ctx context.Context, identity string) error {
	p := d.processes[identity]
	select {
	case <-p.Gone():
		delete(d.processes, identity)
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(patience):
		return fmt.Errorf("%s has not exited after %v", identity, patience)
	}
}

// watch lets the leader work for a while.
func (d *director) watch(ctx context.Context, how time.Duration) error {
	select {
	case <-time.After(how):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// stopAll asks every replica to stop and waits until they are gone.
func (d *director) stopAll(ctx context.Context) error {
	var errs []error
	for identity, p := range d.processes {
		d.mayEnd.Store(identity, true)
		errs = append(errs, p.signal(syscall.SIGTERM))
	}
	for identity := range d.processes {
		errs = append(errs, d.awaitGone(ctx, identity))
	}
	return errors.Join(errs...)
}

// killAll leaves no process behind, whatever happened before.
func (d *director) killAll() {
	for identity, p := range d.processes {
		d.mayEnd.Store(identity, true)
		p.Kill()
		delete(d.processes, identity)
	}
}

// lastEntry is the last entry that the ledger took before the one given, which
// is the newest of all if it is the zero event.
func lastEntry(events []event, before event) event {
	var last event
	for _, e := range events {
		if e == before {
			break
		}
		if e.Kind == appended {
			last = e
		}
	}
	return last
}
