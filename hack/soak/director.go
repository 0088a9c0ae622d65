package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"
)

// A director runs the replicas, and does them harm.
type director struct {
	settings
	cluster *cluster
	pods    []*pod
	logs    io.Writer

	mu       sync.Mutex
	rng      *rand.Rand
	began    time.Time
	harm     map[string]int // what was done, how often
	reigns   []reign        // from when to when IsLeader said yes
	frozen   []freeze
	problems []string // what else was not as promised
}

// A reign is a time during which one process's IsLeader said yes.
type reign struct {
	replica  string
	from, to time.Time // to is zero while it lasts
}

// A freeze is a time during which a process was stopped by SIGSTOP.
type freeze struct {
	replica  string
	from, to time.Time
}

func newDirector(s settings, c *cluster, rng *rand.Rand) *director {
	d := &director{settings: s, cluster: c, rng: rng, harm: map[string]int{}, logs: io.Discard, began: time.Now()}
	if s.verbose {
		d.logs = os.Stderr
	}
	return d
}

// play does harm for as long as it was told to, heals everything, and stops it.
func (d *director) play(ctx context.Context) error {
	for i := range d.replicas {
		p := &pod{director: d, name: fmt.Sprintf("pod-%d", i)}
		d.pods = append(d.pods, p)
		var file string
		var err error
		if p.proxy, file, err = d.cluster.connect(p.name); err != nil {
			return err
		}
		p.kubeconfig = file
		if err := p.start(); err != nil {
			return err
		}
	}
	if err := d.awaitEntry(ctx, time.Now(), "the first leader's first entry"); err != nil {
		return err
	}
	d.began = time.Now()
	harming, stop := context.WithTimeout(ctx, d.duration)
	defer stop()
	failures := make(chan error, 2)
	go func() { failures <- d.harmReplicas(harming) }()
	go func() { failures <- d.harmServers(harming) }()
	if err := errors.Join(<-failures, <-failures, ctx.Err()); err != nil {
		return err
	}
	d.sayf("everything is healed")
	if err := d.awaitEntry(ctx, time.Now(), "an entry after everything had healed"); err != nil {
		d.problem("%v", err)
	}
	return d.stopAll(ctx)
}

// awaitEntry waits for an entry that was written later than since.
func (d *director) awaitEntry(ctx context.Context, since time.Time, what string) error {
	limit := 3*d.timing.LeaseDuration + 30*time.Second
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("waited %v in vain for %s", limit, what))
	defer cancel()
	for {
		if e, ok := d.cluster.history.leader(); ok && e.At.After(since) {
			return nil
		}
		if !wait(ctx, 20*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
}

// harmReplicas strikes one replica after the other, the leader more often than the
// others, and does not wait for one to recover before it strikes the next.
func (d *director) harmReplicas(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	for wait(ctx, d.between(time.Second, 6*time.Second)) {
		p := d.victim()
		if p == nil || !p.busy.TryLock() {
			continue
		}
		blow := d.blow()
		all.Go(func() {
			defer p.busy.Unlock()
			p.suffer(ctx, blow)
		})
	}
	return nil
}

// victim is the leader, half of the time.
func (d *director) victim() *pod {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e, ok := d.cluster.history.leader(); ok && d.rng.IntN(2) == 0 {
		if i := slices.IndexFunc(d.pods, func(p *pod) bool { return p.identity() == e.Replica }); i >= 0 {
			return d.pods[i]
		}
	}
	return d.pods[d.rng.IntN(len(d.pods))]
}

// harmServers strikes the API servers in turn, and now and then etcd.
func (d *director) harmServers(ctx context.Context) error {
	for i := 0; wait(ctx, d.between(6*time.Second, 15*time.Second)); i++ {
		downtime := d.between(0, 5*time.Second)
		server, what := d.cluster.plane.APIServer(i%2), fmt.Sprintf("API server %d", i%2)
		stop, start := server.Stop, server.Start
		switch {
		case i%4 == 2:
			what = "etcd"
			stop, start = d.cluster.plane.Etcd().Kill, d.cluster.plane.Etcd().Start
			d.count("etcd killed and restarted")
		case d.chance(2):
			stop = server.Kill
			d.count("API server killed and restarted")
		default:
			d.count("API server restarted")
		}
		d.sayf("%s goes down for %v", what, downtime)
		if err := stop(); err != nil {
			return err
		}
		wait(ctx, downtime)
		if err := start(); err != nil {
			return err
		}
		d.sayf("%s is up", what)
	}
	return nil
}

// stopAll asks every replica to stop, and waits until they are gone.
func (d *director) stopAll(ctx context.Context) error {
	var all sync.WaitGroup
	for _, p := range d.pods {
		all.Go(func() { p.stop(ctx) })
	}
	all.Wait()
	return ctx.Err()
}

// killAll leaves no process behind, whatever happened before.
func (d *director) killAll() {
	for _, p := range d.pods {
		p.kill()
		p.proxy.close()
	}
}

// hear takes in what a replica prints, until it is gone.
func (d *director) hear(identity string, in io.Reader) error {
	for lines := json.NewDecoder(in); ; {
		var c change
		if err := lines.Decode(&c); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		} else if err != nil {
			return err
		}
		d.mu.Lock()
		if c.Leads {
			d.reigns = append(d.reigns, reign{replica: identity, from: c.At})
		} else {
			d.endLocked(identity, c.At)
		}
		d.mu.Unlock()
		d.sayf("%s leads: %t", identity, c.Leads)
	}
}

func (d *director) endLocked(identity string, at time.Time) {
	for i := range d.reigns {
		if r := &d.reigns[i]; r.replica == identity && r.to.IsZero() {
			r.to = at
		}
	}
}

func (d *director) count(what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.harm[what]++
}

func (d *director) problem(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.problems = append(d.problems, fmt.Sprintf(format, args...))
}

func (d *director) chance(n int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.IntN(n) == 0
}

func (d *director) between(low, high time.Duration) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return (low + time.Duration(d.rng.Int64N(int64(high-low)))).Round(time.Millisecond)
}

func (d *director) sayf(format string, args ...any) {
	if d.verbose {
		fmt.Printf("%9.3f  %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
	}
}

// wait waits, and reports whether ctx has not ended.
func wait(ctx context.Context, how time.Duration) bool {
	timer := time.NewTimer(how)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
