package main

import "strings"

// A swarmRow is one contender's row.
type swarmRow struct {
	Name, Class string
	Y           float64
	Dots        []dot
	Median      float64 // where it is, in pixels
	Summary     summary
}

// handoverPlot shows each handover as a dot, on a log scale.
func handoverPlot(samples map[string][]float64, title string) (string, error) {
	const top, rowHeight = 84.0, 46.0
	s := scale{from: 1, to: 10_000, left: 170, right: 590, log: true}
	data := struct {
		frame
		Rows        []swarmRow
		Top, Bottom float64
	}{frame: frame{Title: title}, Top: top - rowHeight/2, Bottom: top - rowHeight/2}
	for _, line := range []gridLine{{1, "1 ms"}, {10, "10 ms"}, {100, "100 ms"}, {1000, "1 s"}, {10_000, "10 s"}} {
		data.Grid = append(data.Grid, gridLine{s.x(line.X), line.Label})
	}
	for _, name := range columns {
		row := samples[name]
		if len(row) == 0 {
			continue
		}
		r := swarmRow{Name: name, Class: strings.ReplaceAll(name, " ", "-"), Y: data.Bottom + rowHeight/2, Summary: summarize(row)}
		var xs []float64
		for _, v := range row {
			xs = append(xs, s.x(v))
		}
		r.Dots, r.Median = swarm(xs), s.x(r.Summary.Median)
		data.Rows = append(data.Rows, r)
		data.Bottom += rowHeight
	}
	data.Height = data.Bottom + 16
	return draw("handover", data)
}
