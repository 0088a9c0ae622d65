package envtest_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-template-ic/incumbent/envtest"
)

// recorder is a testing.TB that remembers how it failed.
type recorder struct {
	testing.TB
	failure string
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) { r.failure += fmt.Sprintf(format, args...) }

func at(seconds float64) time.Time {
	return time.Unix(1_000_000_000, 0).Add(time.Duration(seconds * float64(time.Second)))
}

func TestReferee_FailsATestInWhichTwoWorkedAtOnce(t *testing.T) {
	var referee envtest.Referee
	referee.Record("pod-1", 412, at(0), at(5.1))
	referee.Record("pod-2", 433, at(4.25), at(7))
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

func TestReferee_LetsOneFollowTheOther(t *testing.T) {
	referee := envtest.NewReferee(t)
	first := referee.Start("pod-1", 1)
	if got := referee.Working(); len(got) != 1 || got[0] != "pod-1" {
		t.Errorf("working: %v", got)
	}
	first.Stop()
	second := referee.Start("pod-2", 2)
	first.Stop() // counts only once
	second.Stop()
	referee.Start("pod-1", 3)
	if overlaps := referee.Overlaps(); overlaps != nil {
		t.Errorf("overlaps: %v", overlaps)
	}
}

func TestReferee_FindsTwoTermsOfOneWorker(t *testing.T) {
	var referee envtest.Referee
	referee.Record("pod-1", 1, at(0), at(3))
	referee.Record("pod-1", 2, at(1), at(2))
	got := referee.Overlaps()
	want := []envtest.Overlap{{A: "pod-1 (term 1)", B: "pod-1 (term 2)", From: at(1), For: time.Second}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReferee_CountsWorkThatHasNotStopped(t *testing.T) {
	var referee envtest.Referee
	referee.Record("pod-1", 1, at(0), time.Time{})
	referee.Record("pod-2", 2, at(1), at(2))
	if got := referee.Overlaps(); len(got) != 1 || got[0].For != time.Second {
		t.Errorf("overlaps: %v", got)
	}
}

func TestReferee_NotesStandInTheTimeline(t *testing.T) {
	var referee envtest.Referee
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
