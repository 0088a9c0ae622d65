package main

import (
	"slices"
	"time"
)

// A timeline is one handover, in milliseconds from the moment at which the leader
// was told to stop.
type timeline struct {
	Stopped         float64 `json:"stopped"` // the leader's work
	ReleaseSent     float64 `json:"releaseSent"`
	ReleaseAnswered float64 `json:"releaseAnswered"`
	Heard           float64 `json:"heard"` // the watch's event
	ClaimSent       float64 `json:"claimSent"`
	ClaimAnswered   float64 `json:"claimAnswered"`
	Started         float64 `json:"started"` // the successor's work
}

// newTimeline reads the marks of both wires. It is nil if something else went over
// them at the same time, a renewal for instance.
func newTimeline(h handover, stopped time.Time, leader, heir []mark) *timeline {
	since := func(at time.Time) float64 { return milliseconds(at.Sub(h.asked)) }
	t := &timeline{Stopped: since(stopped), Started: since(h.started)}
	soon := h.started.Add(time.Second)
	ok := true
	only := func(marks []mark, what string) float64 {
		found := slices.DeleteFunc(slices.Clone(marks), func(m mark) bool {
			return m.What != what || m.At.Before(h.asked) || m.At.After(soon)
		})
		if len(found) != 1 {
			ok = false
			return 0
		}
		return since(found[0].At)
	}
	t.ReleaseSent, t.ReleaseAnswered = only(leader, writeSent), only(leader, writeAnswered)
	t.ClaimSent, t.ClaimAnswered = only(heir, writeSent), only(heir, writeAnswered)
	for _, m := range heir {
		if at := since(m.At); m.What == watchHeard && at > t.ReleaseSent && at < t.ClaimSent {
			t.Heard = at
		}
	}
	if !ok || t.Heard == 0 {
		return nil
	}
	return t
}

// middle is the timeline of the handover that took the median time.
func middle(timelines []timeline) *timeline {
	if len(timelines) == 0 {
		return nil
	}
	sorted := slices.SortedFunc(slices.Values(timelines), func(a, b timeline) int {
		return int(1e6 * (a.Started - b.Started))
	})
	return &sorted[(len(sorted)-1)/2]
}
