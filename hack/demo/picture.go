package main

import (
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

//go:embed timeline.svg.tmpl
var pictureText string

var pictureTemplate = template.Must(template.New("timeline").Parse(pictureText))

// What a picture is made of, in pixels.
const (
	pictureWidth = 960
	pictureLeft  = 60
	pictureRight = 940
	pictureTop   = 96 // of the first lane
	laneHeight   = 44
	minBar       = 2 // a shorter one would not be seen
)

// A bar is a span of time in the lane of a column of replicas.
type bar struct {
	Class, Label string
	X, Y, Width  float64
}

// A strike is something that was done to a leader, with what came of it.
type strike struct {
	X, Y        float64
	What, Label string
	Left        bool // its label stands left of it: there is no room on the right
}

// A picture is the timeline as a drawing.
type picture struct {
	Title         string
	Width, Height int
	Lanes         []bar // the names of the columns
	Bars          []bar
	Strikes       []strike
	Ticks         []strike
	Bottom        float64
}

// svg draws who was there, who led and who was frozen, from the first event to the
// end.
func (s summary) svg(columns ...string) (string, error) {
	if len(s.events) == 0 {
		return "", fmt.Errorf("there is nothing to draw: no event was recorded")
	}
	from, to := s.events[0].At, s.end
	x := func(at time.Time) float64 {
		part := at.Sub(from).Seconds() / max(to.Sub(from).Seconds(), 1e-9)
		return math.Round(10*(pictureLeft+part*(pictureRight-pictureLeft))) / 10
	}
	p := picture{Title: "Who leads, and what was done to the leaders", Width: pictureWidth,
		Height: pictureTop + laneHeight*len(columns) + 40, Bottom: float64(pictureTop + laneHeight*len(columns))}
	add := func(class, label, replica string, start, end time.Time) {
		lane := slices.Index(columns, column(replica))
		if lane < 0 {
			return
		}
		p.Bars = append(p.Bars, bar{Class: class, Label: label, X: x(start), Y: float64(pictureTop + laneHeight*lane),
			Width: max(minBar, x(end)-x(start))})
	}
	for i, name := range columns {
		p.Lanes = append(p.Lanes, bar{Label: name, X: pictureLeft - 12, Y: float64(pictureTop + laneHeight*i)})
	}
	for _, l := range lives(s.events, to) {
		add("alive", l.replica, l.replica, l.start, l.end)
	}
	for _, l := range spans(s.events, to) {
		add("leads", "", l.replica, l.start, l.end)
	}
	if f := s.frozen; f.replica != "" {
		add("frozen", "", f.replica, f.frozen, f.awake)
	}
	for i, h := range s.handovers {
		if h.before.Replica == "" {
			continue // the first election
		}
		took := "kept its term"
		if h.before.Term != h.after.Term {
			took = seconds(h.after.At.Sub(h.struck))
		}
		p.Strikes = append(p.Strikes, strike{X: x(h.struck), Y: float64(44 + 18*(i%3)), What: h.what, Label: took, Left: x(h.struck) > 700})
	}
	for at := time.Duration(0); at <= to.Sub(from); at += 10 * time.Second {
		p.Ticks = append(p.Ticks, strike{X: x(from.Add(at)), Label: fmt.Sprintf("%.0f s", at.Seconds())})
	}
	var b strings.Builder
	err := pictureTemplate.Execute(&b, p)
	return b.String(), err
}

// lives is from when to when each process was there: from its first event to its
// last, or to the end if it did not exit.
func lives(events []event, end time.Time) []span {
	var all []span
	open := map[string]int{} // index into all
	for _, e := range events {
		if e.Replica == "" {
			continue
		}
		i, known := open[e.Replica]
		if !known {
			i = len(all)
			open[e.Replica] = i
			all = append(all, span{replica: e.Replica, start: e.At, end: end})
		}
		if e.Kind == exited {
			all[i].end = e.At
		}
	}
	return all
}

// draw writes the picture into a file; nowhere if path is empty.
func (s summary) draw(path string) error {
	if path == "" {
		return nil
	}
	text, err := s.svg(columnNames...)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // a picture is no secret
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644) //nolint:gosec // likewise
}
