package main

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

const cpuFollowers = 200

// The durations of the CPU measurements. A small load needs a longer measurement than a
// large load.
const (
	baseWindow  = 45 * time.Second
	watchWindow = 60 * time.Second
	pollWindow  = 20 * time.Second
)

// measureCPU measures how much CPU time one idle follower costs the API server. It
// compares a leader with many followers to a leader without followers.
func (b *bench) measureCPU(ctx context.Context) (figures, error) {
	if runtime.GOOS != "linux" {
		return cpuNotMeasured(errNoProc.Error()), nil
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
		u, err := b.cpuOf(ctx, pid, implementationNamed(phase.name), phase.followers, phase.window)
		if err != nil {
			return nil, err
		}
		used = append(used, u)
	}
	return cpuFigures([]float64{used[0], used[3]}, used[1], used[2]), nil
}

// cpuOf returns the CPU time of the API server, in milliseconds per minute. The Lease
// has one leader and the given number of followers. pid is the process ID
// of the API server.
func (b *bench) cpuOf(ctx context.Context, pid int, i implementation, followers int, window time.Duration) (used float64, err error) {
	g, err := newGroup(ctx, candidateGroup{cluster: b.cluster, implementation: i, timing: defaultTiming}, 1+followers)
	defer func() { err = errors.Join(err, g.close()) }()
	if err != nil {
		return 0, err
	}
	if err := g.awaitIdle(ctx); err != nil {
		return 0, err
	}
	from, err := cpuTime(pid)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := lab.Sleep(ctx, window); err != nil {
		return 0, err
	}
	to, err := cpuTime(pid)
	return lab.Milliseconds(to-from) * float64(time.Minute) / float64(time.Since(began)), err
}
