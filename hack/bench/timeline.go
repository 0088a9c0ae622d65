package main

import (
	"math"
	"slices"
	"time"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// A timeline contains the times of one handover, in milliseconds since the leader was
// asked to stop.
type timeline struct {
	Stopped         float64 `json:"stopped"` // the leader's work has stopped
	ReleaseSent     float64 `json:"releaseSent"`
	ReleaseAnswered float64 `json:"releaseAnswered"`
	Observed        float64 `json:"observed"` // the successor received the watch event of the release
	ClaimSent       float64 `json:"claimSent"`
	ClaimAnswered   float64 `json:"claimAnswered"`
	Started         float64 `json:"started"` // the successor's work has started
}

// newTimeline returns the timeline of a handover. The parameters leader and successor
// contain the exchanges of the two candidates. newTimeline returns nil if a renewal was
// sent during the handover, or if the successor received no watch event.
func newTimeline(h handover, stopped time.Time, leader, successor []exchange) *timeline {
	since := func(at time.Time) float64 { return lab.Milliseconds(at.Sub(h.began)) }
	t := &timeline{Stopped: since(stopped), Started: since(h.started)}
	end := h.started.Add(time.Second)
	ok := true
	only := func(trace []exchange, what string) float64 {
		found := slices.DeleteFunc(slices.Clone(trace), func(e exchange) bool {
			return e.What != what || e.At.Before(h.began) || e.At.After(end)
		})
		if len(found) != 1 {
			ok = false
			return 0
		}
		return since(found[0].At)
	}
	t.ReleaseSent, t.ReleaseAnswered = only(leader, writeSent), only(leader, writeAnswered)
	t.ClaimSent, t.ClaimAnswered = only(successor, writeSent), only(successor, writeAnswered)
	for _, e := range successor {
		if at := since(e.At); e.What == watchReceived && at > t.ReleaseSent && at < t.ClaimSent {
			t.Observed = at
		}
	}
	if !ok || t.Observed == 0 {
		return nil
	}
	return t
}

// middle returns the timeline of the handover that took the median time. It returns nil
// if there are no timelines.
func middle(timelines []timeline) *timeline {
	if len(timelines) == 0 {
		return nil
	}
	sorted := slices.SortedFunc(slices.Values(timelines), func(a, b timeline) int {
		return int(1e6 * (a.Started - b.Started))
	})
	return &sorted[(len(sorted)-1)/2]
}

// timelinePlot returns an SVG plot of one handover. The plot shows the work and the
// requests of the leader and of its successor.
func timelinePlot(t timeline, title string) (string, error) {
	const barHeight, work, requests = 20.0, 72.0, 108.0 // work and requests are the vertical positions of the leader's bars, in pixels
	const successor = 110.0                             // the vertical distance of the successor's bars from the leader's bars, in pixels
	before := math.Ceil(t.Started / 8)
	s := lab.Scale{From: -before, To: t.Started + 1.5*before, Left: 130, Right: 764}
	data := struct {
		lab.Frame
		Bars        []lab.Bar
		Observed    float64
		Stop, Start lab.GridLine
	}{
		Frame: lab.Frame{Title: title, Width: 780, Height: 286},
		Bars: []lab.Bar{
			s.Bar("limit", "works", s.From, t.Stopped, work, barHeight),
			s.Bar("client-go", "release", t.ReleaseSent, t.ReleaseAnswered, requests, barHeight),
			s.Bar("incumbent", "claim", t.ClaimSent, t.ClaimAnswered, requests+successor, barHeight),
			s.Bar("incumbent-manager", "works", t.Started, s.To, work+successor, barHeight),
		},
		Observed: s.X(t.Observed),
		Stop:     lab.GridLine{X: s.X(0), Label: "asked to stop"}, Start: lab.GridLine{X: s.X(t.Started), Label: lab.Number(t.Started) + " ms"},
	}
	step := gridStep(s.To - s.From)
	for v := math.Ceil(s.From/step) * step; v <= s.To; v += step {
		data.Grid = append(data.Grid, lab.GridLine{X: s.X(v), Label: lab.Number(v) + " ms"})
	}
	return lab.Draw(plotFiles, "timeline.svg.tmpl", data)
}

// gridStep returns the distance between two grid lines. The distance is a round number.
// A plot with the given span has about four to ten grid lines.
func gridStep(span float64) float64 {
	step := math.Pow(10, math.Floor(math.Log10(span/4)))
	for _, factor := range []float64{5, 2} {
		if span/(factor*step) >= 4 {
			return factor * step
		}
	}
	return step
}
