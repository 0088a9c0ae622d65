package main

import (
	"strings"
	"testing"
	"time"
)

var start = time.Unix(1000, 0)

func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

func TestJudge_TellsOverlapsFromEntriesThatWereOnTheirWay(t *testing.T) {
	e := func(replica string, term uint64, seconds float64) entry {
		return entry{Replica: replica, Term: term, At: at(seconds)}
	}
	for _, tt := range []struct {
		name         string
		entries      []entry // in the order in which they were applied
		frozen       []freeze
		want         string // part of the violation, "" for none
		asleep, late int
	}{
		{name: "one after the other", entries: []entry{e("a", 7, 0), e("a", 7, 1), e("b", 9, 2), e("a", 12, 3)}},
		{name: "both at work", entries: []entry{e("a", 7, 0), e("b", 9, 2), e("a", 7, 3)}, want: "a was at work in term 7 for 1s after b", late: 1},
		{name: "both at work, though never in the wrong order", entries: []entry{e("a", 7, 0), e("a", 7, 3), e("b", 9, 2)}, want: "a was at work in term 7"},
		{name: "not the next term, but one after that", entries: []entry{e("a", 7, 0), e("a", 7, 5), e("b", 9, 6), e("c", 12, 4)}, want: "a was at work in term 7"},
		{name: "sent by a frozen process when it woke", entries: []entry{e("a", 7, 0), e("b", 9, 9), e("a", 7, 1)},
			frozen: []freeze{{"a", at(1.1), at(12)}}, asleep: 1},
		{name: "somebody else was frozen", entries: []entry{e("a", 7, 0), e("b", 9, 9), e("a", 7, 1)},
			frozen: []freeze{{"c", at(1.1), at(12)}}, late: 1},
		{name: "it had woken before", entries: []entry{e("a", 7, 0), e("b", 9, 9), e("a", 7, 1)},
			frozen: []freeze{{"a", at(0.1), at(0.9)}}, late: 1},
		{name: "frozen, and at work after it woke", entries: []entry{e("a", 7, 0), e("b", 9, 9), e("a", 7, 12.5)},
			frozen: []freeze{{"a", at(1.1), at(12)}}, want: "a was at work in term 7", late: 1},
		{name: "two in one term", entries: []entry{e("a", 7, 0), e("b", 7, 1)}, want: "term 7 is of a and of b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := &verdict{}
			v.judgeTerms(tt.entries)
			v.judgeOrder(tt.entries, tt.frozen)
			all := strings.Join(v.violations, "\n")
			if !strings.Contains(all, tt.want) || (tt.want == "") != (all == "") {
				t.Errorf("violations = %q, want %q", all, tt.want)
			}
			if v.frozen != tt.asleep || v.late != tt.late {
				t.Errorf("frozen = %d, late = %d; want %d and %d", v.frozen, v.late, tt.asleep, tt.late)
			}
		})
	}
}

func TestJudge_FindsTwoWhoSayThatTheyLead(t *testing.T) {
	v := &verdict{took: 10 * time.Second}
	v.judgeReigns([]reign{{"b", at(4), at(9)}, {"a", at(0), at(3)}}, start)
	if len(v.violations) > 0 || v.longest != time.Second || v.share < 79.9 || v.share > 80.1 {
		t.Errorf("violations = %q, longest = %v, share = %.1f; want none, 1s and 80", v.violations, v.longest, v.share)
	}
	v.judgeReigns([]reign{{"a", at(0), at(5)}, {"b", at(4), at(9)}}, start)
	if len(v.violations) != 1 || !strings.Contains(v.violations[0], "b said that it leads for 1s while a did") {
		t.Errorf("violations = %q", v.violations)
	}
	v = &verdict{took: 10 * time.Second}
	v.judgeReigns([]reign{{"a", at(0), at(9)}, {"b", at(1), at(2)}, {"c", at(4), at(5)}}, start)
	if len(v.violations) != 2 {
		t.Errorf("violations = %q, want one for b and one for c, within a's reign", v.violations)
	}
}
