package main

import (
	"cmp"
	"slices"
	"time"
)

// A span is a time during which one replica's IsLeader answered true.
type span struct {
	replica    string
	start, end time.Time
}

// spans reads from the events when each replica led. A replica that was killed
// cannot say when it led last: it led until it was gone. One that was frozen
// says so when it wakes: what counts is what it answered, and a frozen process
// answers nothing.
func spans(events []event, now time.Time) []span {
	var all []span
	open := map[string]time.Time{}
	closeAt := func(replica string, end time.Time) {
		if start, leading := open[replica]; leading {
			all = append(all, span{replica: replica, start: start, end: end})
			delete(open, replica)
		}
	}
	for _, e := range events {
		switch e.Kind {
		case leads:
			open[e.Replica] = e.At
		case led, exited:
			closeAt(e.Replica, e.At)
		}
	}
	for replica := range open {
		closeAt(replica, now)
	}
	return all
}

// leaderTimes says for how long there were how many leaders, from the beginning
// of the first span to the end of the last: element n is the time with n leaders.
func leaderTimes(all []span) []time.Duration {
	type edge struct {
		at   time.Time
		step int
	}
	var edges []edge
	for _, s := range all {
		edges = append(edges, edge{s.start, 1}, edge{s.end, -1})
	}
	slices.SortStableFunc(edges, func(a, b edge) int {
		return cmp.Or(a.at.Compare(b.at), a.step-b.step) // at one moment, ends first
	})
	times := make([]time.Duration, max(3, len(all)+1))
	leaders, since := 0, time.Time{}
	for i, e := range edges {
		if i > 0 {
			times[leaders] += e.at.Sub(since)
		}
		leaders, since = leaders+e.step, e.at
	}
	return times
}
