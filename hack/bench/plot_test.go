package main

import (
	"encoding/xml"
	"errors"
	"io"
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

func TestGridStep_IsRound(t *testing.T) {
	for span, want := range map[float64]float64{4: 1, 8.5: 2, 10: 2, 20: 5, 45: 10, 300: 50} {
		if got := gridStep(span); got != want {
			t.Errorf("gridStep(%v) = %v, want %v", span, got, want)
		}
	}
}

func TestHandoverPlot_ShowsEachImplementationThatHasSamples(t *testing.T) {
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
		t.Error("there is a row for an implementation without samples")
	}
}

func TestTimeline_IsReadFromTheExchangesOfBothCandidates(t *testing.T) {
	zero := time.Now()
	at := func(ms float64) time.Time { return zero.Add(time.Duration(ms * float64(time.Millisecond))) }
	h := handover{began: zero, started: at(6)}
	leader := []exchange{{writeSent, at(-2000)}, {writeAnswered, at(-1996)}, {writeSent, at(0.25)}, {writeAnswered, at(3)}}
	successor := []exchange{
		{watchReceived, at(-1997)}, {watchReceived, at(2.75)}, {writeSent, at(3.25)}, {watchReceived, at(5.5)}, {writeAnswered, at(5.75)},
		{writeSent, at(2003)}, {writeAnswered, at(2006)},
	}
	want := &timeline{Stopped: 0.125, ReleaseSent: 0.25, ReleaseAnswered: 3, Observed: 2.75, ClaimSent: 3.25, ClaimAnswered: 5.75, Started: 6}
	if diff := cmp.Diff(want, newTimeline(h, at(0.125), leader, successor)); diff != "" {
		t.Errorf("timeline (-want +got):\n%s", diff)
	}
	if got := newTimeline(h, at(0.125), append(leader, exchange{writeSent, at(1)}), successor); got != nil {
		t.Errorf("a renewal fell into the handover, but there is a timeline: %+v", got)
	}
	if got := newTimeline(h, at(0.125), leader, successor[2:]); got != nil {
		t.Errorf("the watch received nothing, but there is a timeline: %+v", got)
	}
}

func TestMiddle(t *testing.T) {
	if middle(nil) != nil {
		t.Error("no timelines have a middle")
	}
	if got := middle([]timeline{{Started: 9}, {Started: 5}, {Started: 5.5}}); got.Started != 5.5 {
		t.Errorf("middle() = %+v, want that of 5.5 ms", got)
	}
}
