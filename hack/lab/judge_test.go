package lab

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// at returns a fixed start time plus the given number of seconds.
func at(seconds float64) time.Time {
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second)))
}

func TestJudgeOrder(t *testing.T) {
	e := func(replica string, term uint64, seq int) Entry { return Entry{Replica: replica, Term: term, Seq: seq} }
	for _, tc := range []struct {
		name    string
		entries []Entry
		want    []string // one substring for each expected message
	}{
		{"empty", nil, nil},
		{"one leader after the other", []Entry{e("a", 7, 1), e("a", 7, 2), e("b", 9, 1), e("a", 12, 1)}, nil},
		{"the old leader writes once more", []Entry{e("a", 7, 1), e("b", 9, 1), e("a", 7, 2), e("b", 9, 2)},
			[]string{"entry 3 (a, term 7, number 2) was written after b had written in term 9"}},
		{"each late entry counts", []Entry{e("a", 7, 1), e("b", 9, 1), e("a", 7, 2), e("a", 7, 3)},
			[]string{"entry 3", "entry 4"}},
		{"one term has two leaders", []Entry{e("a", 7, 1), e("b", 7, 2)}, []string{"is in the term of a"}},
		{"an entry was overwritten", []Entry{e("a", 7, 1), e("a", 7, 3)}, []string{"follows number 1"}},
		{"an entry is there twice", []Entry{e("a", 7, 1), e("a", 7, 1)}, []string{"follows number 1"}},
		{"the beginning of a term is lost", []Entry{e("a", 7, 3)}, []string{"2 entries are lost"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := JudgeOrder(tc.entries)
			if len(got) != len(tc.want) {
				t.Fatalf("JudgeOrder() = %q, want %d violations", got, len(tc.want))
			}
			for i := range got {
				if !strings.Contains(got[i], tc.want[i]) {
					t.Errorf("violation %d is %q, want %q in it", i, got[i], tc.want[i])
				}
			}
		})
	}
}

func TestTerms_CountsEachTermOnce(t *testing.T) {
	if n := Terms([]Entry{{Term: 7}, {Term: 9}, {Term: 7}}); n != 2 {
		t.Errorf("Terms() = %d, want 2", n)
	}
}

func TestJudgeWork_FindsOverlapsInAnyOrderOfEntries(t *testing.T) {
	e := func(replica string, term uint64, seconds float64) Entry {
		return Entry{Replica: replica, Term: term, At: at(seconds)}
	}
	for _, tc := range []struct {
		name    string
		entries []Entry // in the order in which etcd stored the entries
		want    string  // a substring of the expected message; empty if no violation is expected
	}{
		{"one after the other", []Entry{e("a", 7, 0), e("a", 7, 1), e("b", 9, 2), e("a", 12, 3)}, ""},
		{"both at work", []Entry{e("a", 7, 0), e("b", 9, 2), e("a", 7, 3)}, "a was at work in term 7 for 1s after b"},
		{"both at work, in the right order", []Entry{e("a", 7, 0), e("a", 7, 3), e("b", 9, 2)}, "a was at work in term 7"},
		{"two terms apart", []Entry{e("a", 7, 0), e("a", 7, 5), e("b", 9, 6), e("c", 12, 4)}, "a was at work in term 7"},
		{"applied late", []Entry{e("a", 7, 0), e("b", 9, 9), e("a", 7, 1)}, ""},
		{"two in one term", []Entry{e("a", 7, 0), e("b", 7, 1)}, "term 7 belongs to a and to b"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			all := strings.Join(JudgeWork(tc.entries), "\n")
			if !strings.Contains(all, tc.want) || (tc.want == "") != (all == "") {
				t.Errorf("violations = %q, want %q", all, tc.want)
			}
		})
	}
}

func leadership(replica string, from, to float64) []Event {
	return []Event{{Replica: replica, Kind: Leads, At: at(from)}, {Replica: replica, Kind: Led, At: at(to)}}
}

