package main

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/watch"
)

const (
	herdSize   = 500
	herdRounds = 10
	herdSettle = 4500 * time.Millisecond // the next heir enters itself at leisure, and no renewal is under way
)

// measureHerd releases a Lease that many follow. It counts the writes that are
// refused until there is an heir again. For comparison the limit hands one over that
// as many watch.
func (b *bench) measureHerd(ctx context.Context) (f figures, err error) {
	b.progress("herd: %d followers come", herdSize)
	t, err := newTroupe(ctx, troupe{cluster: b.cluster, contender: contenderNamed(incumbent), pace: defaultPace}, 1+herdSize)
	defer func() { err = errors.Join(err, t.close()) }()
	if err != nil {
		return nil, err
	}
	if err := t.awaitCalm(ctx); err != nil {
		return nil, err
	}
	var samples, refused []float64
	for round := range herdRounds {
		before := t.traffic()
		h, err := t.stopLeader(ctx)
		if err != nil {
			return nil, err
		}
		if err := pause(ctx, time.Second); err != nil { // everybody's hesitation is over
			return nil, err
		}
		claims := t.traffic().minus(before).refused
		if err := t.replace(h.from); err != nil {
			return nil, err
		}
		before = t.traffic()
		if err := pause(ctx, herdSettle); err != nil {
			return nil, err
		}
		entries := t.traffic().minus(before).refused
		samples = append(samples, milliseconds(h.took()))
		refused = append(refused, float64(claims+entries))
		b.progress("herd: round %d of %d: %.1f ms, %d refused writes, and %d until there was an heir again", round+1, herdRounds, samples[round], claims, entries)
	}
	bare, err := b.watchedLimit(ctx, t.actors)
	if err != nil {
		return nil, err
	}
	return herdFigures(samples, bare, refused), nil
}

// watchedLimit is the limit on a Lease that all of these watch as well.
func (b *bench) watchedLimit(ctx context.Context, actors []*actor) (samples []float64, err error) {
	l, err := newLimit(ctx, b.cluster, "limit-herd")
	defer l.close()
	if err != nil {
		return nil, err
	}
	for _, a := range actors {
		stream, err := watchLease(ctx, a.client.clientset().CoordinationV1().Leases(namespace), l.lease)
		if err != nil {
			return nil, err
		}
		defer stream.Stop()
		go drain(stream)
	}
	for range herdRounds {
		took, err := l.handOver(ctx)
		if err != nil {
			return nil, err
		}
		samples = append(samples, milliseconds(took))
	}
	return samples, nil
}

func drain(stream watch.Interface) {
	for range stream.ResultChan() {
	}
}
