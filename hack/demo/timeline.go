package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// timeline prints events as they come: the time, what each replica is, and what
// happened.
type timeline struct {
	out      io.Writer
	start    time.Time
	columns  []string          // the replicas' names without the number of the process
	state    map[string]string // by column
	announce map[uint64]bool   // terms whose first entry was announced
}

const (
	stateGone   = "-"
	stateWaits  = "."
	stateLeads  = "LEADS"
	stateFrozen = "frozen"
	stateAwake  = "awake"
)

func newTimeline(out io.Writer, start time.Time, columns ...string) *timeline {
	t := &timeline{out: out, start: start, columns: columns, state: map[string]string{}, announce: map[uint64]bool{}}
	for _, c := range columns {
		t.state[c] = stateGone
	}
	_, _ = fmt.Fprintf(out, "%8s  %s  what happens\n", "seconds", t.cells(func(c string) string { return c }))
	return t
}

// set changes what a replica is, for the lines that follow.
func (t *timeline) set(replica, state string) { t.state[column(replica)] = state }

// print shows an event if it means something to people.
func (t *timeline) print(e event) {
	text := t.describe(e)
	if text == "" {
		return
	}
	_, _ = fmt.Fprintf(t.out, "%8.3f  %s  %s\n", e.At.Sub(t.start).Seconds(),
		t.cells(func(c string) string { return t.state[c] }), text)
}

// describe also follows what the replica is.
func (t *timeline) describe(e event) string {
	switch e.Kind {
	case elected:
		t.set(e.Replica, stateLeads)
		return fmt.Sprintf("%s is elected, term %d", e.Replica, e.Term)
	case ended:
		t.set(e.Replica, stateWaits)
		return fmt.Sprintf("%s has stopped its work: %s", e.Replica, strings.TrimPrefix(e.Detail, "leaderelection: "))
	case appended:
		if t.announce[e.Term] {
			return ""
		}
		t.announce[e.Term] = true
		return fmt.Sprintf("%s has its first entry in the ledger", e.Replica)
	case refused:
		return fmt.Sprintf("%s: an entry was refused, the ledger has changed meanwhile", e.Replica)
	case failed:
		return fmt.Sprintf("%s cannot write: %s", e.Replica, shorten(e.Detail, 70))
	case woke:
		t.set(e.Replica, stateAwake)
		return fmt.Sprintf("%s %s", e.Replica, e.Detail)
	case fencedOff:
		return fmt.Sprintf("%s writes past its elector, and the API server refuses that: %s", e.Replica, e.Detail)
	case tooLate:
		return fmt.Sprintf("%s writes past its elector, and the API server accepts that", e.Replica)
	case exited:
		t.set(e.Replica, stateGone)
		return fmt.Sprintf("%s is gone (%s)", e.Replica, e.Detail)
	case told:
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

// act prints a heading.
func (t *timeline) act(title string) {
	_, _ = fmt.Fprintf(t.out, "\n          %s\n", title)
}

// column is the replica's name without the number of its process.
func column(replica string) string {
	name, _, _ := strings.Cut(replica, "-")
	return name
}

// shorten keeps the end, where Go's errors have their cause.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return "..." + s[len(s)-n:]
}
