package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// measureHandover stops the leader of each contender in turn, round by round, and
// in another order in each: so leaders are stopped at any moment between two looks
// of followers that poll.
func (b *bench) measureHandover(ctx context.Context) (f figures, err error) {
	bare, err := newLimit(ctx, b.cluster, "limit")
	defer bare.close()
	if err != nil {
		return nil, err
	}
	var troupes []*troupe
	defer func() { err = errors.Join(err, closeAll(troupes)) }()
	for _, c := range contenders {
		t, err := newTroupe(ctx, troupe{cluster: b.cluster, contender: c, pace: defaultPace, traced: c.name == incumbent}, 3)
		troupes = append(troupes, t)
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
		samples[limitName] = append(samples[limitName], milliseconds(took))
		for _, i := range rand.Perm(len(troupes)) {
			t := troupes[i]
			took, line, err := t.handOver(ctx)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", t.contender.name, err)
			}
			samples[t.contender.name] = append(samples[t.contender.name], milliseconds(took))
			if line != nil {
				timelines = append(timelines, *line)
			}
		}
	}
	b.report.Samples, b.report.Timeline = samples, middle(timelines)
	return handoverFigures(samples), nil
}

// settle lets connections open and followers settle after a candidate was
// replaced.
const settle = 300 * time.Millisecond

// handOver stops the leader and replaces it, and then leaves everybody alone for a
// while. The timeline is nil if there is none.
func (t *troupe) handOver(ctx context.Context) (took time.Duration, line *timeline, err error) {
	h, err := t.stopLeader(ctx)
	if err != nil {
		return 0, nil, err
	}
	if err := t.replace(h.from); err != nil {
		return 0, nil, err
	}
	if t.traced {
		line = newTimeline(h, h.from.stopped, h.from.client.wire.recent(), h.to.client.wire.recent())
	}
	return h.took(), line, pause(ctx, settle+rand.N(settle))
}

func closeAll(troupes []*troupe) error {
	errs := make(chan error)
	for _, t := range troupes {
		go func() { errs <- t.close() }()
	}
	var all error
	for range troupes {
		all = errors.Join(all, <-errs)
	}
	return all
}
