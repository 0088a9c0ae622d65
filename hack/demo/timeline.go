package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// A timeline prints events as they arrive. Each line contains the time, the state of
// each replica, and a description of the event.
type timeline struct {
	out     io.Writer
	start   time.Time
	columns []string          // the names of the replicas
	state   map[string]string // the state of each replica, keyed by the replica's name
	printed map[uint64]bool   // the terms whose first ledger entry was printed
}

// The states that the timeline prints for a replica.
const (
	stateGone    = "-"
	stateFollows = "."
	stateLeads   = "LEADS"
	stateFrozen  = "frozen"
	stateAwake   = "awake"
)

func newTimeline(out io.Writer, start time.Time, columns ...string) *timeline {
	t := &timeline{out: out, start: start, columns: columns, state: map[string]string{}, printed: map[uint64]bool{}}
	for _, c := range columns {
		t.state[c] = stateGone
	}
	_, _ = fmt.Fprintf(out, "%8s  %s  what happens\n", "seconds", t.cells(func(c string) string { return c }))
	return t
}

// set changes the state of a replica. The timeline prints the new state in all
// following lines.
func (t *timeline) set(replica, state string) { t.state[column(replica)] = state }

// print prints the event e. It prints nothing if the method describe returns an empty
// string.
func (t *timeline) print(e lab.Event) {
	text := t.describe(e)
	if text == "" {
		return
	}
	_, _ = fmt.Fprintf(t.out, "%8.3f  %s  %s\n", e.At.Sub(t.start).Seconds(),
		t.cells(func(c string) string { return t.state[c] }), text)
}

// describe returns a description of the event e. It returns an empty string if e must
// not be printed. It also updates the state of the replica.
func (t *timeline) describe(e lab.Event) string {
	switch e.Kind {
	case lab.Elected:
		t.set(e.Replica, stateLeads)
		return fmt.Sprintf("%s is elected, term %d", e.Replica, e.Term)
	case lab.Ended:
		t.set(e.Replica, stateFollows)
		return fmt.Sprintf("%s has stopped its work: %s", e.Replica, strings.TrimPrefix(e.Detail, "leaderelection: "))
	case lab.Appended:
		if t.printed[e.Term] {
			return ""
		}
		t.printed[e.Term] = true
		return fmt.Sprintf("%s has its first entry in the ledger", e.Replica)
	case lab.Refused:
		return fmt.Sprintf("%s: an entry was refused because the ledger has changed", e.Replica)
	case lab.Failed:
		return fmt.Sprintf("%s cannot write: %s", e.Replica, shorten(e.Detail, 70))
	case lab.Woke:
		t.set(e.Replica, stateAwake)
		return fmt.Sprintf("%s %s", e.Replica, e.Detail)
	case lateWriteRefused:
		return fmt.Sprintf("%s bypasses its elector, and the API server refuses its write: %s", e.Replica, e.Detail)
	case lateWriteAccepted:
		return fmt.Sprintf("%s bypasses its elector, and the API server accepts its write", e.Replica)
	case lab.Exited:
		t.set(e.Replica, stateGone)
		return fmt.Sprintf("%s has exited (%s)", e.Replica, e.Detail)
	case note:
		return e.Detail
	}
	return ""
}

func (t *timeline) cells(content func(column string) string) string {
	var b strings.Builder
	for _, c := range t.columns {
		fmt.Fprintf(&b, "%-8s", content(c))
	}
	return b.String()
}

// heading prints the title of a part of the scenario.
func (t *timeline) heading(title string) {
	_, _ = fmt.Fprintf(t.out, "\n          %s\n", title)
}

// column returns the name of the replica to which a process belongs. The parameter
// replica is the identity of the process. For the identity "a-1", the name is "a".
func column(replica string) string {
	name, _, _ := strings.Cut(replica, "-")
	return name
}

// shorten returns s if s has at most n bytes. Otherwise it returns three dots and the
// last n bytes of s. It keeps the end of s, because the end of an error message usually
// contains the cause.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return "..." + s[len(s)-n:]
}
