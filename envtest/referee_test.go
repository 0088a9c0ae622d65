package envtest

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// recorder is a testing.TB that records failure messages instead of failing.
type recorder struct {
	testing.TB
	failure string
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) { r.failure += fmt.Sprintf(format, args...) }

// record adds a work interval. If the parameter stop is zero, the worker is
// still working.
func (r *Referee) record(worker string, term any, start, stop time.Time) {
	r.intervals = append(r.intervals, &interval{worker: worker, term: fmt.Sprint(term), start: start, stop: stop})
}

func at(seconds float64) time.Time {
	return time.Unix(1_000_000_000, 0).Add(time.Duration(seconds * float64(time.Second)))
}

func TestReferee_FailsATestInWhichWorkOverlapped(t *testing.T) {
	var referee Referee
	referee.record("pod-1", 412, at(0), at(5.1))
	referee.record("pod-2", 433, at(4.25), at(7))
	tb := &recorder{TB: t}
	referee.Check(tb)
	want := `two worked at once:
  pod-2 (term 433) started while pod-1 (term 412) was working, and both worked for 850ms
   time s  pod-1  pod-2
    0.000    ┳           pod-1 starts, term 412
    4.250    ┃      ┳    pod-2 starts, term 433   ← 2 at once
    5.100    ┻      ┃    pod-1 stops, term 412
    7.000           ┻    pod-2 stops, term 433
`
	if diff := cmp.Diff(want, tb.failure); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReferee_AcceptsWorkersOneAfterTheOther(t *testing.T) {
	referee := NewReferee(t)
	stopFirst := referee.Start("pod-1", 1)
	if got := referee.Working(); len(got) != 1 || got[0] != "pod-1" {
		t.Errorf("working: %v", got)
	}
	stopFirst()
	stopSecond := referee.Start("pod-2", 2)
	stopFirst() // has no effect, because stopFirst was already called
	stopSecond()
	referee.Start("pod-1", 3)
	if overlaps := referee.Overlaps(); overlaps != nil {
		t.Errorf("overlaps: %v", overlaps)
	}
}

func TestReferee_DetectsOverlappingTermsOfOneWorker(t *testing.T) {
	var referee Referee
	referee.record("pod-1", 1, at(0), at(3))
	referee.record("pod-1", 2, at(1), at(2))
	got := referee.overlaps()
	if len(got) != 1 || got[0].a.String() != "pod-1 (term 1)" || got[0].b.String() != "pod-1 (term 2)" ||
		!got[0].from.Equal(at(1)) || got[0].took != time.Second {
		t.Errorf("overlaps: %v", got)
	}
}

func TestReferee_CountsWorkThatHasNotStopped(t *testing.T) {
	var referee Referee
	referee.record("pod-1", 1, at(0), time.Time{})
	referee.record("pod-2", 2, at(1), at(2))
	if got := referee.overlaps(); len(got) != 1 || got[0].took != time.Second {
		t.Errorf("overlaps: %v", got)
	}
}

func TestReferee_TimelineContainsNotes(t *testing.T) {
	var referee Referee
	referee.Start("pod-1", 1)
	referee.Note("pod-1", "cut off after %d requests", 7)
	referee.Note("", "the API server restarts")
	got := regexp.MustCompile(`(?m)^ +\d\.\d{3}`).ReplaceAllString(referee.Timeline(), "T")
	want := strings.Join([]string{
		"   time s  pod-1",
		"T    ┳    pod-1 starts, term 1",
		"T    ┃    pod-1: cut off after 7 requests",
		"T    ┃    the API server restarts",
		"",
	}, "\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
