package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"

	"github.com/haproxy-template-ic/incumbent/hack/spawn"
)

// A pod is the place of one replica: processes with identities of their own follow
// one another in it, on one network.
type pod struct {
	director   *director
	name       string
	kubeconfig string
	proxy      *proxy
	busy       sync.Mutex // held while it is harmed

	mu      sync.Mutex
	life    int
	process *spawn.Process
	mayEnd  bool // its end is no surprise
}

// A blow is one kind of harm.
type blow int

const (
	terminate blow = iota
	crash
	stopAndContinue
	networkHangs
	networkRefuses
	networkSlow
	blows // how many there are
)

var blowNames = map[blow]string{
	terminate: "replica terminated", crash: "replica killed", stopAndContinue: "replica frozen",
	networkHangs: "network cut, silently", networkRefuses: "network cut, connections reset", networkSlow: "network slow",
}

func (d *director) blow() blow {
	d.mu.Lock()
	defer d.mu.Unlock()
	return blow(d.rng.IntN(int(blows)))
}

// workTooSlow is how a replica ends that could not wait for its work.
var workTooSlow = fmt.Sprintf("exit status %d", exitWorkTooSlow)

// suffer strikes the pod and heals it. When ctx ends it is healed at once.
func (p *pod) suffer(ctx context.Context, b blow) {
	d := p.director
	lease := d.timing.LeaseDuration
	d.count(blowNames[b])
	d.sayf("%s: %s", p.identity(), blowNames[b])
	switch b {
	case terminate:
		p.stop(ctx)
		p.restart(ctx)
	case crash:
		p.kill()
		p.restart(ctx)
	case stopAndContinue:
		p.freeze(ctx, d.between(lease/4, 2*lease))
	case networkHangs:
		p.harmNetwork(ctx, hangs, 0, d.between(lease/8, 2*lease))
	case networkRefuses:
		p.harmNetwork(ctx, refuses, 0, d.between(lease/8, 2*lease))
	case networkSlow:
		p.harmNetwork(ctx, slow, d.between(10*time.Millisecond, lease/6), d.between(lease/8, 2*lease))
	}
}

func (p *pod) harmNetwork(ctx context.Context, f fault, delay, how time.Duration) {
	p.proxy.set(f, delay)
	wait(ctx, how)
	p.proxy.set(whole, 0)
}

// freeze stops the process for a while. What it sends when it wakes was decided
// before.
func (p *pod) freeze(ctx context.Context, how time.Duration) {
	identity, from := p.identity(), time.Now()
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return // it has just ended by itself, which is told elsewhere
	}
	wait(ctx, how)
	p.director.mu.Lock()
	p.director.frozen = append(p.director.frozen, freeze{identity, from, time.Now()})
	p.director.mu.Unlock()
	_ = p.signal(syscall.SIGCONT)
}

func (p *pod) identity() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprintf("%s-%d", p.name, p.life)
}

// start starts a new process, under an identity of its own.
func (p *pod) start() error {
	p.mu.Lock()
	p.life++
	p.mayEnd = false
	p.mu.Unlock()
	identity, timing := p.identity(), p.director.timing
	process, err := spawn.Start(spawn.Spec{
		Args: []string{
			"-replica", identity, "-namespace", namespace, "-kubeconfig", p.kubeconfig,
			"-lease", timing.LeaseDuration.String(), "-deadline", timing.RenewDeadline.String(), "-period", timing.RetryPeriod.String(),
		},
		Logs:  p.director.logs,
		Read:  func(in io.Reader) error { return p.director.hear(identity, in) },
		Ended: func(state string) { p.ended(identity, state) },
	})
	if err != nil {
		return fmt.Errorf("starting %s: %w", identity, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.process = process
	return nil
}

// restart starts a new process after a while, or at once when ctx ends.
func (p *pod) restart(ctx context.Context) {
	wait(ctx, p.director.between(0, 3*time.Second))
	if err := p.start(); err != nil {
		p.director.problem("%v", err)
	}
}

// ended is called when a process is gone. It led until then at the latest.
func (p *pod) ended(identity, state string) {
	d := p.director
	d.mu.Lock()
	d.endLocked(identity, time.Now())
	d.mu.Unlock()
	d.sayf("%s is gone: %s", identity, state)
	p.mu.Lock()
	expected := p.mayEnd
	p.mu.Unlock()
	switch {
	case state == workTooSlow:
		d.count("work too slow to stop: the replica left")
		if !expected {
			go func() {
				if err := p.start(); err != nil {
					d.problem("%v", err)
				}
			}()
		}
	case !expected:
		d.problem("%s ended by itself: %s", identity, state)
	}
}

// stop asks the process to end, and waits for it.
func (p *pod) stop(ctx context.Context) {
	p.expectEnd()
	if p.signal(syscall.SIGTERM) != nil {
		return
	}
	identity, limit := p.identity(), 2*p.director.timing.LeaseDuration+20*time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	select {
	case <-p.current().Gone():
		if err := p.current().Err(); err != nil && err.Error() != workTooSlow {
			p.director.problem("%s did not end as it should: %v", identity, err)
		}
	case <-ctx.Done():
		p.director.problem("%s has not ended %v after SIGTERM", identity, limit)
		p.kill()
	}
}

// kill ends the process at once. It leads no longer than until now.
func (p *pod) kill() {
	p.expectEnd()
	if process := p.current(); process != nil {
		process.Kill()
	}
}

func (p *pod) expectEnd() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mayEnd = true
}

func (p *pod) current() *spawn.Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.process
}

func (p *pod) signal(s syscall.Signal) error { return p.current().Signal(s) }
