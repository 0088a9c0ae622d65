package main

import (
	"fmt"
	"slices"
	"time"
)

// A verdict is what the referee found.
type verdict struct {
	violations []string // of what is promised
	harm       map[string]int
	replicas   int
	processes  int
	took       time.Duration
	entries    int
	terms      int
	longest    time.Duration // without a leader
	share      float64       // of the time with one
	frozen     int           // entries of frozen processes that came after those of a later term
	late       int           // others that were on their way so long
}

// judge reads the ledgers.
//
// An entry carries a time from before its writer asked whether it leads. If that
// is later than the first such time of a later term, both were at work then: that
// is an overlap, whoever is frozen or cut off. If it is not, but the entry was
// applied after one of a later term, it was on its way meanwhile: decided by who
// led, and sent by a process that was frozen between the two, or held by a network.
// No elector can take such an entry back. That is what the guarded ledger is for,
// in which there must be none.
func (d *director) judge() *verdict {
	d.mu.Lock()
	defer d.mu.Unlock()
	open, guarded := d.cluster.history.of(openLedger), d.cluster.history.of(guardedLedger)
	v := &verdict{
		violations: slices.Clone(d.problems), harm: d.harm, replicas: len(d.pods), took: time.Since(d.began),
		entries: len(open) + len(guarded),
	}
	for _, p := range d.pods {
		v.processes += p.life
	}
	v.judgeTerms(slices.Concat(open, guarded))
	v.judgeOrder(open, d.frozen)
	for _, e := range stale(guarded) {
		v.violatedf("the guarded ledger has an entry of %s, term %d, after one of a later term", e.Replica, e.Term)
	}
	v.judgeReigns(d.reigns, d.began)
	return v
}

func (v *verdict) violatedf(format string, args ...any) {
	v.violations = append(v.violations, fmt.Sprintf(format, args...))
}

// judgeTerms looks who was at work in which term, and when.
func (v *verdict) judgeTerms(entries []entry) {
	type work struct {
		replica     string
		first, last time.Time
	}
	works := map[uint64]*work{}
	for _, e := range entries {
		w := works[e.Term]
		switch {
		case w == nil:
			works[e.Term] = &work{e.Replica, e.At, e.At}
			continue
		case w.replica != e.Replica:
			v.violatedf("term %d is of %s and of %s", e.Term, w.replica, e.Replica)
		case e.At.Before(w.first):
			w.first = e.At
		case e.At.After(w.last):
			w.last = e.At
		}
	}
	var terms []uint64
	for term := range works {
		terms = append(terms, term)
	}
	slices.Sort(terms)
	v.terms = len(terms)
	for i, term := range terms {
		for _, later := range terms[i+1:] {
			if w, l := works[term], works[later]; w.last.After(l.first) {
				v.violatedf("%s was at work in term %d for %v after %s had begun in term %d",
					w.replica, term, w.last.Sub(l.first), l.replica, later)
			}
		}
	}
}

// stale are the entries that were applied after one of a later term.
func stale(entries []entry) []entry {
	var found []entry
	var newest uint64
	for _, e := range entries {
		if e.Term < newest {
			found = append(found, e)
		}
		newest = max(newest, e.Term)
	}
	return found
}

// judgeOrder counts the entries that were on their way for too long.
func (v *verdict) judgeOrder(entries []entry, frozen []freeze) {
	for _, e := range stale(entries) {
		slept := func(f freeze) bool {
			return f.replica == e.Replica && !f.to.Before(e.At) && f.from.Before(e.At.Add(requestTimeout))
		}
		if slices.ContainsFunc(frozen, slept) {
			v.frozen++
		} else {
			v.late++
		}
	}
}

// judgeReigns looks for two whose IsLeader said yes at once, and for times without
// anybody.
func (v *verdict) judgeReigns(reigns []reign, began time.Time) {
	reigns = slices.DeleteFunc(slices.Clone(reigns), func(r reign) bool { return r.to.Before(r.from) })
	slices.SortFunc(reigns, func(a, b reign) int { return a.from.Compare(b.from) })
	var covered time.Duration
	var last reign // the one of those so far that ended last
	for i, r := range reigns {
		switch gap := r.from.Sub(last.to); {
		case i > 0 && gap < 0:
			v.violatedf("%s said that it leads for %v while %s did", r.replica, min(-gap, r.to.Sub(r.from)), last.replica)
		case i > 0:
			v.longest = max(v.longest, gap)
		}
		if r.to.After(last.to) {
			last = r
		}
		from := r.from
		if from.Before(began) {
			from = began
		}
		covered += max(0, r.to.Sub(from))
	}
	v.share = 100 * covered.Seconds() / v.took.Seconds()
}
