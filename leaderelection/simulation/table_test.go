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

// A row of the table contains the results of one implementation for all
// schedules of one kind.
type row struct {
	implementation string
	kind           kind

	mu             sync.Mutex
	runs           int
	timeWithLeader time.Duration
	summedWorkTime time.Duration  // the sum of the work times of all replicas
	proofs         int            // the number of claims with proof of death before the Lease had expired
	overlapping    int            // the number of schedules with overlaps that no manual edit excuses
	clientGoCauses map[string]int // the number of schedules with overlaps, for each cause in client-go
	excusedBy      map[string]int // the number of schedules with excused overlaps, for each kind of manual edit
}

type rows struct {
	mu  sync.Mutex
	all []*row
}

var table rows

func newRow(implementation string, k kind) *row {
	r := &row{implementation: implementation, kind: k, clientGoCauses: map[string]int{}, excusedBy: map[string]int{}}
	table.mu.Lock()
	defer table.mu.Unlock()
	table.all = append(table.all, r)
	return r
}

func (r *row) add(report *referee) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.runs++
	r.proofs += report.proofs
	r.timeWithLeader += report.timeWithLeader
	r.summedWorkTime += report.summedWorkTime
	if report.overlaps {
		r.overlapping++
	}
	for cause := range report.clientGoCauses {
		r.clientGoCauses[cause]++
	}
	for edit := range report.excusedBy {
		r.excusedBy[edit]++
	}
}

// share returns the percentage of the fault phase during which there was a
// leader.
func (r *row) share() float64 { return r.percent(r.timeWithLeader) }

func (r *row) percent(d time.Duration) float64 {
	return 100 * float64(d) / float64(max(1, r.runs)) / float64(faultPhase)
}

// print writes the table to out, sorted by kind.
func (t *rows) print(out io.Writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	rows := slices.DeleteFunc(slices.Clone(t.all), func(r *row) bool { return r.runs == 0 })
	order := func(r *row) int { return slices.IndexFunc(kinds, func(k kind) bool { return k.name == r.kind.name }) }
	slices.SortStableFunc(rows, func(a, b *row) int { return cmp.Compare(order(a), order(b)) })
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "schedules\tkind\tcandidates\twith a leader\toverlaps counted twice\twith overlaps\tclient-go's causes\texcused by")
	for _, r := range rows {
		fmt.Fprintf(table, "%d\t%s: %s\t%s\t%.2f %%\t%.2f %%\t%d\t%s\t%s\n",
			r.runs, r.kind.name, r.kind.description, r.implementation, r.share(), r.percent(r.summedWorkTime), r.overlapping, counts(r.clientGoCauses), counts(r.excusedBy))
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
