package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// measureHandover measures graceful handovers. Each round stops the leader of each
// implementation once, in random order and after a random pause.
func (b *bench) measureHandover(ctx context.Context) (f figures, err error) {
	bare, err := newLimit(ctx, b.cluster, "limit")
	defer bare.close()
	if err != nil {
		return nil, err
	}
	var groups []*candidateGroup
	defer func() { err = errors.Join(err, closeAll(groups)) }()
	for _, i := range implementations {
		g, err := newGroup(ctx, candidateGroup{cluster: b.cluster, implementation: i, timing: defaultTiming, traced: i.name == incumbent}, 3)
		groups = append(groups, g)
		if err != nil {
			return nil, err
		}
	}
	samples, timelines := map[string][]float64{}, []timeline(nil)
	for round := range b.rounds {
		b.progress("handover: round %d of %d", round+1, b.rounds)
		took, err := bare.handOver(ctx)
		if err != nil {
			return nil, fmt.Errorf("the limit: %w", err)
		}
		samples[limitName] = append(samples[limitName], lab.Milliseconds(took))
		for _, i := range rand.Perm(len(groups)) {
			g := groups[i]
			took, line, err := g.handOver(ctx)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", g.implementation.name, err)
			}
			samples[g.implementation.name] = append(samples[g.implementation.name], lab.Milliseconds(took))
			if line != nil {
				timelines = append(timelines, *line)
			}
		}
	}
	b.report.Samples, b.report.Timeline = samples, middle(timelines)
	return handoverFigures(samples, b.rounds), nil
}

// settle is the minimum pause between two handovers. A new candidate opens its
// connections during the pause.
const settle = 300 * time.Millisecond

// handOver stops the leader and starts a new candidate. It returns the duration and the
// timeline of the handover. The timeline may be nil.
func (g *candidateGroup) handOver(ctx context.Context) (took time.Duration, line *timeline, err error) {
	h, err := g.stopLeader(ctx)
	if err != nil {
		return 0, nil, err
	}
	if err := g.replace(h.from); err != nil {
		return 0, nil, err
	}
	if g.traced {
		line = newTimeline(h, h.from.stopped, h.from.client.transport.recent(), h.to.client.transport.recent())
	}
	return h.took(), line, lab.Sleep(ctx, settle+rand.N(settle))
}

func closeAll(groups []*candidateGroup) error {
	errs := make(chan error)
	for _, g := range groups {
		go func() { errs <- g.close() }()
	}
	var all error
	for range groups {
		all = errors.Join(all, <-errs)
	}
	return all
}
