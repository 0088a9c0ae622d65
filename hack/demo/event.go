package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// A kind says what happened to a replica.
type kind string

const (
	elected   kind = "elected"   // OnStartedLeading was called
	ended     kind = "ended"     // the work has stopped; Detail says why
	leads     kind = "leads"     // IsLeader answers true, for the first time since it did not
	led       kind = "led"       // IsLeader answered true the last time at At
	appended  kind = "appended"  // the ledger took an entry
	refused   kind = "refused"   // the ledger changed since it was read: the entry was not taken
	failed    kind = "failed"    // the first of a row of requests that failed; Detail says how
	woke      kind = "woke"      // the process noticed that it was frozen; Detail says for how long
	fencedOff kind = "fencedOff" // the API server refused an unconditional write of a leader that was frozen; Detail is its answer
	tooLate   kind = "tooLate"   // the API server accepted it
	exited    kind = "exited"    // written by the director: the process is gone
	told      kind = "told"      // written by the director: Detail says what it does
)

// An event is one line that a replica prints. All replicas run on one machine,
// so their clocks are one clock.
type event struct {
	At      time.Time `json:"at"`
	Replica string    `json:"replica,omitempty"`
	Kind    kind      `json:"kind"`
	Term    uint64    `json:"term,omitempty"`
	Seq     int       `json:"seq,omitempty"`
	Detail  string    `json:"detail,omitempty"`
}

// reporter prints events, one JSON object a line.
type reporter struct {
	replica string
	mu      sync.Mutex
	out     io.Writer
}

func (r *reporter) report(e event) {
	e.Replica = r.replica
	if e.At.IsZero() {
		e.At = time.Now()
	}
	line, err := json.Marshal(e)
	if err != nil {
		panic("bug: " + err.Error())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	// If nobody reads any more, the director is gone and the process will be told.
	_, _ = fmt.Fprintf(r.out, "%s\n", line)
}

// readEvents hands on the events that a replica prints, until it has exited.
func readEvents(in io.Reader, to func(event)) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("not an event: %q: %w", lines.Text(), err)
		}
		to(e)
	}
	return lines.Err()
}
