package main

import (
	"encoding/xml"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func goodSummary() summary {
	entryOf := func(replica string, term uint64, when float64) event {
		return event{Replica: replica, Term: term, Kind: appended, At: at(when)}
	}
	return summary{
		handovers: []handover{
			{what: "first election", struck: at(0), after: entryOf("a-1", 7, 0.1)},
			{what: "freeze", before: entryOf("a-1", 7, 2.9), struck: at(3), after: entryOf("b-1", 9, 18)},
			{what: "API server restarted", before: entryOf("b-1", 9, 23), struck: at(23.1), after: entryOf("b-1", 9, 27)},
		},
		frozen: wakening{replica: "a-1", term: 7, frozen: at(3), awake: at(20)},
		events: slices.Concat(leadership("b-1", 18, 30), leadership("a-1", 0, 3), []event{
			entryOf("a-1", 7, 2.9),
			{Replica: "a-1", Kind: woke, At: at(20.0005), Detail: "noticed a gap of 17.0 s, IsLeader() = false"},
			{Replica: "a-1", Kind: refused, Term: 7, At: at(20.001)},
			{Replica: "a-1", Kind: ended, Term: 7, At: at(20.002), Detail: "leaderelection: the Lease could not be renewed in time"},
			entryOf("b-1", 9, 21),
		}),
		entries: []entry{{Replica: "a-1", Term: 7, Seq: 1}, {Replica: "b-1", Term: 9, Seq: 1}},
		end:     at(31),
	}
}

func TestReport_OfAGoodDemonstration(t *testing.T) {
	const want = `what happened          leader   term   next leader   term   handover took         nobody wrote for
first election         -        -      a-1           7      0.100 s               -
freeze                 a-1      7      b-1           9      15.000 s              15.100 s
API server restarted   b-1      9      b-1           9      none: kept its term   4.000 s

Leaders at any moment, from the first election to the end (each replica was asked 200 times a second):
  none    15.00 s
  one     15.00 s
  more     0.00 s

a-1 was frozen for 17.000 s, with a lease of 15s. When it woke:
  after 0.5 ms it noticed a gap of 17.0 s, IsLeader() = false
  after 2.0 ms its work had stopped: the Lease could not be renewed in time
  entries that it still wrote in its old term: 0; that it tried to write and were refused: 1

The ledger has 2 entries of 2 terms.
No entry of an earlier term follows one of a later term, and none is missing.
`
	s := goodSummary()
	if diff := cmp.Diff(want, s.String()); diff != "" {
		t.Errorf("the report is not as wanted (-want +got):\n%s", diff)
	}
	if v := s.verdict(); len(v) > 0 {
		t.Errorf("verdict() = %q, want none", v)
	}
}

func TestReport_SaysWhatIsWrong(t *testing.T) {
	s := goodSummary()
	s.entries = append(s.entries, entry{Replica: "a-1", Term: 7, Seq: 2})
	s.events = append(s.events, leadership("c-1", 29, 30)...)
	s.events = append(s.events, event{Kind: tooLate, Replica: "a-1", At: at(29)})
	if v := s.verdict(); len(v) != 3 {
		t.Errorf("verdict() = %q, want the late entry, the second leader, and the write that passed the Fence", v)
	}
	for _, want := range []string{"WRONG: entry 3 (a-1, term 7", "WRONG: for 1s more than one replica", "more     1.00 s"} {
		if !strings.Contains(s.String(), want) {
			t.Errorf("no %q in the report:\n%s", want, s)
		}
	}
}

func TestTimeline_ShowsWhatEachReplicaIs(t *testing.T) {
	var out strings.Builder
	line := newTimeline(&out, at(0), "a", "b")
	line.set("a-1", stateWaits)
	for _, e := range []event{
		{Kind: told, At: at(0), Detail: "a-1 is started"},
		{Kind: leads, Replica: "a-1", At: at(1)},
		{Kind: elected, Replica: "a-1", Term: 7, At: at(1)},
		{Kind: appended, Replica: "a-1", Term: 7, Seq: 1, At: at(1.5)},
		{Kind: appended, Replica: "a-1", Term: 7, Seq: 2, At: at(1.7)},
		{Kind: failed, Replica: "a-1", At: at(2), Detail: strings.Repeat("x", 100) + ": refused"},
		{Kind: exited, Replica: "a-1", At: at(3), Detail: "signal: killed"},
	} {
		line.print(e)
	}
	want := ` seconds  a       b         what happens
   0.000  .       -         a-1 is started
   1.000  LEADS   -         a-1 is elected, term 7
   1.500  LEADS   -         a-1 has its first entry in the ledger
   2.000  LEADS   -         a-1 cannot write: ...` + strings.Repeat("x", 61) + `: refused
   3.000  -       -         a-1 is gone (signal: killed)
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("the timeline is not as wanted (-want +got):\n%s", diff)
	}
}

func TestScenario_LeavesTheUsersAPIServerAlone(t *testing.T) {
	if own, users := scenario(true), scenario(false); len(users) != len(own)-1 {
		t.Fatalf("%d acts on our own control plane, %d on the user's", len(own), len(users))
	}
	for _, a := range scenario(false) {
		if strings.Contains(a.title, "API server") {
			t.Errorf("the user's cluster is to suffer %q", a.title)
		}
	}
}

func TestSeconds(t *testing.T) {
	if got := seconds(1234567 * time.Microsecond); got != "1.235 s" {
		t.Errorf("seconds() = %q", got)
	}
}

func TestSummary_IsDrawn(t *testing.T) {
	s := summary{
		end: at(40),
		events: []event{
			{At: at(0), Replica: "a-1", Kind: leads}, {At: at(0), Replica: "b-1", Kind: woke},
			{At: at(10), Replica: "a-1", Kind: led}, {At: at(11), Replica: "a-1", Kind: exited}, {At: at(11), Replica: "b-1", Kind: leads},
		},
		handovers: []handover{{what: "SIGTERM <leader>", struck: at(10), before: event{At: at(9), Replica: "a-1", Term: 1}, after: event{At: at(11), Term: 2}}},
		frozen:    wakening{replica: "b-1", frozen: at(20), awake: at(30)},
	}
	got, err := s.svg("a", "b", "c")
	if err != nil {
		t.Fatal(err)
	}
	if err := xml.Unmarshal([]byte(got), new(struct{})); err != nil {
		t.Errorf("it is no XML: %v", err)
	}
	for _, want := range []string{
		`<rect class="leads" x="60" y="96" width="220"`,   // a-1 leads for 10 of 40 s
		`<rect class="leads" x="302" y="140" width="638"`, // b-1 from 11 s to the end
		`<rect class="alive" x="60" y="96" width="242"`,   // a-1 is there for 11 s
		`<rect class="frozen" x="500" y="140" width="220"`,
		`SIGTERM &lt;leader&gt;: 1.000 s`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("it lacks %s:\n%s", want, got)
		}
	}
	if _, err := (summary{}).svg("a"); err == nil {
		t.Error("nothing was drawn without an error")
	}
}
