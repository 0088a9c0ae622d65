package lab

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// JudgeOrder checks the entries of a ledger that was written with Append. The entries
// must be in the order in which they were stored. JudgeOrder returns one message for
// each violation. The possible violations are a missing entry, a repeated entry, an
// entry after the entry of a later term, and a second leader in a term.
func JudgeOrder(entries []Entry) []string {
	var violations []string
	report := func(i int, format string, args ...any) {
		e := entries[i]
		violations = append(violations, fmt.Sprintf("entry %d (%s, term %d, number %d) ", i+1, e.Replica, e.Term, e.Seq)+fmt.Sprintf(format, args...))
	}
	var newest Entry // the last entry of the highest term so far
	for i, e := range entries {
		switch {
		case e.Term < newest.Term:
			report(i, "was written after %s had written in term %d", newest.Replica, newest.Term)
			continue
		case e.Term > newest.Term && e.Seq != 1:
			report(i, "is the first of its term, %d entries are lost", e.Seq-1)
		case e.Term == newest.Term && e.Replica != newest.Replica:
			report(i, "is in the term of %s", newest.Replica)
		case e.Term == newest.Term && e.Seq != newest.Seq+1:
			report(i, "follows number %d", newest.Seq)
		}
		newest = e
	}
	return violations
}

// Stale returns each entry that was stored after an entry of a later term. The entries
// must be in the order in which they were stored.
func Stale(entries []Entry) []Entry {
	var stale []Entry
	var newest uint64
	for _, e := range entries {
		if e.Term < newest {
			stale = append(stale, e)
		}
		newest = max(newest, e.Term)
	}
	return stale
}

// Terms returns the number of different terms in the entries.
func Terms(entries []Entry) int {
	terms := map[uint64]bool{}
	for _, e := range entries {
		terms[e.Term] = true
	}
	return len(terms)
}

// JudgeWork checks when the replicas worked and returns one message for each violation.
// It is a violation if two replicas worked in the same term. It is also a violation if
// a replica worked in an earlier term after the work in a later term had begun. The
// order of the entries is irrelevant.
func JudgeWork(entries []Entry) (violations []string) {
	report := func(format string, args ...any) { violations = append(violations, fmt.Sprintf(format, args...)) }
	type work struct {
		term        uint64
		replica     string
		first, last time.Time
	}
	var works []*work
	for _, e := range entries {
		i := slices.IndexFunc(works, func(w *work) bool { return w.term == e.Term })
		if i < 0 {
			works = append(works, &work{e.Term, e.Replica, e.At, e.At})
			continue
		}
		switch w := works[i]; {
		case w.replica != e.Replica:
			report("term %d belongs to %s and to %s", e.Term, w.replica, e.Replica)
		case e.At.Before(w.first):
			w.first = e.At
		case e.At.After(w.last):
			w.last = e.At
		}
	}
	slices.SortFunc(works, func(a, b *work) int { return cmp.Compare(a.term, b.term) })
	for i, w := range works {
		for _, later := range works[i+1:] {
			if w.last.After(later.first) {
				report("%s was at work in term %d for %v after %s had begun in term %d",
					w.replica, w.term, w.last.Sub(later.first), later.replica, later.term)
			}
		}
	}
	return violations
}

// A Span is a time interval of one replica, for instance an interval in which IsLeader
// returned true.
type Span struct {
	// Replica is the identity of the replica.
	Replica string
	// From and To are the start and the end of the interval.
	From, To time.Time
}

// Spans returns the intervals in which the replicas led. The event Leads begins an
// interval. The next event Led or Exited of the same replica ends the interval. If a
// replica still leads, its interval ends at the time in the parameter now.
func Spans(events []Event, now time.Time) []Span {
	var all []Span
	open := map[string]time.Time{}
	closeAt := func(replica string, end time.Time) {
		if start, leading := open[replica]; leading {
			all = append(all, Span{Replica: replica, From: start, To: end})
			delete(open, replica)
		}
	}
	for _, e := range events {
		switch e.Kind {
		case Leads:
			open[e.Replica] = e.At
		case Led, Exited:
			closeAt(e.Replica, e.At)
		}
	}
	for replica := range open {
		closeAt(replica, now)
	}
	return all
}

// A Leadership summarizes how many replicas led, and for how long.
type Leadership struct {
	None, One, More time.Duration // the total times with no leader, one leader, and several leaders
	LongestGap      time.Duration // the longest time without a leader between two Spans
	Overlaps        []string      // one message for each Span that began before an earlier Span had ended
}

// JudgeLeadership returns a summary of the spans. The fields None, One and More cover
// only the time between the parameters start and end. If start is zero, the time begins
// with the first span. If end is zero, the time ends with the last span.
func JudgeLeadership(spans []Span, start, end time.Time) (l Leadership) {
	// Ignore spans that end before they start. A span ends before its start if IsLeader
	// returned true only once.
	spans = slices.DeleteFunc(slices.Clone(spans), func(s Span) bool { return s.To.Before(s.From) })
	if len(spans) == 0 {
		l.None = end.Sub(start)
		return l
	}
	slices.SortFunc(spans, func(a, b Span) int { return a.From.Compare(b.From) })
	if start.IsZero() {
		start = spans[0].From
	}
	var last Span // the span with the latest end so far
	for i, s := range spans {
		switch gap := s.From.Sub(last.To); {
		case i > 0 && gap < 0:
			l.Overlaps = append(l.Overlaps, fmt.Sprintf("IsLeader of %s returned true for %v while that of %s did", s.Replica, min(-gap, s.To.Sub(s.From)), last.Replica))
		case i > 0:
			l.LongestGap = max(l.LongestGap, gap)
		}
		if s.To.After(last.To) {
			last = s
		}
	}
	if end.IsZero() {
		end = last.To
	}
	l.count(spans, start, end)
	return l
}

// count adds the times with no leader, one leader and several leaders to the fields
// None, One and More. It counts only the time between the parameters start and end.
func (l *Leadership) count(spans []Span, start, end time.Time) {
	type edge struct {
		at   time.Time
		step int
	}
	edges := []edge{{end, 0}}
	for _, s := range spans {
		edges = append(edges, edge{s.From, 1}, edge{s.To, -1})
	}
	slices.SortFunc(edges, func(a, b edge) int { return a.at.Compare(b.at) })
	leaders := 0
	for _, e := range edges {
		if at := e.at; at.After(start) && !at.After(end) {
			switch took := at.Sub(start); leaders {
			case 0:
				l.None += took
			case 1:
				l.One += took
			default:
				l.More += took
			}
			start = at
		}
		leaders += e.step
	}
}
