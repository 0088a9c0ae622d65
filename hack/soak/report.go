package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// String is the table at the end.
func (v *verdict) String() string {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	row := func(what, format string, args ...any) {
		_, _ = fmt.Fprintf(table, "%s\t%s\n", what, fmt.Sprintf(format, args...)) // a Builder takes everything
	}
	total := 0
	for _, what := range slices.Sorted(maps.Keys(v.harm)) {
		row("  "+what, "%d", v.harm[what])
		total += v.harm[what]
	}
	row("faults survived", "%d, by %d processes in the places of %d replicas, in %v", total, v.processes, v.replicas, v.took.Round(time.Second))
	row("handovers", "%d", max(0, v.terms-1))
	row("with a leader", "%.1f %% of the time; without one for %v at most", v.share, v.longest.Round(time.Millisecond))
	row("entries in the ledgers", "%d", v.entries)
	row("  sent by a frozen process when it woke", "%d, all refused where the token guards", v.frozen)
	row("  on their way for too long otherwise", "%d, all refused where the token guards", v.late)
	row("overlaps and other violations", "%d", len(v.violations))
	_ = table.Flush() // likewise
	for _, violation := range v.violations {
		text.WriteString("  " + violation + "\n")
	}
	return text.String()
}
