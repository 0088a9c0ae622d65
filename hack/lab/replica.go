package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// A Kind is the type of an Event. A program can define additional kinds.
type Kind string

// The kinds of events that package lab reports or evaluates.
const (
	Elected  Kind = "elected"  // the work of a term has begun
	Ended    Kind = "ended"    // the work of a term has stopped; Detail is the reason
	Leads    Kind = "leads"    // the result of IsLeader changed from false to true
	Led      Kind = "led"      // the result of IsLeader changed from true to false; At is the time of the last call that returned true
	Woke     Kind = "woke"     // the process noticed that it had been frozen; Detail contains the duration
	Exited   Kind = "exited"   // the process has exited; Detail is the exit status
	Appended Kind = "appended" // the API server accepted a ledger entry
	Refused  Kind = "refused"  // the API server refused a ledger entry, because the ledger had changed
	Failed   Kind = "failed"   // a request failed; consecutive failures are reported only once; Detail is the error
)

// An Event records something that happened to a replica. All replicas run on one
// machine. Therefore the times of all events are comparable.
type Event struct {
	At         time.Time `json:"at"`                    // the time of the event
	Replica    string    `json:"replica,omitempty"`     // the identity of the replica
	Kind       Kind      `json:"kind"`                  // what happened
	Term       uint64    `json:"term,string,omitempty"` // the fencing token of the term
	Seq        int       `json:"seq,omitempty"`         // the number of a ledger entry in its term
	Detail     string    `json:"detail,omitempty"`      // additional information; see the comment of the Kind
	Unexpected bool      `json:"unexpected,omitempty"`  // true if the process exited without a call of MayExit
}

// A Reporter prints the events of one replica, one JSON object per line.
type Reporter struct {
	// Replica is the identity of the replica.
	Replica string
	// Out is the writer to which the Reporter prints the events.
	Out io.Writer

	mu sync.Mutex
}

// Report prints the event e. It sets e.Replica to the replica's identity. If e.At is
// zero, Report sets e.At to the current time.
func (r *Reporter) Report(e Event) {
	e.Replica = r.Replica
	if e.At.IsZero() {
		e.At = time.Now()
	}
	line := mustMarshal(e)
	r.mu.Lock()
	defer r.mu.Unlock()
	// Ignore the error. A write fails only if the parent process has exited. Then this
	// process also stops soon.
	_, _ = fmt.Fprintf(r.Out, "%s\n", line)
}

// ReadEvents reads the output of a replica until the end, and calls handle
// with each event. It ignores an incomplete last line, because a killed replica may
// leave an incomplete line.
func ReadEvents(in io.Reader, handle func(Event)) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("not an event: %q: %w", line, err)
		}
		handle(e)
	}
}

// replicaVariable is the environment variable that contains a replicaSpec in JSON
// format. It is set only in the process of a replica.
const replicaVariable = "INCUMBENT_LAB_REPLICA"

// A replicaSpec contains the data that StartReplica passes to the process of a replica.
type replicaSpec struct {
	Identity string
	Settings json.RawMessage
}

// StartReplica starts this program again as a new process that runs a replica. It
// passes the parameter settings to the replica. It writes the log of the replica to the
// parameter logs. It calls hear with each event of the replica, in order.
// The last event is Exited. The program must call RunReplica at the beginning of main.
func StartReplica(identity string, settings any, logs io.Writer, hear func(Event)) (*Process, error) {
	spec := mustMarshal(replicaSpec{identity, mustMarshal(settings)})
	p, err := startProcess(identity, replicaVariable+"="+string(spec), logs,
		func(stdout io.Reader) error { return ReadEvents(stdout, hear) },
		func(p *Process) {
			hear(Event{At: time.Now(), Replica: identity, Kind: Exited, Detail: p.cmd.ProcessState.String(), Unexpected: !p.mayExit.Load()})
		})
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", identity, err)
	}
	return p, nil
}

// RunReplica runs a replica if StartReplica has started this process. It calls the
// function run and then exits the process. In any other process, RunReplica does
// nothing. Call RunReplica at the beginning of main.
func RunReplica[S any](run func(ctx context.Context, settings S, events *Reporter) error) {
	text := os.Getenv(replicaVariable)
	if text == "" {
		return
	}
	ctx, stop := processContext()
	var spec replicaSpec
	var settings S
	err := json.Unmarshal([]byte(text), &spec)
	if err == nil {
		err = json.Unmarshal(spec.Settings, &settings)
	}
	if err == nil {
		err = run(ctx, settings, &Reporter{Replica: spec.Identity, Out: os.Stdout})
	}
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", spec.Identity, err)
		os.Exit(ExitViolated)
	}
	os.Exit(0)
}

func mustMarshal(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic("bug: " + err.Error())
	}
	return text
}
