package main

import (
	"embed"
	"html/template"
	"math"
	"slices"
	"strings"
)

//go:embed *.svg.tmpl
var plotFiles embed.FS

var plots = template.Must(template.New("").Funcs(template.FuncMap{"ms": number}).ParseFS(plotFiles, "*.svg.tmpl"))

// draw renders a plot.
func draw(name string, data any) (string, error) {
	var b strings.Builder
	err := plots.ExecuteTemplate(&b, name+".svg.tmpl", data)
	return b.String(), err
}

// A frame is what every plot has.
type frame struct {
	Title  string
	Height float64
	Grid   []gridLine
}

// Card is the height of the background.
func (f frame) Card() float64 { return f.Height - 1 }

// A scale maps milliseconds to pixels.
type scale struct {
	from, to    float64 // milliseconds
	left, right float64 // pixels
	log         bool
}

func (s scale) x(v float64) float64 {
	from, to := s.from, s.to
	if s.log {
		v, from, to = math.Log(max(v, s.from)), math.Log(from), math.Log(to)
	}
	return math.Round(10*(s.left+(v-from)/(to-from)*(s.right-s.left))) / 10
}

// A gridLine is a line across a plot with its label.
type gridLine struct {
	X     float64
	Label string
}

// A dot is one sample; Y is counted from the middle of its row.
type dot struct{ X, Y float64 }

const (
	dotSize = 5 // from one dot to the next that does not touch it
	maxRise = 16
)

// swarm puts dots side by side that would cover each other.
func swarm(xs []float64) []dot {
	var dots []dot
	for _, x := range slices.Sorted(slices.Values(xs)) {
		d := dot{X: x}
		for step := 1; touches(d, dots) && math.Abs(d.Y) < maxRise; step++ {
			d.Y = float64((step + 1) / 2 * dotSize)
			if step%2 == 0 {
				d.Y = -d.Y
			}
		}
		dots = append(dots, d)
	}
	return dots
}

func touches(d dot, others []dot) bool {
	return slices.ContainsFunc(others, func(o dot) bool {
		return math.Hypot(o.X-d.X, o.Y-d.Y) < dotSize-0.01
	})
}
