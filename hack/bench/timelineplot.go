package main

import "math"

// A bar is a span of time in a lane; its label stands in it, or after it.
type bar struct {
	Class, Label string
	X, Width     float64
	Y            float64
}

// timelinePlot shows who did what in one handover.
func timelinePlot(t timeline, title string) (string, error) {
	const works, sends = 62.0, 98.0 // heights within a lane
	const leader, heir = 0.0, 110.0 // lanes
	before := math.Ceil(t.Started / 8)
	s := scale{from: -before, to: t.Started + 1.5*before, left: 130, right: 764}
	span := func(class, label string, from, to, y float64) bar {
		return bar{Class: class, Label: label, X: s.x(from), Width: max(2, s.x(to)-s.x(from)), Y: y}
	}
	data := struct {
		frame
		Bars          []bar
		Released      float64
		Heard, Answer float64
		Stop, Start   gridLine
		Heir          float64
	}{
		frame: frame{Title: title, Height: 286},
		Bars: []bar{
			span("limit", "works", s.from, t.Stopped, works+leader),
			span("client-go", "release", t.ReleaseSent, t.ReleaseAnswered, sends+leader),
			span("incumbent", "claim", t.ClaimSent, t.ClaimAnswered, sends+heir),
			span("incumbent-manager", "works", t.Started, s.to, works+heir),
		},
		Released: s.x(t.ReleaseSent), Heard: s.x(t.Heard), Answer: s.x(t.ClaimAnswered),
		Stop: gridLine{s.x(0), "told to stop"}, Start: gridLine{s.x(t.Started), number(t.Started) + " ms"},
		Heir: heir,
	}
	step := gridStep(s.to - s.from)
	for v := math.Ceil(s.from/step) * step; v <= s.to; v += step {
		data.Grid = append(data.Grid, gridLine{s.x(v), number(v) + " ms"})
	}
	return draw("timeline", data)
}

// gridStep is a round number that divides a span into four to ten parts.
func gridStep(span float64) float64 {
	step := math.Pow(10, math.Floor(math.Log10(span/4)))
	for _, factor := range []float64{5, 2} {
		if span/(factor*step) >= 4 {
			return factor * step
		}
	}
	return step
}
