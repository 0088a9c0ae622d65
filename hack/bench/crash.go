package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// crashTiming is short, so that many crashes fit into little time.
var crashTiming = lab.Timing{LeaseDuration: 3 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: 500 * time.Millisecond}

const crashRounds = 10

// measureCrash makes the leaders of all implementations crash repeatedly. They do so
// side by side, because nothing happens until a Lease expires.
func (b *bench) measureCrash(ctx context.Context) (figures, error) {
	samples, err := sideBySide(func(i implementation) ([]float64, error) { return b.crashAll(ctx, i) })
	if err != nil {
		return nil, err
	}
	return crashFigures(samples), nil
}

// crashAll returns how much later each takeover was than the rule allows, which is
// one LeaseDuration after the last renewal was sent.
func (b *bench) crashAll(ctx context.Context, i implementation) (times []float64, err error) {
	g, err := newGroup(ctx, candidateGroup{cluster: b.cluster, implementation: i, timing: crashTiming}, 3)
	defer func() { err = errors.Join(err, g.close()) }()
	if err != nil {
		return nil, err
	}
	for round := range crashRounds {
		if err := lab.Sleep(ctx, time.Second+rand.N(crashTiming.RetryPeriod)); err != nil {
			return nil, err
		}
		h, err := g.crashLeader(ctx)
		if err != nil {
			return nil, err
		}
		times = append(times, lab.Milliseconds(h.started.Sub(h.allowed)))
		b.progress("crash: %s, round %d of %d", i.name, round+1, crashRounds)
		if err := g.replace(h.from); err != nil {
			return nil, fmt.Errorf("%s: %w", i.name, err)
		}
	}
	return times, nil
}
