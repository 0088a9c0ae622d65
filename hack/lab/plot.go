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

// Draw executes the SVG template with the given name and returns the SVG text. The
// parameter data contains the values for the template. If data embeds a Frame, the
// template can include frame.svg.tmpl. In the template, the function "number" calls
// Number.
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

// A Frame contains the title, the size and the grid lines of a plot.
type Frame struct {
	// Title is the heading of the plot.
	Title string
	// Width and Height are the size of the plot in pixels.
	Width, Height float64
	// Grid contains the vertical grid lines.
	Grid []GridLine
}

// CardWidth returns the width of the background rectangle in pixels.
func (f Frame) CardWidth() float64 { return f.Width - 1 }

// CardHeight returns the height of the background rectangle in pixels.
func (f Frame) CardHeight() float64 { return f.Height - 1 }

// A Scale maps values to horizontal positions in pixels.
type Scale struct {
	From, To    float64 // the values at the left end and at the right end
	Left, Right float64 // the horizontal positions of the values From and To, in pixels
	Log         bool    // true if the scale is logarithmic
}

// X returns the horizontal position of the value v in pixels, rounded to a tenth of a
// pixel.
func (s Scale) X(v float64) float64 {
	from, to := s.From, s.To
	if s.Log {
		v, from, to = math.Log(max(v, s.From)), math.Log(from), math.Log(to)
	}
	return math.Round(10*(s.Left+(v-from)/(to-from)*(s.Right-s.Left))) / 10
}

// A GridLine is a vertical line across a plot, with a label.
type GridLine struct {
	X     float64 // the position in pixels
	Label string  // the text above or below the line
}

// A Bar is a horizontal bar in a plot.
type Bar struct {
	// Class is the CSS class of the bar. Label is the text of the bar.
	Class, Label string
	// X is the left edge of the bar, and Y is the upper edge. Width and Height are the
	// size of the bar. All four values are in pixels.
	X, Y, Width, Height float64
}

// minBar is the minimum width of a bar in pixels. A narrower bar would be hard to see.
const minBar = 2

// Bar returns a bar that begins at the value start and ends at the value end. The
// parameter middle is the vertical position of the bar's middle, in pixels.
func (s Scale) Bar(class, label string, start, end, middle, height float64) Bar {
	x := s.X(start)
	return Bar{Class: class, Label: label, X: x, Y: middle - height/2, Width: max(minBar, math.Round(10*(s.X(end)-x))/10), Height: height}
}

// A Dot is the position of one sample in a plot, in pixels.
type Dot struct {
	X, Y float64 // Y is the vertical distance from the middle of the row
}

const (
	dotSize = 5  // the minimum distance between the centers of two dots, in pixels
	maxRise = 16 // the vertical distance in pixels after which Swarm stops moving a dot
)

// Swarm returns one dot for each horizontal position in the parameter xs. If two dots
// would cover each other, Swarm moves one of the two dots up or down.
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

// Number formats v for a table or a plot. An integer has no decimal places. Any other
// value has at least three digits and at most two decimal places.
func Number(v float64) string {
	switch abs := math.Abs(v); {
	case v == float64(int64(v)):
		return fmt.Sprintf("%d", int64(v)) // the conversion to int64 turns a negative zero into 0
	case abs >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case abs >= 9.995:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}
