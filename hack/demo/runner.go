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

// waitTimeout is the maximum time that the runner waits for an event.
const waitTimeout = time.Minute

// columnNames are the names of the replicas. The timeline has one column for each
// replica. The identity of a process consists of the replica's name and a number, for
// instance a-1.
var columnNames = []string{"a", "b", "c"}

// The kinds of events that only the demo uses.
const (
	note              lab.Kind = "note"              // an action of the runner; Detail describes the action
	lateWriteRefused  lab.Kind = "lateWriteRefused"  // the API server refused the write of writeLate; Detail is the reply
	lateWriteAccepted lab.Kind = "lateWriteAccepted" // the API server accepted the write of writeLate
)

// A runner runs the replicas and injects the faults of the scenario.
type runner struct {
	cluster   *lab.Cluster
	journal   *lab.Journal
	timeline  *timeline
	logs      *lab.LogTail
	abort     context.CancelCauseFunc
	processes map[string]*lab.Process // the running processes, keyed by identity
	started   map[string]int          // the number of processes that were started for each replica, keyed by the replica's name
	handovers []handover
	frozen    freeze
}

// A handover records a fault and the ledger entries before and after the fault. It is
// one line in the table that the demo prints at the end.
type handover struct {
	what   string
	before lab.Event // the event of the last ledger entry before the handover; the zero Event for the first election
	at     time.Time // the time of the fault; for the first election, the time at which the replicas were started
	after  lab.Event // the event of the first ledger entry after the handover
}

// A freeze is the time interval in which a leader was frozen.
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

// note adds an event of the kind note to the journal. The event describes an action of
// the runner.
func (r *runner) note(format string, args ...any) {
	r.journal.Add(lab.Event{At: time.Now(), Kind: note, Detail: fmt.Sprintf(format, args...)})
}

// start starts a new process of a replica. column is the name of the
// replica. Each process has its own identity.
func (r *runner) start(column string) error {
	r.started[column]++
	identity := fmt.Sprintf("%s-%d", column, r.started[column])
	s := settings{Namespace: r.cluster.Namespace, Kubeconfig: r.cluster.Kubeconfig, Fenced: r.cluster.Plane != nil}
	if r.cluster.Plane != nil {
		var err error
		if s.PodUID, err = r.runPod(identity); err != nil {
			return err
		}
	}
	p, err := lab.StartReplica(identity, s, r.logs, r.receive)
	if err != nil {
		return err
	}
	r.processes[identity] = p
	r.setState(identity, stateFollows)
	// The event must have the field Replica, because the bar of a process in the
	// picture begins at the first event of the process.
	r.journal.Add(lab.Event{At: time.Now(), Replica: identity, Kind: note, Detail: fmt.Sprintf("%s is started, process %d", identity, p.ID())})
	return nil
}

// receive adds an event of a replica to the journal. If the replica exited
// unexpectedly, receive aborts the scenario.
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

// setState changes the state that the timeline prints for a replica.
func (r *runner) setState(replica, state string) {
	r.journal.Do(func() { r.timeline.set(replica, state) })
}

// leader returns the event of the newest ledger entry. The writer of this entry is the
// leader.
func (r *runner) leader() lab.Event { return lastEntry(r.journal.All(), lab.Event{}) }

// signalLeader sends the signal s to the leader. It returns the last ledger entry
// before the signal, and the time of the signal.
func (r *runner) signalLeader(s syscall.Signal, name string) (lab.Event, time.Time, error) {
	old := r.leader()
	r.note("%s to %s, the leader", name, old.Replica)
	at := time.Now()
	return old, at, r.processes[old.Replica].Signal(s)
}

// awaitSuccessor waits for the first ledger entry with a term later than old.Term. Then
// it records a handover.
func (r *runner) awaitSuccessor(ctx context.Context, what string, old lab.Event, at time.Time) error {
	return r.awaitEntry(ctx, what, at, func(e lab.Event) bool { return e.Term > old.Term })
}

// awaitEntry waits until match returns true for the event of a ledger
// entry. Then it records a handover from the writer of the previous entry to the writer
// of this entry.
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

// awaitExit waits until the process has exited, and removes it from r.processes.
func (r *runner) awaitExit(ctx context.Context, identity string) error {
	if err := r.processes[identity].Await(ctx, waitTimeout); err != nil {
		return err
	}
	delete(r.processes, identity)
	return nil
}

// stopAll sends SIGTERM to every replica and waits until all replicas have exited.
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

// lastEntry returns the last event of the kind Appended before the event limit. If limit
// is the zero Event, lastEntry considers all events.
func lastEntry(events []lab.Event, limit lab.Event) lab.Event {
	var last lab.Event
	for _, e := range events {
		if e == limit {
			break
		}
		if e.Kind == lab.Appended {
			last = e
		}
	}
	return last
}
