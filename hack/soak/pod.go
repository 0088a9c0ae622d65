package main

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// A pod runs the processes of one replica, one process after the other. Each process
// has its own identity. All processes of a pod use the same proxy as their network.
type pod struct {
	runner     *runner
	name       string
	kubeconfig string
	proxy      *proxy
	busy       sync.Mutex // locked while a fault is injected into this pod

	mu      sync.Mutex
	started int // the number of processes that were started so far
	process *lab.Process
}

// A fault is a way in which the soak disturbs a replica.
type fault int

const (
	terminate fault = iota
	kill
	freeze
	networkHangs
	networkRefuses
	networkSlow
	faults // the number of kinds of faults
)

var faultNames = map[fault]string{
	terminate: "replica terminated", kill: "replica killed", freeze: "replica frozen",
	networkHangs: "network cut silently", networkRefuses: "network cut, connections reset", networkSlow: "network slow",
}

// workTooSlow is the error text of a process that exited with the status
// exitWorkTooSlow.
var workTooSlow = fmt.Sprintf("exit status %d", exitWorkTooSlow)

// inject injects the fault f into the pod and heals the fault after a random time. If
// ctx is done earlier, inject heals the fault at once.
func (p *pod) inject(ctx context.Context, f fault) {
	r := p.runner
	lease := r.timing.LeaseDuration
	r.count(faultNames[f])
	r.logf("%s: %s", p.identity(), faultNames[f])
	switch f {
	case terminate:
		p.stop(ctx)
		p.restart(ctx)
	case kill:
		p.kill()
		p.restart(ctx)
	case freeze:
		p.freeze(ctx, r.between(lease/4, 2*lease))
	case networkHangs:
		p.disturbNetwork(ctx, hangs, 0, r.between(lease/8, 2*lease))
	case networkRefuses:
		p.disturbNetwork(ctx, refuses, 0, r.between(lease/8, 2*lease))
	case networkSlow:
		p.disturbNetwork(ctx, slow, r.between(10*time.Millisecond, lease/6), r.between(lease/8, 2*lease))
	}
}

func (p *pod) disturbNetwork(ctx context.Context, c condition, delay, duration time.Duration) {
	p.proxy.set(c, delay)
	_ = lab.Sleep(ctx, duration)
	p.proxy.set(healthy, 0)
}

// freeze freezes the process for the given duration and records the time interval. The
// soak needs this interval, because a process that wakes may still send a request that
// it prepared before the freeze.
func (p *pod) freeze(ctx context.Context, duration time.Duration) {
	identity, from := p.identity(), time.Now()
	if err := p.current().Signal(syscall.SIGSTOP); err != nil {
		return // the process has just exited; receive records the exit
	}
	_ = lab.Sleep(ctx, duration)
	p.runner.mu.Lock()
	p.runner.frozen = append(p.runner.frozen, lab.Span{Replica: identity, From: from, To: time.Now()})
	p.runner.mu.Unlock()
	_ = p.current().Signal(syscall.SIGCONT)
}

func (p *pod) identity() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprintf("%s-%d", p.name, p.started)
}

// start starts a new process with a new identity.
func (p *pod) start() error {
	p.mu.Lock()
	p.started++
	p.mu.Unlock()
	process, err := lab.StartReplica(p.identity(), settings{p.kubeconfig, p.runner.timing}, p.runner.logs, p.receive)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.process = process
	return nil
}

// restart waits for a random time and then starts a new process. If ctx is done
// earlier, restart starts the process at once.
func (p *pod) restart(ctx context.Context) {
	_ = lab.Sleep(ctx, p.runner.between(0, 3*time.Second))
	p.startOrReport()
}

func (p *pod) startOrReport() {
	if err := p.start(); err != nil {
		p.runner.violatedf("%v", err)
	}
}

// receive adds the event e of a process to the journal. If the process exited because its
// work did not stop in time, receive starts a new process. It records any other
// unexpected exit as a violation.
func (p *pod) receive(e lab.Event) {
	r := p.runner
	r.journal.Add(e)
	r.logf("%s: %s %s", e.Replica, e.Kind, e.Detail)
	switch {
	case e.Kind != lab.Exited:
	case e.Detail == workTooSlow:
		r.count("work too slow to stop; the replica exited")
		if e.Unexpected {
			go p.startOrReport()
		}
	case e.Unexpected:
		r.violatedf("%s exited unexpectedly: %s", e.Replica, e.Detail)
	}
}

// stop sends SIGTERM to the process and waits until the process has exited. It records
// a violation if the process does not exit in time, or exits with an unexpected error.
func (p *pod) stop(ctx context.Context) {
	process, limit := p.current(), 2*p.runner.timing.LeaseDuration+20*time.Second
	if process.Signal(syscall.SIGTERM) != nil {
		return
	}
	if err := process.Await(context.WithoutCancel(ctx), limit); err != nil {
		p.runner.violatedf("after SIGTERM: %v", err)
		process.Kill()
	} else if err := process.Err(); err != nil && err.Error() != workTooSlow {
		p.runner.violatedf("%s did not exit normally: %v", process.Identity, err)
	}
}

// kill kills the process and waits until the process has exited.
func (p *pod) kill() {
	if process := p.current(); process != nil {
		process.Kill()
	}
}

func (p *pod) current() *lab.Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.process
}
