package main

import (
	"context"
	"errors"
	"time"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// measureRequests counts the requests that leaders and idle followers send in one
// minute.
func (b *bench) measureRequests(ctx context.Context) (f figures, err error) {
	var groups []*candidateGroup
	defer func() { err = errors.Join(err, closeAll(groups)) }()
	for _, i := range implementations {
		g, err := newGroup(ctx, candidateGroup{cluster: b.cluster, implementation: i, timing: defaultTiming}, 3)
		groups = append(groups, g)
		if err != nil {
			return nil, err
		}
	}
	if err := lab.Sleep(ctx, 6*time.Second); err != nil {
		return nil, err
	}
	before := map[*candidate]traffic{}
	for _, g := range groups {
		for _, c := range g.candidates {
			before[c] = c.client.transport.traffic()
		}
	}
	b.progress("requests: counting for a minute")
	if err := lab.Sleep(ctx, time.Minute); err != nil {
		return nil, err
	}
	leaders, followers, silent := map[string]float64{}, map[string]float64{}, map[string]bool{}
	for _, g := range groups {
		name := g.implementation.name
		leaders[name] = g.leader.client.transport.traffic().minus(before[g.leader]).requests()
		for _, c := range g.followers() {
			sent := c.client.transport.traffic().minus(before[c]).requests()
			followers[name] = max(followers[name], sent)
			silent[name] = silent[name] || before[c].requests() == 0
		}
	}
	return requestFigures(leaders, followers, silent), nil
}

// requests returns the number of all requests. A watch counts as one request.
func (t traffic) requests() float64 { return float64(t.reads + t.writes + t.watches) }
