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

// A report contains the results of one run of the soak.
type report struct {
	violations []string       // one message for each violation of a promise
	faults     map[string]int // how often each kind of fault was injected
	replicas   int
	processes  int
	took       time.Duration
	entries    int
	terms      int
	leadership lab.Leadership
	frozen     int // number of stale entries in the unguarded ledger that a frozen process sent after it woke
	late       int // number of all other stale entries in the unguarded ledger
	guarded    int // number of stale entries in the guarded ledger
}

// judge evaluates the ledgers and returns the report.
//
// Each entry contains the time just before its writer called IsLeader. An entry is an
// overlap if this time is later than the time of the first entry of a later term. An
// overlap shows that two replicas worked at the same time. Therefore an overlap is a
// violation, even if one of the two replicas was frozen or disconnected.
//
// An entry is stale if etcd stored it after an entry of a later term. A stale entry need
// not be an overlap. For instance, a process is frozen between the call of IsLeader and
// the request, and sends the request when it wakes. Another example is a network that
// delays the request. No elector can prevent such a stale entry. Therefore judge only
// counts the stale entries in the unguarded ledger. The policy of the guarded ledger must
// refuse every stale entry. Therefore a stale entry in the guarded ledger is a violation.
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

// countStale counts the stale entries of the unguarded ledger. It adds an entry to
// rep.frozen if its writer was frozen within RequestTimeout after the time in the
// entry. Otherwise it adds the entry to rep.late. frozen contains the
// intervals in which processes were frozen.
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
		_, _ = fmt.Fprintf(table, "%s\t%s\n", what, fmt.Sprintf(format, args...)) // ignore the error, because a strings.Builder returns none
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
	_ = table.Flush() // ignore the error, because a strings.Builder returns none
	for _, violation := range rep.violations {
		text.WriteString("  " + violation + "\n")
	}
	return text.String()
}
