package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// A report is the outcome of a run.
type report struct {
	violations []string // of the promises
	faults     map[string]int
	replicas   int
	processes  int
	took       time.Duration
	entries    int
	terms      int
	leadership lab.Leadership
	frozen     int // stale entries in the unguarded ledger that a frozen process sent after it woke
	late       int // other stale entries in the unguarded ledger
	guarded    int // stale entries in the guarded ledger
}

// judge reads the ledgers.
//
// An entry has a time from before its writer called IsLeader. If that time is later
// than the first such time of a later term, both writers were at work at once: that
// is an overlap, even if one of them was frozen or disconnected. If it is not later,
// but the entry was applied after an entry of a later term, the leader of its term
// decided on it in time and it arrived late: its process was frozen between the two
// steps, or a network delayed it. No elector can take such an entry back. The guarded
// ledger exists for this case: it must have no such entry.
func (r *runner) judge() *report {
	r.mu.Lock()
	defer r.mu.Unlock()
	unguarded, guarded := r.cluster.history.Of(unguardedLedger), r.cluster.history.Of(guardedLedger)
	now, both := time.Now(), slices.Concat(unguarded, guarded)
	rep := &report{
		violations: append(slices.Clone(r.violations), lab.JudgeWork(both)...),
		faults:     r.faults, replicas: len(r.pods), took: now.Sub(r.began),
		entries: len(both), terms: lab.Terms(both),
		leadership: lab.JudgeLeadership(lab.Spans(r.journal.All(), now), r.began, now),
	}
	for _, p := range r.pods {
		rep.processes += p.started
	}
	rep.countStale(unguarded, r.frozen)
	for _, e := range lab.Stale(guarded) {
		rep.guarded++
		rep.violations = append(rep.violations, fmt.Sprintf("the guarded ledger has an entry of %s, term %d, after an entry of a later term", e.Replica, e.Term))
	}
	rep.violations = append(rep.violations, rep.leadership.Overlaps...)
	return rep
}

// countStale counts the stale entries of the unguarded ledger.
func (rep *report) countStale(entries []lab.Entry, frozen []lab.Span) {
	for _, e := range lab.Stale(entries) {
		wasFrozen := func(f lab.Span) bool {
			return f.Replica == e.Replica && !f.To.Before(e.At) && f.From.Before(e.At.Add(lab.RequestTimeout))
		}
		if slices.ContainsFunc(frozen, wasFrozen) {
			rep.frozen++
		} else {
			rep.late++
		}
	}
}

// String returns the table that the soak prints at the end.
func (rep *report) String() string {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	row := func(what, format string, args ...any) {
		_, _ = fmt.Fprintf(table, "%s\t%s\n", what, fmt.Sprintf(format, args...)) // a Builder returns no error
	}
	total := 0
	for _, what := range slices.Sorted(maps.Keys(rep.faults)) {
		row("  "+what, "%d", rep.faults[what])
		total += rep.faults[what]
	}
	l := rep.leadership
	row("faults injected", "%d, into %d replicas with %d processes in total, in %v", total, rep.replicas, rep.processes, rep.took.Round(time.Second))
	row("handovers", "%d", max(0, rep.terms-1))
	row("time with a leader", "%.1f %%; longest time without a leader %v", 100*(1-l.None.Seconds()/rep.took.Seconds()), l.LongestGap.Round(time.Millisecond))
	row("ledger entries", "%d", rep.entries)
	row("  late ones in the unguarded ledger", "%d sent by a frozen process after it woke, %d delayed in other ways", rep.frozen, rep.late)
	row("  late ones in the guarded ledger", "%d", rep.guarded)
	row("overlaps and other violations", "%d", len(rep.violations))
	_ = table.Flush() // likewise
	for _, violation := range rep.violations {
		text.WriteString("  " + violation + "\n")
	}
	return text.String()
}
