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

// A Kind names what happened to a replica. Programs add kinds of their own.
type Kind string

// The kinds that the lab itself reports or reads.
const (
	Elected  Kind = "elected"  // the work of a term has begun
	Ended    Kind = "ended"    // the work of a term has stopped; Detail is the reason
	Leads    Kind = "leads"    // IsLeader returned true, for the first time since it returned false
	Led      Kind = "led"      // IsLeader returned true for the last time, at the time At
	Woke     Kind = "woke"     // the process noticed that it had been frozen; Detail is for how long
	Exited   Kind = "exited"   // the process has exited; Detail is its exit status
	Appended Kind = "appended" // the API server accepted a ledger entry
	Refused  Kind = "refused"  // the API server refused an entry: the ledger had changed since the read
	Failed   Kind = "failed"   // the first of several failed requests; Detail is the error
)

// An Event is one line that a replica prints. All replicas run on one machine, so
// their clocks agree.
type Event struct {
	At         time.Time `json:"at"`                   // when it happened
	Replica    string    `json:"replica,omitempty"`    // the identity
	Kind       Kind      `json:"kind"`                 // what happened
	Term       uint64    `json:"term,omitempty"`       // the fencing token
	Seq        int       `json:"seq,omitempty"`        // the number of a ledger entry in its term
	Detail     string    `json:"detail,omitempty"`     // for people; see the kinds
	Unexpected bool      `json:"unexpected,omitempty"` // an exit that the program had not caused
}

// A Reporter prints the events of one replica, one JSON object per line.
type Reporter struct {
	// Replica is the identity of the replica.
	Replica string
	// Out receives the lines.
	Out io.Writer

	mu sync.Mutex
}

// Report prints an event. It adds the replica's identity, and the time if it is
// missing.
func (r *Reporter) Report(e Event) {
	e.Replica = r.Replica
	if e.At.IsZero() {
		e.At = time.Now()
	}
	line := mustMarshal(e)
	r.mu.Lock()
	defer r.mu.Unlock()
	// A write fails only if the reader is gone. Then this process is about to stop.
	_, _ = fmt.Fprintf(r.Out, "%s\n", line)
}

// ReadEvents calls to with each event that a replica prints, until the replica has
// exited. A line that a kill has cut off ends the reading.
func ReadEvents(in io.Reader, to func(Event)) error {
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
		to(e)
	}
}

// replicaVariable holds the replicaSpec of a process that is a replica.
const replicaVariable = "INCUMBENT_LAB_REPLICA"

// A replicaSpec is what a replica's process must know.
type replicaSpec struct {
	Identity string
	Settings json.RawMessage
}

// StartReplica starts this program again as a replica. hear receives its events in
// order; the last one is Exited. The program must call RunReplica first.
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

// RunReplica runs this process as a replica and exits, if StartReplica started it.
// Otherwise it returns at once. A main function calls it first.
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
