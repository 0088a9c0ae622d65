package main

import (
	"context"
	"errors"
	"time"
)

// measureRequests counts for a minute what a leader and its idle followers send.
func (b *bench) measureRequests(ctx context.Context) (f figures, err error) {
	var troupes []*troupe
	defer func() { err = errors.Join(err, closeAll(troupes)) }()
	for _, c := range contenders {
		t, err := newTroupe(ctx, troupe{cluster: b.cluster, contender: c, pace: defaultPace}, 3)
		troupes = append(troupes, t)
		if err != nil {
			return nil, err
		}
	}
	if err := pause(ctx, 6*time.Second); err != nil {
		return nil, err
	}
	before := map[*actor]traffic{}
	for _, t := range troupes {
		for _, a := range t.actors {
			before[a] = a.client.wire.traffic()
		}
	}
	b.progress("requests: counting for a minute")
	if err := pause(ctx, time.Minute); err != nil {
		return nil, err
	}
	leaders, followers := map[string]float64{}, map[string]float64{}
	for _, t := range troupes {
		name := t.contender.name
		leaders[name] = t.leader.client.wire.traffic().minus(before[t.leader]).requests()
		for _, a := range t.followers() {
			sent := a.client.wire.traffic().minus(before[a]).requests()
			followers[name] = max(followers[name], sent)
		}
	}
	return requestFigures(leaders, followers), nil
}

// requests are all requests; a watch that is open all the time is none.
func (t traffic) requests() float64 { return float64(t.reads + t.writes + t.watches) }
