package main

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// A pod is the place of one replica. Its processes run one after the other, each with
// an identity of its own, on one network.
type pod struct {
	runner     *runner
	name       string
	kubeconfig string
	proxy      *proxy
	busy       sync.Mutex // held while a fault lasts

	mu      sync.Mutex
	started int // number of processes so far
	process *lab.Process
}

// A fault is one kind of fault of a replica.
type fault int

const (
	terminate fault = iota
	kill
	freeze
	networkHangs
	networkRefuses
	networkSlow
	faults // the number of kinds
)

var faultNames = map[fault]string{
	terminate: "replica terminated", kill: "replica killed", freeze: "replica frozen",
	networkHangs: "network cut silently", networkRefuses: "network cut, connections reset", networkSlow: "network slow",
}

// workTooSlow is the exit status of a replica whose work did not stop in time.
var workTooSlow = fmt.Sprintf("exit status %d", exitWorkTooSlow)

// inject injects a fault and heals it after a while, or at once when ctx ends.
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

// freeze stops the process for a while. It may send a request when it wakes that it
// had decided on before.
func (p *pod) freeze(ctx context.Context, duration time.Duration) {
	identity, from := p.identity(), time.Now()
	if err := p.current().Signal(syscall.SIGSTOP); err != nil {
		return // the process has just exited; its exit is reported elsewhere
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

// restart starts a new process after a while, or at once when ctx ends.
func (p *pod) restart(ctx context.Context) {
	_ = lab.Sleep(ctx, p.runner.between(0, 3*time.Second))
	p.startOrReport()
}

func (p *pod) startOrReport() {
	if err := p.start(); err != nil {
		p.runner.violatedf("%v", err)
	}
}

// receive records an event of a process.
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

// stop sends SIGTERM and waits until the process has exited.
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

// kill kills the process and waits until it has exited.
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