func TestJudgeLeadership_CountsLeaders(t *testing.T) {
	killed := []Event{{Replica: "a", Kind: Leads, At: at(1)}, {Replica: "a", Kind: Exited, At: at(4)}}
	open := []Event{{Replica: "a", Kind: Leads, At: at(1)}}
	for _, tc := range []struct {
		name   string
		events []Event
		want   []float64 // expected seconds with no leader, one leader and several leaders
	}{
		{"no leader ever", nil, []float64{0, 0, 0}},
		{"a handover with a pause", slices.Concat(leadership("a", 1, 3), leadership("b", 4, 6)), []float64{1, 4, 0}},
		{"a handover without a pause", slices.Concat(leadership("a", 1, 3), leadership("b", 3, 6)), []float64{0, 5, 0}},
		{"an overlap", slices.Concat(leadership("a", 1, 4), leadership("b", 3, 6)), []float64{0, 4, 1}},
		{"a killed leader led until its process was gone", slices.Concat(killed, leadership("b", 6, 7)), []float64{2, 4, 0}},
		{"a leader that still leads", open, []float64{0, 9, 0}},
		{"a frozen leader reports late when it led last", append([]Event{{Replica: "a", Kind: Leads, At: at(1)}},
			slices.Concat(leadership("b", 5, 8), []Event{{Replica: "a", Kind: Led, At: at(2)}})...), []float64{3, 4, 0}},
		{"a replica that leads twice", slices.Concat(leadership("a", 1, 2), leadership("a", 3, 4)), []float64{1, 2, 0}},
		{"three leaders", slices.Concat(leadership("a", 1, 4), leadership("b", 1, 4), leadership("c", 1, 4)), []float64{0, 0, 3}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := JudgeLeadership(Spans(tc.events, at(10)), time.Time{}, time.Time{})
			if got := []float64{l.None.Seconds(), l.One.Seconds(), l.More.Seconds()}; !slices.Equal(got, tc.want) {
				t.Errorf("seconds with no, one and several leaders: %v, want %v", got, tc.want)
			}
			if (l.More > 0) != (len(l.Overlaps) > 0) {
				t.Errorf("several leaders for %v, but overlaps: %q", l.More, l.Overlaps)
			}
		})
	}
}

func TestJudgeLeadership_NamesReplicasThatLedAtTheSameTime(t *testing.T) {
	start, end := at(0), at(10)
	l := JudgeLeadership([]Span{{"b", at(4), at(9)}, {"a", at(0), at(3)}}, start, end)
	if want := (Leadership{None: 2 * time.Second, One: 8 * time.Second, LongestGap: time.Second}); l.None != want.None || l.One != want.One || l.LongestGap != want.LongestGap || len(l.Overlaps) > 0 {
		t.Errorf("leadership is %+v, want %+v", l, want)
	}
	l = JudgeLeadership([]Span{{"a", at(0), at(5)}, {"b", at(4), at(9)}}, start, end)
	if len(l.Overlaps) != 1 || !strings.Contains(l.Overlaps[0], "IsLeader of b returned true for 1s while that of a did") {
		t.Errorf("overlaps = %q", l.Overlaps)
	}
	l = JudgeLeadership([]Span{{"a", at(0), at(9)}, {"b", at(1), at(2)}, {"c", at(4), at(5)}}, start, end)
	if len(l.Overlaps) != 2 {
		t.Errorf("overlaps = %q, want one of b and one of c, within the span of a", l.Overlaps)
	}
	// The first span begins before the start time. Only the part after the start time
	// counts. The second span is ignored, because it ends before it begins.
	l = JudgeLeadership([]Span{{"a", at(-5), at(2)}, {"b", at(4), at(3.99)}}, start, end)
	if l.One != 2*time.Second || l.None != 8*time.Second || len(l.Overlaps) > 0 {
		t.Errorf("leadership is %+v, want 2 s of 10 s", l)
	}
}
