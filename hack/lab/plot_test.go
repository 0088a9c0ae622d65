package lab

import (
	"encoding/xml"
	"math"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestScale(t *testing.T) {
	linear, log := Scale{From: -2, To: 8, Left: 100, Right: 200}, Scale{From: 1, To: 10_000, Left: 100, Right: 500, Log: true}
	for _, c := range []struct {
		s       Scale
		v, want float64
	}{{linear, -2, 100}, {linear, 3, 150}, {linear, 8, 200}, {log, 1, 100}, {log, 10, 200}, {log, 10_000, 500}, {log, 0.1, 100}} {
		if got := c.s.X(c.v); got != c.want {
			t.Errorf("%+v: X(%v) = %v, want %v", c.s, c.v, got, c.want)
		}
	}
}

func TestScale_BarIsCentredAndVisible(t *testing.T) {
	s := Scale{From: 0, To: 10, Left: 100, Right: 200}
	if got, want := s.Bar("runs", "a", 2, 5, 50, 12), (Bar{Class: "runs", Label: "a", X: 120, Y: 44, Width: 30, Height: 12}); got != want {
		t.Errorf("Bar() = %+v, want %+v", got, want)
	}
	if got := s.Bar("runs", "a", 2, 2, 50, 12); got.Width != minBar {
		t.Errorf("a bar without a duration has the width %v, want %v", got.Width, minBar)
	}
}

func TestSwarm_CoversNoDot(t *testing.T) {
	want := []Dot{{1, 0}, {2, 5}, {3, -5}, {40, 0}}
	if diff := cmp.Diff(want, Swarm([]float64{3, 1, 40, 2})); diff != "" {
		t.Errorf("Swarm() (-want +got):\n%s", diff)
	}
	for _, d := range Swarm(make([]float64, 50)) {
		if math.Abs(d.Y) > maxRise+dotSize {
			t.Errorf("a dot is outside of its row: %v", d)
		}
	}
}

func TestDraw_PutsThePlotIntoAFrame(t *testing.T) {
	files := fstest.MapFS{"a.svg.tmpl": {Data: []byte(`{{template "frame.svg.tmpl" .}}<text>{{.Title}} {{number 1.25}}</text></svg>`)}}
	text, err := Draw(files, "a.svg.tmpl", Frame{Title: "a < b", Width: 100, Height: 50})
	if err != nil {
		t.Fatal(err)
	}
	var svg struct {
		Height string `xml:"height,attr"`
		Text   string `xml:"text"`
	}
	if err := xml.Unmarshal([]byte(text), &svg); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	if svg.Height != "50" || svg.Text != "a < b 1.25" {
		t.Errorf("the plot is %+v", svg)
	}
}

func TestNumber_ShowsThreeDigits(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 30: "30", 1000: "1000", 0.1234: "0.12", 9.994: "9.99", 9.996: "10.0", 99.94: "99.9", 99.96: "100", 1680.6: "1681", -0.5: "-0.50",
	} {
		if got := Number(v); got != want {
			t.Errorf("Number(%v) = %q, want %q", v, got, want)
		}
	}
	if got := Number(math.Copysign(0, -1)); got != "0" {
		t.Errorf("Number(-0) = %q, want 0", got)
	}
}
