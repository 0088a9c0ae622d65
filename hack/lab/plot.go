package lab

import (
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"math"
	"slices"
	"strings"
)

//go:embed frame.svg.tmpl
var frameFile embed.FS

// Draw renders the SVG template name in files. The template may use the template
// frame.svg.tmpl, which needs a Frame, and the function number.
func Draw(files fs.FS, name string, data any) (string, error) {
	set := template.New("").Funcs(template.FuncMap{"number": Number})
	if _, err := set.ParseFS(frameFile, "frame.svg.tmpl"); err != nil {
		return "", err
	}
	if _, err := set.ParseFS(files, name); err != nil {
		return "", err
	}
	var b strings.Builder
	err := set.ExecuteTemplate(&b, name, data)
	return b.String(), err
}

// A Frame is the common part of all plots.
type Frame struct {
	// Title is the heading.
	Title string
	// Width and Height are the size in pixels.
	Width, Height float64
	// Grid are the vertical lines.
	Grid []GridLine
}

// CardWidth returns the width of the background.
func (f Frame) CardWidth() float64 { return f.Width - 1 }

// CardHeight returns the height of the background.
func (f Frame) CardHeight() float64 { return f.Height - 1 }

// A Scale maps values to pixels.
type Scale struct {
	From, To    float64 // values
	Left, Right float64 // pixels
	Log         bool
}

// X returns the pixel of a value, rounded to a tenth.
func (s Scale) X(v float64) float64 {
	from, to := s.From, s.To
	if s.Log {
		v, from, to = math.Log(max(v, s.From)), math.Log(from), math.Log(to)
	}
	return math.Round(10*(s.Left+(v-from)/(to-from)*(s.Right-s.Left))) / 10
}

// A GridLine is a vertical line across a plot with its label.
type GridLine struct {
	X     float64 // in pixels
	Label string  // above or below the line
}

// A Bar is a horizontal bar from one value to another.
type Bar struct {
	// Class is its style, and Label its text.
	Class, Label string
	// X and Y are its left and upper edge, Width and Height its size in pixels.
	X, Y, Width, Height float64
}

// minBar is the least width of a bar: a narrower one would be invisible.
const minBar = 2

// Bar returns a bar around the middle of a row.
func (s Scale) Bar(class, label string, from, to, middle, height float64) Bar {
	x := s.X(from)
	return Bar{Class: class, Label: label, X: x, Y: middle - height/2, Width: max(minBar, math.Round(10*(s.X(to)-x))/10), Height: height}
}

// A Dot is one sample.
type Dot struct {
	X, Y float64 // Y is the distance from the middle of the row
}

const (
	dotSize = 5 // the distance of two dots that do not touch
	maxRise = 16
)

// Swarm moves dots up or down that would cover each other.
func Swarm(xs []float64) []Dot {
	var dots []Dot
	for _, x := range slices.Sorted(slices.Values(xs)) {
		d := Dot{X: x}
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

func touches(d Dot, others []Dot) bool {
	return slices.ContainsFunc(others, func(o Dot) bool {
		return math.Hypot(o.X-d.X, o.Y-d.Y) < dotSize-0.01
	})
}

// Number formats a value with three significant digits, and an integer in full.
func Number(v float64) string {
	switch abs := math.Abs(v); {
	case v == float64(int64(v)):
		return fmt.Sprintf("%d", int64(v)) // prints a negative zero as 0
	case abs >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case abs >= 9.995:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}
