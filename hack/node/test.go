//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// refereeAddress is the address at which the referee listens in the node's network.
const refereeAddress = apiAddress + ":9090"

// testOptions are the flags of the command node test.
type testOptions struct {
	only *regexp.Regexp
	n    int
}

func parseTestOptions(args []string) (testOptions, error) {
	flags := flag.NewFlagSet("node test", flag.ExitOnError)
	only := flags.String("only", "", "regular `expression` for the names of the scenarios")
	n := flags.Int("n", 4, "repetitions of a crash; other scenarios and controller-runtime are repeated less often")
	_ = flags.Parse(args)
	expression, err := regexp.Compile(*only)
	switch {
	case err != nil:
		return testOptions{}, fmt.Errorf("-only (%s) is not a regular expression: %w", *only, err)
	case *n < 1:
		return testOptions{}, fmt.Errorf("-n (%d) must be at least 1", *n)
	}
	return testOptions{only: expression, n: *n}, nil
}

// A tester runs scenarios and collects their outcomes.
type tester struct {
	node    *node
	sides   map[string]*side
	options testOptions

	mu      sync.Mutex
	results []result
}

// A result contains the outcomes of one scenario for one election.
type result struct {
	scenario, election string
	outcomes           []outcome
}

// testNode starts a node and runs the scenarios. It returns false if the work of two
// processes with the election of this project overlapped.
func testNode(ctx context.Context, args []string) (bool, error) {
	options, err := parseTestOptions(args)
	if err != nil {
		return false, err
	}
	n, err := startNode(ctx)
	if err != nil {
		return false, err
	}
	defer n.close()
	fmt.Printf("The node is Ready after %v, logs are in %s, kubectl is %s\n", time.Since(n.started).Round(100*time.Millisecond), n.run, n.kubectl())
	var listener net.Listener
	if err := n.enterNetwork(func() (err error) { listener, err = net.Listen("tcp", refereeAddress); return err }); err != nil {
		return false, err
	}
	defer func() { _ = listener.Close() }()
	t := &tester{node: n, sides: map[string]*side{}, options: options}
	ref := newReferee(listener)
	for _, election := range []string{incumbent, controllerRuntime, noElection} {
		t.sides[election] = &side{election: election, node: n, referee: ref}
	}
	for _, s := range scenarios {
		if !options.only.MatchString(s.name) {
			continue
		}
		if err := t.run(ctx, s); err != nil {
			fmt.Print(table(t.results))
			return false, fmt.Errorf("scenario %s: %w", s.name, err)
		}
	}
	fmt.Print("\n" + table(t.results))
	// The repetitions have gaps between them, so the whole run is judged as well.
	all := judge(ref.since(incumbent, time.Time{}), time.Time{}, time.Now())
	n.clean = !overlapped(t.results) && all.overlap == 0
	fmt.Printf("\nThe work of two operators with the election %s overlapped for %v in the whole run.\n", incumbent, all.overlap)
	return n.clean, nil
}

// run runs a scenario with all sides at the same time.
func (t *tester) run(ctx context.Context, s scenario) error {
	var sides []*side
	for _, election := range []string{incumbent, controllerRuntime, noElection} {
		side := t.sides[election]
		if election == noElection && s.replicas != 1 {
			if err := t.retire(ctx, side); err != nil {
				return err
			}
			continue
		}
		if err := side.deploy(ctx, s.replicas); err != nil {
			return err
		}
		sides = append(sides, side)
	}
	if s.before == nil {
		return each(sides, func(side *side) error { return t.repeat(ctx, s, side) })
	}
	for range repetitions(t.options.n, s.share) {
		if err := t.together(ctx, s, sides); err != nil {
			return err
		}
	}
	return nil
}

// retire stops the Deployment without an election. It exists only in the scenarios with one
// replica.
func (t *tester) retire(ctx context.Context, s *side) error {
	if t.node.namespaceExists(ctx, s.election) {
		return s.scale(ctx, 0)
	}
	return nil
}

// repetitions returns how often a scenario is repeated.
func repetitions(n, share int) int { return max(1, n/share) }

// lookBack is the time before a fault that is judged as well. It contains the last beat of
// a leader that is frozen, and is shorter than settlePeriod.
const lookBack = time.Second

