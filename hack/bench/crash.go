package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// crashTiming has short durations, because each takeover lasts about one LeaseDuration.
var crashTiming = lab.Timing{LeaseDuration: 3 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: 500 * time.Millisecond}

const crashRounds = 10

// measureCrash measures how long a takeover takes after the leader has crashed. It
// measures all implementations at the same time.
func (b *bench) measureCrash(ctx context.Context) (figures, error) {
	samples, err := sideBySide(func(i implementation) ([]float64, error) { return b.crashAll(ctx, i) })
	if err != nil {
		return nil, err
	}
	return crashFigures(samples), nil
}

// crashAll simulates several crashes of the leader. It returns one delay in
// milliseconds for each crash. The delay is the time from the expiry of the Lease to
// the start of the successor's work.
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
		times = append(times, lab.Milliseconds(h.started.Sub(h.expired)))
		b.progress("crash: %s, round %d of %d", i.name, round+1, crashRounds)
		if err := g.replace(h.from); err != nil {
			return nil, fmt.Errorf("%s: %w", i.name, err)
		}
	}
	return times, nil
}
