package main

import (
	"context"
	"errors"
	"runtime"
	"time"
)

const cpuFollowers = 200

// How long the API server's CPU time is taken: longer where less is to be seen.
const (
	baseWindow  = 45 * time.Second
	watchWindow = 60 * time.Second
	pollWindow  = 20 * time.Second
)

// measureCPU finds out what each of many idle followers costs the API server.
// What it uses with a leader alone, before and after, is subtracted.
func (b *bench) measureCPU(ctx context.Context) (figures, error) {
	if runtime.GOOS != "linux" {
		b.progress("cpu: left out: %v", errNoProc)
		return nil, nil
	}
	pid, err := childNamed("kube-apiserver")
	if err != nil {
		return nil, err
	}
	var used []float64
	for _, phase := range []struct {
		name      string
		followers int
		window    time.Duration
	}{{incumbent, 0, baseWindow}, {incumbent, cpuFollowers, watchWindow}, {clientGo, cpuFollowers, pollWindow}, {clientGo, 0, baseWindow}} {
		b.progress("cpu: %s, %d followers", phase.name, phase.followers)
		u, err := b.cpuOf(ctx, pid, contenderNamed(phase.name), phase.followers, phase.window)
		if err != nil {
			return nil, err
		}
		used = append(used, u)
	}
	return cpuFigures([]float64{used[0], used[3]}, used[1], used[2]), nil
}

// cpuOf returns the API server's CPU time in milliseconds a minute, with one
// leader and that many followers.
func (b *bench) cpuOf(ctx context.Context, pid int, c contender, followers int, window time.Duration) (used float64, err error) {
	t, err := newTroupe(ctx, troupe{cluster: b.cluster, contender: c, pace: defaultPace}, 1+followers)
	defer func() { err = errors.Join(err, t.close()) }()
	if err != nil {
		return 0, err
	}
	if err := t.awaitCalm(ctx); err != nil {
		return 0, err
	}
	from, err := cpuTime(pid)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := pause(ctx, window); err != nil {
		return 0, err
	}
	to, err := cpuTime(pid)
	return milliseconds(to-from) * float64(time.Minute) / float64(time.Since(began)), err
}
