package main

import (
	"slices"
	"testing"
	"time"
)

// at is a moment that many seconds into the demonstration.
func at(seconds float64) time.Time {
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second)))
}

func leadership(replica string, from, to float64) []event {
	return []event{{Replica: replica, Kind: leads, At: at(from)}, {Replica: replica, Kind: led, At: at(to)}}
}

func TestLeaderTimes(t *testing.T) {
	killed := []event{{Replica: "a", Kind: leads, At: at(1)}, {Replica: "a", Kind: exited, At: at(4)}}
	open := []event{{Replica: "a", Kind: leads, At: at(1)}}
	for _, tc := range []struct {
		name   string
		events []event
		want   []float64 // seconds with none, one and two leaders
	}{
		{"nobody ever led", nil, []float64{0, 0, 0}},
		{"a handover with a pause", slices.Concat(leadership("a", 1, 3), leadership("b", 4, 6)), []float64{1, 4, 0}},
		{"a handover without one", slices.Concat(leadership("a", 1, 3), leadership("b", 3, 6)), []float64{0, 5, 0}},
		{"an overlap", slices.Concat(leadership("a", 1, 4), leadership("b", 3, 6)), []float64{0, 4, 1}},
		{"a killed leader led until it was gone", slices.Concat(killed, leadership("b", 6, 7)), []float64{2, 4, 0}},
		{"a leader that still leads", open, []float64{0, 9, 0}},
		{"a frozen leader tells late when it led last", append([]event{{Replica: "a", Kind: leads, At: at(1)}},
			slices.Concat(leadership("b", 5, 8), []event{{Replica: "a", Kind: led, At: at(2)}})...), []float64{3, 4, 0}},
		{"a replica that leads twice", slices.Concat(leadership("a", 1, 2), leadership("a", 3, 4)), []float64{1, 2, 0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []float64
			for _, d := range leaderTimes(spans(tc.events, at(10)))[:3] {
				got = append(got, d.Seconds())
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("leaderTimes() = %v s, want %v s", got, tc.want)
			}
		})
	}
}

func TestLeaderTimes_ThreeLeadersAreCounted(t *testing.T) {
	events := slices.Concat(leadership("a", 1, 4), leadership("b", 1, 4), leadership("c", 1, 4))
	if times := leaderTimes(spans(events, at(9))); times[3] != 3*time.Second {
		t.Errorf("leaderTimes() = %v, want 3 s with three leaders", times)
	}
}
