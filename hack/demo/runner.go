package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// waitTimeout is how long the runner waits for any event.
const waitTimeout = time.Minute

// columnNames are the names of the replicas without the number of the process.
var columnNames = []string{"a", "b", "c"}

// The kinds of events of the demo itself.
const (
	note              lab.Kind = "note"              // of the runner; Detail is what it does
	lateWriteRefused  lab.Kind = "lateWriteRefused"  // the API server refused an unconditional write of a leader that was frozen; Detail is its reply
	lateWriteAccepted lab.Kind = "lateWriteAccepted" // the API server accepted such a write
)

// A runner runs the replicas and injects the faults of the scenario.
type runner struct {
	cluster   *lab.Cluster
	journal   *lab.Journal
	timeline  *timeline
	logs      *lab.LogTail
	abort     context.CancelCauseFunc
	processes map[string]*lab.Process // by identity; only those that run
	started   map[string]int          // number of processes so far, by column
	handovers []handover
	frozen    freeze
}

// A handover is one line of the table.
type handover struct {
	what   string
	before lab.Event // the old leader's last entry; zero for the first election
	at     time.Time // when the old leader was stopped, killed, frozen or cut off
	after  lab.Event // the new leader's first entry
}

// A freeze is the time during which a leader was frozen.
type freeze struct {
	replica  string
	term     uint64
	from, to time.Time
}

func newRunner(c *lab.Cluster, out io.Writer, logs *lab.LogTail) *runner {
	r := &runner{cluster: c, logs: logs, processes: map[string]*lab.Process{}, started: map[string]int{}}
	r.timeline = newTimeline(out, time.Now(), columnNames...)
	r.journal = &lab.Journal{OnEvent: r.timeline.print}
	return r
}

// note prints a line of the runner itself on the timeline.
func (r *runner) note(format string, args ...any) {
	r.journal.Add(lab.Event{At: time.Now(), Kind: note, Detail: fmt.Sprintf(format, args...)})
}

// start starts a new process in the column. A new process has a new identity.
func (r *runner) start(column string) error {
	r.started[column]++
	identity := fmt.Sprintf("%s-%d", column, r.started[column])
	p, err := lab.StartReplica(identity, settings{
		Namespace: r.cluster.Namespace, Kubeconfig: r.cluster.Kubeconfig, Fenced: r.cluster.Plane != nil,
	}, r.logs, r.receive)
	if err != nil {
		return err
	}
	r.processes[identity] = p
	r.setState(identity, stateFollows)
	// The replica's name makes this event the beginning of its bar in the picture.
	r.journal.Add(lab.Event{At: time.Now(), Replica: identity, Kind: note, Detail: fmt.Sprintf("%s is started, process %d", identity, p.ID())})
	return nil
}

// receive records an event of a replica.
func (r *runner) receive(e lab.Event) {
	r.journal.Add(e)
	if e.Unexpected {
		r.abort(fmt.Errorf("%s exited unexpectedly (%s); the last lines of the logs:\n%s", e.Replica, e.Detail, r.logs))
	}
}

// heading prints the title of a part of the scenario.
func (r *runner) heading(title string) {
	r.journal.Do(func() { r.timeline.heading(title) })
}

// setState changes the state of a replica on the timeline.
func (r *runner) setState(replica, state string) {
	r.journal.Do(func() { r.timeline.set(replica, state) })
}

// leader returns the newest entry in the ledger. Its replica is the leader.
func (r *runner) leader() lab.Event { return lastEntry(r.journal.All(), lab.Event{}) }

// signalLeader sends the leader a signal and returns its last entry before that.
func (r *runner) signalLeader(s syscall.Signal, name string) (lab.Event, time.Time, error) {
	old := r.leader()
	r.note("%s to %s, the leader", name, old.Replica)
	at := time.Now()
	return old, at, r.processes[old.Replica].Signal(s)
}

// awaitSuccessor waits for the first entry of a later term.
func (r *runner) awaitSuccessor(ctx context.Context, what string, old lab.Event, at time.Time) error {
	return r.awaitEntry(ctx, what, at, func(e lab.Event) bool { return e.Term > old.Term })
}

// awaitEntry waits until the ledger has an entry that matches, and records the
// handover from the writer of the entry before it.
func (r *runner) awaitEntry(ctx context.Context, what string, at time.Time, match func(lab.Event) bool) error {
	first, err := r.journal.Await(ctx, waitTimeout, "the next leader's first entry", func(e lab.Event) bool {
		return e.Kind == lab.Appended && match(e)
	})
	if err != nil {
		return err
	}
	r.handovers = append(r.handovers, handover{what: what, before: lastEntry(r.journal.All(), first), at: at, after: first})
	return nil
}

// awaitExit waits until the process has exited.
func (r *runner) awaitExit(ctx context.Context, identity string) error {
	if err := r.processes[identity].Await(ctx, waitTimeout); err != nil {
		return err
	}
	delete(r.processes, identity)
	return nil
}

// stopAll stops every replica and waits until all have exited.
func (r *runner) stopAll(ctx context.Context) error {
	var errs []error
	for _, p := range r.processes {
		errs = append(errs, p.Signal(syscall.SIGTERM))
	}
	for identity := range r.processes {
		errs = append(errs, r.awaitExit(ctx, identity))
	}
	return errors.Join(errs...)
}

// killAll kills all processes that still run.
func (r *runner) killAll() {
	for identity, p := range r.processes {
		p.Kill()
		delete(r.processes, identity)
	}
}

// lastEntry returns the last ledger entry before another one. If that event
// is zero, it returns the newest entry.
func lastEntry(events []lab.Event, before lab.Event) lab.Event {
	var last lab.Event
	for _, e := range events {
		if e == before {
			break
		}
		if e.Kind == lab.Appended {
			last = e
		}
	}
	return last
}
