package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func readFile(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func wellFormed(t *testing.T, svg string) {
	t.Helper()
	decoder := xml.NewDecoder(strings.NewReader(svg))
	for {
		_, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%v:\n%s", err, svg)
		}
	}
}

func TestScale(t *testing.T) {
	linear, log := scale{from: -2, to: 8, left: 100, right: 200}, scale{from: 1, to: 10_000, left: 100, right: 500, log: true}
	for _, c := range []struct {
		s       scale
		v, want float64
	}{{linear, -2, 100}, {linear, 3, 150}, {linear, 8, 200}, {log, 1, 100}, {log, 10, 200}, {log, 10_000, 500}, {log, 0.1, 100}} {
		if got := c.s.x(c.v); got != c.want {
			t.Errorf("%+v: x(%v) = %v, want %v", c.s, c.v, got, c.want)
		}
	}
}

func TestSwarm_CoversNoDot(t *testing.T) {
	want := []dot{{1, 0}, {2, 5}, {3, -5}, {40, 0}}
	if diff := cmp.Diff(want, swarm([]float64{3, 1, 40, 2})); diff != "" {
		t.Errorf("swarm (-want +got):\n%s", diff)
	}
	for _, d := range swarm(make([]float64, 50)) {
		if math.Abs(d.Y) > maxRise+dotSize {
			t.Errorf("a dot lies outside of its row: %v", d)
		}
	}
}

func TestGridStep_IsRound(t *testing.T) {
	for span, want := range map[float64]float64{4: 1, 8.5: 2, 10: 2, 20: 5, 45: 10, 300: 50} {
		if got := gridStep(span); got != want {
			t.Errorf("gridStep(%v) = %v, want %v", span, got, want)
		}
	}
}

func TestHandoverPlot_ShowsEachContenderThatHasSamples(t *testing.T) {
	svg, err := handoverPlot(samplesOf(map[string]float64{limitName: 5, incumbentMgr: 6}), "a < b")
	if err != nil {
		t.Fatal(err)
	}
	wellFormed(t, svg)
	if n := strings.Count(svg, "<circle"); n != 6 {
		t.Errorf("%d dots, want 6", n)
	}
	for _, want := range []string{">limit<", ">incumbent manager<", `class="incumbent-manager"`, "a &lt; b", "5 ms"} {
		if !strings.Contains(svg, want) {
			t.Errorf("no %q in\n%s", want, svg)
		}
	}
	if strings.Contains(svg, ">client-go<") {
		t.Error("there is a row for a contender without samples")
	}
}

func TestTimeline_IsReadFromBothWires(t *testing.T) {
	zero := time.Now()
	at := func(ms float64) time.Time { return zero.Add(time.Duration(ms * float64(time.Millisecond))) }
	h := handover{asked: zero, started: at(6)}
	leader := []mark{{writeSent, at(-2000)}, {writeAnswered, at(-1996)}, {writeSent, at(0.25)}, {writeAnswered, at(3)}}
	heir := []mark{
		{watchHeard, at(-1997)}, {watchHeard, at(2.75)}, {writeSent, at(3.25)}, {watchHeard, at(5.5)}, {writeAnswered, at(5.75)},
		{writeSent, at(2003)}, {writeAnswered, at(2006)},
	}
	want := &timeline{Stopped: 0.125, ReleaseSent: 0.25, ReleaseAnswered: 3, Heard: 2.75, ClaimSent: 3.25, ClaimAnswered: 5.75, Started: 6}
	if diff := cmp.Diff(want, newTimeline(h, at(0.125), leader, heir)); diff != "" {
		t.Errorf("timeline (-want +got):\n%s", diff)
	}
	if got := newTimeline(h, at(0.125), append(leader, mark{writeSent, at(1)}), heir); got != nil {
		t.Errorf("a renewal fell into the handover, and yet: %+v", got)
	}
	if got := newTimeline(h, at(0.125), leader, heir[2:]); got != nil {
		t.Errorf("nothing was heard, and yet: %+v", got)
	}
}

func TestMiddle(t *testing.T) {
	if middle(nil) != nil {
		t.Error("there is a middle of nothing")
	}
	if got := middle([]timeline{{Started: 9}, {Started: 5}, {Started: 5.5}}); got.Started != 5.5 {
		t.Errorf("middle() = %+v, want that of 5.5 ms", got)
	}
}
