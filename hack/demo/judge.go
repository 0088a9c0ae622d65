package main

import "fmt"

// judge reads the ledger in the order in which it was written, and names every
// entry that shows two leaders at work at once, or a write that was lost.
func judge(entries []entry) []string {
	var violations []string
	report := func(i int, format string, args ...any) {
		e := entries[i]
		violations = append(violations, fmt.Sprintf("entry %d (%s, term %d, number %d) ", i+1, e.Replica, e.Term, e.Seq)+fmt.Sprintf(format, args...))
	}
	var newest entry // the last entry of the highest term so far
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

// terms counts the terms in the ledger.
func terms(entries []entry) int {
	seen := map[uint64]bool{}
	for _, e := range entries {
		seen[e.Term] = true
	}
	return len(seen)
}
