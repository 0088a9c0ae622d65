package main

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/watch"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

const (
	herdSize   = 500
	herdRounds = 10
	herdSettle = 4500 * time.Millisecond // long enough for the nomination of the next successor
)

// measureHerd measures handovers of a Lease with many followers. It also counts the
// writes that the API server refuses. For comparison, it measures the shortest possible
// handover of a Lease with the same number of watches.
func (b *bench) measureHerd(ctx context.Context) (f figures, err error) {
	b.progress("herd: starting %d followers", herdSize)
	g, err := newGroup(ctx, candidateGroup{cluster: b.cluster, implementation: implementationNamed(incumbent), timing: defaultTiming}, 1+herdSize)
	defer func() { err = errors.Join(err, g.close()) }()
	if err != nil {
		return nil, err
	}
	if err := g.awaitIdle(ctx); err != nil {
		return nil, err
	}
	var samples, refused []float64
	for round := range herdRounds {
		before := g.traffic()
		h, err := g.stopLeader(ctx)
		if err != nil {
			return nil, err
		}
		if err := lab.Sleep(ctx, time.Second); err != nil { // one second is longer than every claim delay
			return nil, err
		}
		claims := g.traffic().minus(before).refused
		if err := g.replace(h.from); err != nil {
			return nil, err
		}
		before = g.traffic()
		if err := lab.Sleep(ctx, herdSettle); err != nil {
			return nil, err
		}
		nominations := g.traffic().minus(before).refused
		samples = append(samples, lab.Milliseconds(h.took()))
		refused = append(refused, float64(claims+nominations))
		b.progress("herd: round %d of %d: %.1f ms, %d refused claims and %d refused nominations", round+1, herdRounds, samples[round], claims, nominations)
	}
	bare, err := b.watchedLimit(ctx, g.candidates)
	if err != nil {
		return nil, err
	}
	return herdFigures(samples, bare, refused), nil
}

// watchedLimit measures the shortest possible handover of a Lease that all candidates
// watch.
func (b *bench) watchedLimit(ctx context.Context, candidates []*candidate) (samples []float64, err error) {
	l, err := newLimit(ctx, b.cluster, "limit-herd")
	defer l.close()
	if err != nil {
		return nil, err
	}
	for _, c := range candidates {
		stream, err := watchLease(ctx, c.client.clientset().CoordinationV1().Leases(namespace), l.lease)
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
		samples = append(samples, lab.Milliseconds(took))
	}
	return samples, nil
}

func drain(stream watch.Interface) {
	for range stream.ResultChan() {
	}
}
