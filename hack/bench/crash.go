package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// crashPace is short, so that many crashes fit into little time.
var crashPace = pace{3 * time.Second, 2 * time.Second, 500 * time.Millisecond}

const crashRounds = 10

// measureCrash lets the leaders of all contenders crash, again and again. They do
// so side by side: while a Lease runs out nothing happens.
func (b *bench) measureCrash(ctx context.Context) (figures, error) {
	type outcome struct {
		name  string
		times []float64
		err   error
	}
	outcomes := make(chan outcome)
	for _, c := range contenders {
		go func() {
			times, err := b.crashAll(ctx, c)
			outcomes <- outcome{c.name, times, err}
		}()
	}
	samples := map[string][]float64{}
	var errs []error
	for range contenders {
		o := <-outcomes
		samples[o.name] = o.times
		errs = append(errs, o.err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return crashFigures(samples), nil
}

// crashAll returns by how much each takeover was later than the rule allows: one
// LeaseDuration after the last renewal was sent.
func (b *bench) crashAll(ctx context.Context, c contender) (times []float64, err error) {
	t, err := newTroupe(ctx, troupe{cluster: b.cluster, contender: c, pace: crashPace}, 3)
	defer func() { err = errors.Join(err, t.close()) }()
	if err != nil {
		return nil, err
	}
	for round := range crashRounds {
		if err := pause(ctx, time.Second+rand.N(crashPace.retry)); err != nil {
			return nil, err
		}
		h, err := t.crashLeader(ctx)
		if err != nil {
			return nil, err
		}
		times = append(times, milliseconds(h.started.Sub(h.allowed)))
		b.progress("crash: %s, round %d of %d", c.name, round+1, crashRounds)
		if err := t.replace(h.from); err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return times, nil
}
