package main

import (
	"encoding/xml"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// at returns a fixed start time plus the given number of seconds.
func at(seconds float64) time.Time {
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second)))
}

func leadership(replica string, from, to float64) []lab.Event {
	return []lab.Event{{Replica: replica, Kind: lab.Leads, At: at(from)}, {Replica: replica, Kind: lab.Led, At: at(to)}}
}

func goodSummary() summary {
	entryOf := func(replica string, term uint64, when float64) lab.Event {
		return lab.Event{Replica: replica, Term: term, Kind: lab.Appended, At: at(when)}
	}
	return summary{
		handovers: []handover{
			{what: "first election", at: at(0), after: entryOf("a-1", 7, 0.1)},
			{what: "freeze", before: entryOf("a-1", 7, 2.9), at: at(3), after: entryOf("b-1", 9, 18)},
			{what: "API server restarted", before: entryOf("b-1", 9, 23), at: at(23.1), after: entryOf("b-1", 9, 27)},
		},
		frozen: freeze{replica: "a-1", term: 7, from: at(3), to: at(20)},
		events: slices.Concat(leadership("b-1", 18, 30), leadership("a-1", 0, 3), []lab.Event{
			entryOf("a-1", 7, 2.9),
			{Replica: "a-1", Kind: lab.Woke, At: at(20.0005), Detail: "noticed a gap of 17.0 s, IsLeader() = false"},
			{Replica: "a-1", Kind: lab.Refused, Term: 7, At: at(20.001)},
			{Replica: "a-1", Kind: lab.Ended, Term: 7, At: at(20.002), Detail: "leaderelection: the Lease could not be renewed in time"},
			entryOf("b-1", 9, 21),
		}),
		entries: []lab.Entry{{Replica: "a-1", Term: 7, Seq: 1}, {Replica: "b-1", Term: 9, Seq: 1}},
		end:     at(31),
	}
}

func TestReport_OfAGoodDemonstration(t *testing.T) {
	const want = `what happened          leader   term   next leader   term   handover took         time without an entry
first election         -        -      a-1           7      0.100 s               -
freeze                 a-1      7      b-1           9      15.000 s              15.100 s
API server restarted   b-1      9      b-1           9      none: kept its term   4.000 s

Number of leaders from the first election to the end (each replica was asked 200 times a second):
  none    15.00 s
  one     15.00 s
  more     0.00 s

a-1 was frozen for 17.000 s, with a LeaseDuration of 15s. When it woke:
  after 0.5 ms it noticed a gap of 17.0 s, IsLeader() = false
  after 2.0 ms its work had stopped: the Lease could not be renewed in time
  entries that it still wrote in its old term: 0; entries that the API server refused: 1

The ledger has 2 entries of 2 terms.
No entry of an earlier term follows an entry of a later term, and no entry is missing.
`
	s := goodSummary()
	if diff := cmp.Diff(want, s.String()); diff != "" {
		t.Errorf("the report is not as wanted (-want +got):\n%s", diff)
	}
	if v := s.violations(); len(v) > 0 {
		t.Errorf("violations() = %q, want none", v)
	}
}

func TestReport_ListsViolations(t *testing.T) {
	s := goodSummary()
	s.entries = append(s.entries, lab.Entry{Replica: "a-1", Term: 7, Seq: 2})
	s.events = append(s.events, leadership("c-1", 29, 30)...)
	s.events = append(s.events, lab.Event{Kind: lateWriteAccepted, Replica: "a-1", At: at(29)})
	if v := s.violations(); len(v) != 3 {
		t.Errorf("violations() = %q, want the late entry, the second leader, and the write that passed the Fence", v)
	}
	for _, want := range []string{"WRONG: entry 3 (a-1, term 7", "WRONG: IsLeader of c-1 returned true for 1s while", "more     1.00 s"} {
		if !strings.Contains(s.String(), want) {
			t.Errorf("no %q in the report:\n%s", want, s)
		}
	}
}

