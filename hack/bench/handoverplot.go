package main

import (
	"embed"
	"strings"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

//go:embed *.svg.tmpl
var plotFiles embed.FS

// A swarmRow is the row of one implementation in the plot.
type swarmRow struct {
	Name, Class string
	Y           float64
	Dots        []lab.Dot
	Median      float64 // the position of the median in pixels
	Summary     summary
}

// handoverPlot returns an SVG plot of all handovers. Each handover is a dot on a
// logarithmic time scale.
func handoverPlot(samples map[string][]float64, title string) (string, error) {
	const top, rowHeight = 84.0, 46.0
	s := lab.Scale{From: 1, To: 10_000, Left: 170, Right: 590, Log: true}
	data := struct {
		lab.Frame
		Rows        []swarmRow
		Top, Bottom float64
	}{Frame: lab.Frame{Title: title, Width: 780}, Top: top - rowHeight/2, Bottom: top - rowHeight/2}
	for _, line := range []lab.GridLine{{X: 1, Label: "1 ms"}, {X: 10, Label: "10 ms"}, {X: 100, Label: "100 ms"}, {X: 1000, Label: "1 s"}, {X: 10_000, Label: "10 s"}} {
		data.Grid = append(data.Grid, lab.GridLine{X: s.X(line.X), Label: line.Label})
	}
	for _, name := range columns {
		row := samples[name]
		if len(row) == 0 {
			continue
		}
		r := swarmRow{Name: name, Class: strings.ReplaceAll(name, " ", "-"), Y: data.Bottom + rowHeight/2, Summary: summarize(row)}
		var xs []float64
		for _, v := range row {
			xs = append(xs, s.X(v))
		}
		r.Dots, r.Median = lab.Swarm(xs), s.X(r.Summary.Median)
		data.Rows = append(data.Rows, r)
		data.Bottom += rowHeight
	}
	data.Height = data.Bottom + 16
	return lab.Draw(plotFiles, "handover.svg.tmpl", data)
}
