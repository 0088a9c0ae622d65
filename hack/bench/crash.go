package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// crashTiming has short durations, because each crash takes about one LeaseDuration.
var crashTiming = lab.Timing{LeaseDuration: 3 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: 500 * time.Millisecond}

const crashRounds = 10

// measureCrash makes the leaders of all implementations crash repeatedly. It measures
// all implementations at the same time. They hardly disturb each other, because most of
// the time they wait until a Lease expires.
func (b *bench) measureCrash(ctx context.Context) (figures, error) {
	samples, err := sideBySide(func(i implementation) ([]float64, error) { return b.crashAll(ctx, i) })
	if err != nil {
		return nil, err
	}
	return crashFigures(samples), nil
}

// crashAll makes the leader of one implementation crash several times. It returns the
// delay of each takeover in milliseconds. A takeover is allowed one LeaseDuration after
// the leader sent its last renewal. The delay is the time from then until the
// successor's work starts.
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
