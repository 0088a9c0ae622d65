package main

import (
	"strings"
	"testing"
)

func TestJudge(t *testing.T) {
	e := func(replica string, term uint64, seq int) entry { return entry{Replica: replica, Term: term, Seq: seq} }
	for _, tc := range []struct {
		name    string
		entries []entry
		want    []string // a part of each violation
	}{
		{"empty", nil, nil},
		{"one leader after the other", []entry{e("a", 7, 1), e("a", 7, 2), e("b", 9, 1), e("a", 12, 1)}, nil},
		{"the old leader writes once more", []entry{e("a", 7, 1), e("b", 9, 1), e("a", 7, 2), e("b", 9, 2)},
			[]string{"entry 3 (a, term 7, number 2) was written after b had written in term 9"}},
		{"each late entry counts", []entry{e("a", 7, 1), e("b", 9, 1), e("a", 7, 2), e("a", 7, 3)},
			[]string{"entry 3", "entry 4"}},
		{"one term has two leaders", []entry{e("a", 7, 1), e("b", 7, 2)}, []string{"is in the term of a"}},
		{"an entry was overwritten", []entry{e("a", 7, 1), e("a", 7, 3)}, []string{"follows number 1"}},
		{"an entry is there twice", []entry{e("a", 7, 1), e("a", 7, 1)}, []string{"follows number 1"}},
		{"the beginning of a term is lost", []entry{e("a", 7, 3)}, []string{"2 entries are lost"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := judge(tc.entries)
			if len(got) != len(tc.want) {
				t.Fatalf("judge() = %q, want %d violations", got, len(tc.want))
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
	if n := terms([]entry{{Term: 7}, {Term: 9}, {Term: 7}}); n != 2 {
		t.Errorf("terms() = %d, want 2", n)
	}
}
