package main

import (
	"strings"
	"testing"
	"time"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

func at(seconds float64) time.Time {
	return time.Unix(1000, 0).Add(time.Duration(seconds * float64(time.Second)))
}

func TestJudge_DistinguishesOverlapsFromEntriesThatArrivedLate(t *testing.T) {
	e := func(replica string, term uint64, seconds float64) lab.Entry {
		return lab.Entry{Replica: replica, Term: term, At: at(seconds)}
	}
	late := []lab.Entry{e("a", 7, 0), e("b", 9, 9), e("a", 7, 1)}
	for _, tt := range []struct {
		name         string
		entries      []lab.Entry // in the order in which etcd stored the entries
		frozen       []lab.Span
		want         string // a substring of the expected message; empty if no violation is expected
		asleep, late int
	}{
		{name: "one after the other", entries: []lab.Entry{e("a", 7, 0), e("a", 7, 1), e("b", 9, 2), e("a", 12, 3)}},
		{name: "both at work", entries: []lab.Entry{e("a", 7, 0), e("b", 9, 2), e("a", 7, 3)}, want: "a was at work in term 7 for 1s after b", late: 1},
		{name: "both at work, in the right order", entries: []lab.Entry{e("a", 7, 0), e("a", 7, 3), e("b", 9, 2)}, want: "a was at work in term 7"},
		{name: "two terms apart", entries: []lab.Entry{e("a", 7, 0), e("a", 7, 5), e("b", 9, 6), e("c", 12, 4)}, want: "a was at work in term 7"},
		{name: "sent by a frozen process after it woke", entries: late, frozen: []lab.Span{{Replica: "a", From: at(1.1), To: at(12)}}, asleep: 1},
		{name: "another process was frozen", entries: late, frozen: []lab.Span{{Replica: "c", From: at(1.1), To: at(12)}}, late: 1},
		{name: "the process had woken before", entries: late, frozen: []lab.Span{{Replica: "a", From: at(0.1), To: at(0.9)}}, late: 1},
		{name: "frozen, and at work after it woke", entries: []lab.Entry{e("a", 7, 0), e("b", 9, 9), e("a", 7, 12.5)},
			frozen: []lab.Span{{Replica: "a", From: at(1.1), To: at(12)}}, want: "a was at work in term 7", late: 1},
		{name: "two in one term", entries: []lab.Entry{e("a", 7, 0), e("b", 7, 1)}, want: "term 7 belongs to a and to b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rep := &report{violations: lab.JudgeWork(tt.entries)}
			rep.countStale(tt.entries, tt.frozen)
			all := strings.Join(rep.violations, "\n")
			if !strings.Contains(all, tt.want) || (tt.want == "") != (all == "") {
				t.Errorf("violations = %q, want %q", all, tt.want)
			}
			if rep.frozen != tt.asleep || rep.late != tt.late {
				t.Errorf("frozen = %d, late = %d; want %d and %d", rep.frozen, rep.late, tt.asleep, tt.late)
			}
		})
	}
}

func TestReport_ShowsTheShareOfTimeWithALeader(t *testing.T) {
	spans := []lab.Span{{Replica: "b", From: at(4), To: at(9)}, {Replica: "a", From: at(0), To: at(3)}}
	rep := &report{took: 10 * time.Second, terms: 2, leadership: lab.JudgeLeadership(spans, at(0), at(10))}
	const want = "handovers 1 time with a leader 80.0 %; longest time without a leader 1s"
	if got := strings.Join(strings.Fields(rep.String()), " "); !strings.Contains(got, want) {
		t.Errorf("no %q in the report:\n%s", want, rep)
	}
}
