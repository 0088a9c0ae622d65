package simulation

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// A row of the table is what became of one fleet on the schedules of one kind.
type row struct {
	fleet string
	kind  kind

	mu      sync.Mutex
	runs    int
	covered time.Duration
	summed  time.Duration  // what two worked at once counts twice
	broken  int            // schedules with two leaders at once that nobody's hands excuse
	bare    map[string]int // those by what client-go did
	excused map[string]int // schedules with overlaps by what people did
}

type rows struct {
	mu  sync.Mutex
	all []*row
}

var table rows

func newRow(fleet string, k kind) *row {
	r := &row{fleet: fleet, kind: k, bare: map[string]int{}, excused: map[string]int{}}
	table.mu.Lock()
	defer table.mu.Unlock()
	table.all = append(table.all, r)
	return r
}

func (r *row) add(report *referee) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.runs++
	r.covered += report.covered
	r.summed += report.summed
	if report.overlaps {
		r.broken++
	}
	for why := range report.bare {
		r.bare[why]++
	}
	for how := range report.excused {
		r.excused[how]++
	}
}

// share is how much of the time somebody led, in percent.
func (r *row) share() float64 { return r.percent(r.covered) }

func (r *row) percent(d time.Duration) float64 {
	return 100 * float64(d) / float64(max(1, r.runs)) / float64(length)
}

// print writes the table, one kind of schedules after the other.
func (t *rows) print(out io.Writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	rows := slices.DeleteFunc(slices.Clone(t.all), func(r *row) bool { return r.runs == 0 })
	order := func(r *row) int { return slices.IndexFunc(kinds, func(k kind) bool { return k.name == r.kind.name }) }
	slices.SortStableFunc(rows, func(a, b *row) int { return cmp.Compare(order(a), order(b)) })
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "schedules\tof\tcandidates\twith a leader\tdoubled time twice\ttwo leaders in\tclient-go\tor people, by")
	for _, r := range rows {
		fmt.Fprintf(table, "%d\t%s: %s\t%s\t%.2f %%\t%.2f %%\t%d\t%s\t%s\n",
			r.runs, r.kind.name, r.kind.what, r.fleet, r.share(), r.percent(r.summed), r.broken, counts(r.bare), counts(r.excused))
	}
	_ = table.Flush()
}

func counts(m map[string]int) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s: %d", key, m[key]))
	}
	return strings.Join(parts, ", ")
}