func TestTimeline_ShowsTheStateOfEachReplica(t *testing.T) {
	var out strings.Builder
	line := newTimeline(&out, at(0), "a", "b")
	line.set("a-1", stateFollows)
	for _, e := range []lab.Event{
		{Kind: note, At: at(0), Detail: "a-1 is started"},
		{Kind: lab.Leads, Replica: "a-1", At: at(1)},
		{Kind: lab.Elected, Replica: "a-1", Term: 7, At: at(1)},
		{Kind: lab.Appended, Replica: "a-1", Term: 7, Seq: 1, At: at(1.5)},
		{Kind: lab.Appended, Replica: "a-1", Term: 7, Seq: 2, At: at(1.7)},
		{Kind: lab.Failed, Replica: "a-1", At: at(2), Detail: strings.Repeat("x", 100) + ": refused"},
		{Kind: lab.Exited, Replica: "a-1", At: at(3), Detail: "signal: killed"},
	} {
		line.print(e)
	}
	want := ` seconds  a       b         what happens
   0.000  .       -         a-1 is started
   1.000  LEADS   -         a-1 is elected, term 7
   1.500  LEADS   -         a-1 has its first entry in the ledger
   2.000  LEADS   -         a-1 cannot write: ...` + strings.Repeat("x", 61) + `: refused
   3.000  -       -         a-1 has exited (signal: killed)
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("the timeline is not as wanted (-want +got):\n%s", diff)
	}
}

func TestScenario_LeavesTheUsersAPIServerAlone(t *testing.T) {
	if own, users := scenario(true), scenario(false); len(users) != len(own)-2 {
		t.Fatalf("%d parts on a control plane of its own, %d on the user's cluster", len(own), len(users))
	}
	for _, p := range scenario(false) {
		if strings.Contains(p.title, "API server") || strings.Contains(p.title, "stand-in") {
			t.Errorf("on the user's cluster there is a part %q", p.title)
		}
	}
}

func TestSeconds(t *testing.T) {
	if got := seconds(1234567 * time.Microsecond); got != "1.235 s" {
		t.Errorf("seconds() = %q", got)
	}
}

func drawnSummary() summary {
	return summary{
		end: at(40),
		events: []lab.Event{
			{At: at(0), Replica: "a-1", Kind: lab.Leads}, {At: at(0), Replica: "b-1", Kind: lab.Woke},
			{At: at(10), Replica: "a-1", Kind: lab.Led}, {At: at(11), Replica: "a-1", Kind: lab.Exited}, {At: at(11), Replica: "b-1", Kind: lab.Leads},
		},
		handovers: []handover{{what: "SIGTERM <leader>", at: at(10), before: lab.Event{At: at(9), Replica: "a-1", Term: 1}, after: lab.Event{At: at(11), Term: 2}}},
		frozen:    freeze{replica: "b-1", from: at(20), to: at(30)},
	}
}

func TestPicture_HasABarForEachSpan(t *testing.T) {
	got, err := drawnSummary().svg("a", "b", "c")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`<rect class="leads" x="60" y="104" width="220"`,  // a-1 leads for 10 of 40 s
		`<rect class="leads" x="302" y="148" width="638"`, // b-1 leads from 11 s to the end
		`<rect class="runs" x="60" y="112" width="242"`,   // a-1 runs for 11 s
		`<rect class="frozen" x="500" y="148" width="220"`,
		`SIGTERM &lt;leader&gt;: 1.000 s`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("it lacks %s:\n%s", want, got)
		}
	}
	if _, err := (summary{}).svg("a"); err == nil {
		t.Error("a summary without events was drawn without an error")
	}
}

func TestPicture_BarsAndNamesAreCentredOnTheirRows(t *testing.T) {
	text, err := drawnSummary().svg("a", "b", "c")
	if err != nil {
		t.Fatal(err)
	}
	var svg struct {
		Rects []struct {
			Class  string  `xml:"class,attr"`
			Y      float64 `xml:"y,attr"`
			Height float64 `xml:"height,attr"`
			Title  string  `xml:"title"`
		} `xml:"rect"`
		Texts []struct {
			Y    float64 `xml:"y,attr"`
			Text string  `xml:",chardata"`
		} `xml:"text"`
	}
	if err := xml.Unmarshal([]byte(text), &svg); err != nil {
		t.Fatalf("it is not XML: %v", err)
	}
	rows := map[string]float64{}
	for _, label := range svg.Texts {
		rows[label.Text] = label.Y
	}
	if rows["a"] == 0 || rows["b"]-rows["a"] != rowHeight || rows["c"]-rows["b"] != rowHeight {
		t.Errorf("the rows are at %v", rows)
	}
	centred := map[string]int{}
	for _, bar := range svg.Rects {
		if bar.Title == "" {
			continue // this rectangle belongs to the background or to the legend
		}
		centred[bar.Class]++
		if got, want := bar.Y+bar.Height/2, rows[column(bar.Title)]; got != want {
			t.Errorf("the middle of the bar %q is at %v, want %v, the middle of its row", bar.Title, got, want)
		}
	}
	if diff := cmp.Diff(map[string]int{"runs": 2, "leads": 2, "frozen": 1}, centred); diff != "" {
		t.Errorf("bars (-want +got):\n%s", diff)
	}
}