// repeat runs a scenario with one side. The side of controller-runtime has a quarter of the
// repetitions, because its takeovers last longer.
func (t *tester) repeat(ctx context.Context, s scenario, side *side) error {
	share := s.share
	if side.election == controllerRuntime {
		share *= 4
	}
	for range repetitions(t.options.n, share) {
		leader, err := side.settle(ctx)
		if err != nil {
			return err
		}
		since := time.Now().Add(-lookBack)
		if err := s.run(ctx, side, leader); err != nil {
			return err
		}
		if err := t.finish(ctx, s, side, since); err != nil {
			return err
		}
	}
	return nil
}

// together runs a scenario of the node with all sides.
func (t *tester) together(ctx context.Context, s scenario, sides []*side) error {
	leaders := make([]work, len(sides))
	index := func(side *side) int { return slices.Index(sides, side) }
	err := each(sides, func(side *side) (err error) { leaders[index(side)], err = side.settle(ctx); return err })
	if err != nil {
		return err
	}
	since := time.Now().Add(-lookBack)
	if err := s.before(ctx, t.node); err != nil {
		return err
	}
	err = each(sides, func(side *side) error { return s.run(ctx, side, leaders[index(side)]) })
	if err := errors.Join(err, s.after(ctx, t.node)); err != nil {
		return err
	}
	return each(sides, func(side *side) error { return t.finish(ctx, s, side, since) })
}

// finish waits until the side is stable, and then judges what has happened since a time.
func (t *tester) finish(ctx context.Context, s scenario, side *side, since time.Time) error {
	if _, err := side.settle(ctx); err != nil {
		return err
	}
	works := side.referee.since(side.election, since)
	o := judge(works, since, time.Now())
	fmt.Printf("%s  %-16s %-20s idle %6.0f ms, %d handovers, start to work %6.0f ms\n", time.Now().Format(time.TimeOnly),
		s.name, side.election, ms(o.idle), o.handovers, ms(o.start))
	if o.overlap > 0 {
		fmt.Printf("OVERLAP of %v:\n%s", o.overlap, timeline(works))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.IndexFunc(t.results, func(r result) bool { return r.scenario == s.name && r.election == side.election })
	if i < 0 {
		t.results = append(t.results, result{scenario: s.name, election: side.election})
		i = len(t.results) - 1
	}
	t.results[i].outcomes = append(t.results[i].outcomes, o)
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// each calls f for all sides at the same time.
func each(sides []*side, f func(*side) error) (err error) {
	failures := make(chan error)
	for _, s := range sides {
		go func() { failures <- f(s) }()
	}
	for range sides {
		err = errors.Join(err, <-failures)
	}
	return err
}

// overlapped reports whether the work of this project's operators overlapped.
func overlapped(results []result) bool {
	return slices.ContainsFunc(results, func(r result) bool {
		return r.election == incumbent && slices.ContainsFunc(r.outcomes, func(o outcome) bool { return o.overlap > 0 })
	})
}

// table returns the results as text: a row for each scenario and election, ordered by scenario.
// The time from the start of a process to its work is shown for one replica only. With
// more replicas, another process takes over, which has started long before.
func table(results []result) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "scenario\telection\tn\tidle median\tidle worst\tstart to work\thandovers\toverlaps")
	order := []string{incumbent, controllerRuntime, noElection}
	for _, s := range scenarios {
		for _, election := range order {
			i := slices.IndexFunc(results, func(r result) bool { return r.scenario == s.name && r.election == election })
			if i >= 0 {
				_, _ = fmt.Fprintln(w, results[i].row(s.replicas == 1))
			}
		}
	}
	_ = w.Flush()
	return text.String()
}

func (r result) row(withStart bool) string {
	var idle, start []time.Duration
	fewest, most, overlaps := r.outcomes[0].handovers, 0, 0
	for _, o := range r.outcomes {
		idle, start = append(idle, o.idle), append(start, o.start)
		fewest, most = min(fewest, o.handovers), max(most, o.handovers)
		if o.overlap > 0 {
			overlaps++
		}
	}
	slices.Sort(idle)
	slices.Sort(start)
	handovers := fmt.Sprint(most)
	if fewest != most {
		handovers = fmt.Sprintf("%d to %d", fewest, most)
	}
	toWork := "-"
	if withStart {
		toWork = inSeconds(median(start))
	}
	return fmt.Sprintf("%s\t%s\t%d\t%s\t%s\t%s\t%s\t%d", r.scenario, r.election, len(idle),
		inSeconds(median(idle)), inSeconds(idle[len(idle)-1]), toWork, handovers, overlaps)
}

// median returns the median of the sorted values.
func median(sorted []time.Duration) time.Duration {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func inSeconds(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) }
