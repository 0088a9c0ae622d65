package envtest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Referee records who worked when, and knows whether two did at once. The zero
// value is ready to use. Its methods may be called from any goroutine.
//
// It judges by the clock of the process it runs in, so it is for workers of one
// process, or for records whose times come from one clock.
type Referee struct {
	mu     sync.Mutex
	shifts []*Shift
	notes  []note
}

// NewReferee returns a Referee that fails the test at its end if two worked at
// once.
func NewReferee(tb testing.TB) *Referee {
	r := &Referee{}
	tb.Cleanup(func() { r.Check(tb) })
	return r
}

// Shift is the time in which one worker works in one term.
type Shift struct {
	referee *Referee
	worker  string
	term    string
	start   time.Time
	stop    time.Time // zero: still working
}

type note struct {
	at     time.Time
	worker string
	text   string
}

// Start records that the worker starts to work, in that term: a Term, a token, or
// whatever tells the worker's terms apart. Call it first in OnStartedLeading, and
// the Shift's Stop when the work has stopped, not when it was told to.
func (r *Referee) Start(worker string, term any) *Shift {
	s := &Shift{referee: r, worker: worker, term: fmt.Sprint(term)}
	r.mu.Lock()
	defer r.mu.Unlock()
	s.start = time.Now()
	r.shifts = append(r.shifts, s)
	return s
}

// Stop records that the work has stopped. Only the first call counts.
func (s *Shift) Stop() {
	s.referee.mu.Lock()
	defer s.referee.mu.Unlock()
	if s.stop.IsZero() {
		s.stop = time.Now()
	}
}

// Record adds work that was done elsewhere, in another process of the same
// machine, say. A zero stop means that it goes on.
func (r *Referee) Record(worker string, term any, start, stop time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shifts = append(r.shifts, &Shift{referee: r, worker: worker, term: fmt.Sprint(term), start: start, stop: stop})
}

// Note adds a line to the timeline, of what happens to the worker or is done to
// it. Worker may be "".
func (r *Referee) Note(worker, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, note{at: time.Now(), worker: worker, text: fmt.Sprintf(format, args...)})
}

// Overlap is a time in which two shifts went on.
type Overlap struct {
	// A started before B. They may be two terms of one worker.
	A, B string
	// From is when B started, For how long both went on, so far.
	From time.Time
	For  time.Duration
}

// String says who worked beside whom, and for how long.
func (o Overlap) String() string {
	return fmt.Sprintf("%s started while %s was working, and both worked for %v", o.B, o.A, o.For.Round(time.Millisecond))
}

// Overlaps returns every time in which two worked at once.
func (r *Referee) Overlaps() []Overlap {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.overlapsLocked(time.Now())
}

func (r *Referee) overlapsLocked(now time.Time) []Overlap {
	shifts := r.sortedLocked()
	var overlaps []Overlap
	for i, a := range shifts {
		for _, b := range shifts[i+1:] {
			if until := earlier(a.end(now), b.end(now)); b.start.Before(until) {
				overlaps = append(overlaps, Overlap{A: a.who(), B: b.who(), From: b.start, For: until.Sub(b.start)})
			}
		}
	}
	return overlaps
}

func (r *Referee) sortedLocked() []*Shift {
	shifts := slices.Clone(r.shifts)
	slices.SortStableFunc(shifts, func(a, b *Shift) int { return a.start.Compare(b.start) })
	return shifts
}

func (s *Shift) end(now time.Time) time.Time {
	if s.stop.IsZero() {
		return now
	}
	return s.stop
}

func (s *Shift) who() string { return s.worker + " (term " + s.term + ")" }

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// Working returns who works now.
func (r *Referee) Working() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var working []string
	for _, s := range r.shifts {
		if s.stop.IsZero() {
			working = append(working, s.worker)
		}
	}
	return working
}

// Check fails the test, with the timeline, if two worked at once.
func (r *Referee) Check(tb testing.TB) {
	tb.Helper()
	overlaps := r.Overlaps()
	if len(overlaps) == 0 {
		return
	}
	var text strings.Builder
	text.WriteString("two worked at once:\n")
	for _, o := range overlaps {
		fmt.Fprintf(&text, "  %v\n", o)
	}
	tb.Errorf("%s%s", &text, r.Timeline())
}
