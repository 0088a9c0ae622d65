package envtest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Referee records the work intervals of all workers and detects intervals that
// overlap. The zero value is ready to use. The methods may be called from any
// goroutine.
//
// A Referee uses the clock of its own process. Therefore all workers must run
// in the same process.
type Referee struct {
	mu        sync.Mutex
	intervals []*interval
	notes     []note
}

// interval is one work interval: the time in which one worker works in one
// term.
type interval struct {
	worker string
	term   string
	start  time.Time
	stop   time.Time // zero while the worker works
}

type note struct {
	at     time.Time
	worker string
	text   string
}

// NewReferee returns a Referee that checks for overlapping work at the end of
// the test. The test fails if work overlapped.
func NewReferee(tb testing.TB) *Referee {
	r := &Referee{}
	tb.Cleanup(func() { r.Check(tb) })
	return r
}

// Start records that a worker starts to work. The parameter term identifies the
// term of the worker. For example, pass a Term or the token of a Term.
//
// Call Start at the beginning of OnStartedLeading. Call stop when the work has
// actually stopped, not when the work is asked to stop. Further calls of stop
// have no effect.
func (r *Referee) Start(worker string, term any) (stop func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := &interval{worker: worker, term: fmt.Sprint(term), start: time.Now()}
	r.intervals = append(r.intervals, i)
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		i.stop = time.Now()
	})
}

// Note adds a line to the timeline, for example to record a fault. The
// parameter worker may be empty.
func (r *Referee) Note(worker, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, note{at: time.Now(), worker: worker, text: fmt.Sprintf(format, args...)})
}

// overlap is the time in which two work intervals overlap.
type overlap struct {
	a, b *interval // the interval a started before the interval b; both may belong to the same worker
	from time.Time // the time at which b started
	took time.Duration
}

func (o overlap) String() string {
	return fmt.Sprintf("%s started while %s was working, and both worked for %v", o.b, o.a, o.took.Round(time.Millisecond))
}

// Overlaps returns a description of each overlap of two work intervals.
func (r *Referee) Overlaps() []string {
	var descriptions []string
	for _, o := range r.overlaps() {
		descriptions = append(descriptions, o.String())
	}
	return descriptions
}

func (r *Referee) overlaps() []overlap {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	sorted := r.sortedLocked()
	var overlaps []overlap
	for i, a := range sorted {
		for _, b := range sorted[i+1:] {
			if until := earlier(a.end(now), b.end(now)); b.start.Before(until) {
				overlaps = append(overlaps, overlap{a: a, b: b, from: b.start, took: until.Sub(b.start)})
			}
		}
	}
	return overlaps
}

func (r *Referee) sortedLocked() []*interval {
	sorted := slices.Clone(r.intervals)
	slices.SortStableFunc(sorted, func(a, b *interval) int { return a.start.Compare(b.start) })
	return sorted
}

func (i *interval) end(now time.Time) time.Time {
	if i.stop.IsZero() {
		return now
	}
	return i.stop
}

func (i *interval) String() string { return i.worker + " (term " + i.term + ")" }

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// Working returns the names of the workers that are working now.
func (r *Referee) Working() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var working []string
	for _, i := range r.intervals {
		if i.stop.IsZero() {
			working = append(working, i.worker)
		}
	}
	return working
}

// Check fails the test if work overlapped. The failure message contains the
// timeline.
func (r *Referee) Check(tb testing.TB) {
	tb.Helper()
	overlaps := r.Overlaps()
	if len(overlaps) == 0 {
		return
	}
	tb.Errorf("two worked at once:\n  %s\n%s", strings.Join(overlaps, "\n  "), r.Timeline())
}

// Timeline returns the records as text. The text has one line for each start,
// each stop and each note, and one column for each worker.
//
//	time s  pod-1  pod-2
//	 0.000    ┳             pod-1 starts, term 412
//	 1.250    ┃             pod-1: cut off
//	 4.250    ┃      ┳      pod-2 starts, term 433   ← 2 at once
//	 5.100    ┻      ┃      pod-1 stops
func (r *Referee) Timeline() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	moments := r.momentsLocked()
	if len(moments) == 0 {
		return "nothing was recorded"
	}
	var workers []string
	for _, m := range moments {
		if m.worker != "" && !slices.Contains(workers, m.worker) {
			workers = append(workers, m.worker)
		}
	}
	return draw(moments, workers)
}

// moment is one line of the timeline.
type moment struct {
	at     time.Time
	worker string
	change int // +1 if the worker starts, -1 if the worker stops, 0 for a note
	text   string
}

func (r *Referee) momentsLocked() []moment {
	var moments []moment
	for _, i := range r.sortedLocked() {
		moments = append(moments, moment{i.start, i.worker, +1, i.worker + " starts, term " + i.term})
		if !i.stop.IsZero() {
			moments = append(moments, moment{i.stop, i.worker, -1, i.worker + " stops, term " + i.term})
		}
	}
	for _, n := range r.notes {
		text := n.text
		if n.worker != "" {
			text = n.worker + ": " + text
		}
		moments = append(moments, moment{n.at, n.worker, 0, text})
	}
	slices.SortStableFunc(moments, func(a, b moment) int { return a.at.Compare(b.at) })
	return moments
}

func draw(moments []moment, workers []string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%9s  %s\n", "time s", strings.Join(workers, "  "))
	working, total := map[string]int{}, 0
	for _, m := range moments {
		working[m.worker] += m.change
		total += m.change
		fmt.Fprintf(&text, "%9.3f  ", m.at.Sub(moments[0].at).Seconds())
		for _, worker := range workers {
			text.WriteString(cell(symbol(worker, m, working[worker]), len(worker)))
		}
		text.WriteString(m.text)
		if total > 1 {
			fmt.Fprintf(&text, "   ← %d at once", total)
		}
		text.WriteString("\n")
	}
	return text.String()
}

func symbol(worker string, m moment, working int) string {
	switch {
	case worker == m.worker && m.change > 0:
		return "┳"
	case worker == m.worker && m.change < 0:
		return "┻"
	case working > 0:
		return "┃"
	default:
		return " "
	}
}

// cell centers symbol in a column of the given width, and adds two spaces.
func cell(symbol string, width int) string {
	left := max(0, (width-1)/2)
	return strings.Repeat(" ", left) + symbol + strings.Repeat(" ", max(0, width-1-left)+2)
}
