package envtest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Timeline returns what was recorded, one line for each start, stop and note, one
// column for each worker:
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
	change int // of the number of the worker's shifts
	text   string
}

func (r *Referee) momentsLocked() []moment {
	var moments []moment
	for _, s := range r.sortedLocked() {
		moments = append(moments, moment{s.start, s.worker, +1, s.worker + " starts, term " + s.term})
		if !s.stop.IsZero() {
			moments = append(moments, moment{s.stop, s.worker, -1, s.worker + " stops, term " + s.term})
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
			text.WriteString(cell(mark(worker, m, working[worker]), len(worker)))
		}
		text.WriteString(m.text)
		if total > 1 {
			fmt.Fprintf(&text, "   ← %d at once", total)
		}
		text.WriteString("\n")
	}
	return text.String()
}

func mark(worker string, m moment, working int) string {
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

// cell centres the mark under a name of that width.
func cell(mark string, width int) string {
	left := max(0, (width-1)/2)
	return strings.Repeat(" ", left) + mark + strings.Repeat(" ", max(0, width-1-left)+2)
}
