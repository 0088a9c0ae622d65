package main

import (
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

//go:embed timeline.svg.tmpl
var pictureFile embed.FS

// The positions and sizes in the picture, in pixels.
const (
	pictureTop  = 96 // the upper edge of the first row
	rowHeight   = 44
	barHeight   = 28
	runsHeight  = 12 // the height of a bar that shows when a process ran
	faultHeight = 18 // the height of a line of text about a fault
)

// A label is a text at a position in the picture.
type label struct {
	X, Y       float64
	Text       string
	LeftOfLine bool // true if the text is to the left of the fault's vertical line
}

// A picture contains the data for the template timeline.svg.tmpl.
type picture struct {
	lab.Frame
	Rows   []label // the name of each replica, at the middle of the replica's row
	Bars   []lab.Bar
	Faults []label
	Bottom float64 // the lower edge of the last row
}

// middle returns the vertical position of the middle of the given row, in pixels.
func middle(row int) float64 { return pictureTop + rowHeight*(float64(row)+0.5) }

// svg returns a picture of the demo as SVG text. The picture covers the time from the
// first event to s.end. It shows when each process ran, led and was frozen. The
// parameter columns contains the names of the replicas. Each replica has one row in the
// picture.
func (s summary) svg(columns ...string) (string, error) {
	if len(s.events) == 0 {
		return "", errors.New("no event was recorded")
	}
	from, to := s.events[0].At, s.end
	scale := lab.Scale{To: max(to.Sub(from).Seconds(), 1e-9), Left: 60, Right: 940}
	since := func(at time.Time) float64 { return at.Sub(from).Seconds() }
	p := picture{
		Frame:  lab.Frame{Title: "Leaders and the faults that were injected", Width: 960, Height: pictureTop + rowHeight*float64(len(columns)) + 40},
		Bottom: pictureTop + rowHeight*float64(len(columns)),
	}
	add := func(class, replica string, start, end time.Time, height float64) {
		if row := slices.Index(columns, column(replica)); row >= 0 {
			p.Bars = append(p.Bars, scale.Bar(class, replica, since(start), since(end), middle(row), height))
		}
	}
	for i, name := range columns {
		p.Rows = append(p.Rows, label{X: scale.Left - 12, Y: middle(i), Text: name})
	}
	for _, l := range lifetimes(s.events, to) {
		add("runs", l.Replica, l.From, l.To, runsHeight)
	}
	for _, l := range lab.Spans(s.events, to) {
		add("leads", l.Replica, l.From, l.To, barHeight)
	}
	if f := s.frozen; f.replica != "" {
		add("frozen", f.replica, f.from, f.to, barHeight)
	}
	for i, h := range s.handovers {
		if h.before.Replica == "" {
			continue // the first election has no previous leader
		}
		took := "kept its term"
		if h.before.Term != h.after.Term {
			took = seconds(h.after.At.Sub(h.at))
		}
		x := scale.X(since(h.at))
		p.Faults = append(p.Faults, label{X: x, Y: float64(44 + faultHeight*(i%3)), Text: h.what + ": " + took, LeftOfLine: x > 700})
	}
	for at := 0.0; at <= scale.To; at += 10 {
		p.Grid = append(p.Grid, lab.GridLine{X: scale.X(at), Label: fmt.Sprintf("%.0f s", at)})
	}
	return lab.Draw(pictureFile, "timeline.svg.tmpl", p)
}

// lifetimes returns the time interval in which each process ran. The interval begins
// with the first event of the process and ends with the event Exited. If a process has
// not exited, the interval ends at the time in the parameter end.
func lifetimes(events []lab.Event, end time.Time) []lab.Span {
	var all []lab.Span
	index := map[string]int{}
	for _, e := range events {
		if e.Replica == "" {
			continue
		}
		i, known := index[e.Replica]
		if !known {
			i = len(all)
			index[e.Replica] = i
			all = append(all, lab.Span{Replica: e.Replica, From: e.At, To: end})
		}
		if e.Kind == lab.Exited {
			all[i].To = e.At
		}
	}
	return all
}

// draw writes the picture into the file at path.
func (s summary) draw(path string) error {
	text, err := s.svg(columnNames...)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // a picture is no secret
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644) //nolint:gosec // a picture is no secret
}
