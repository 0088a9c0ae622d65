package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// A runner runs the replicas and injects faults.
type runner struct {
	options
	cluster *cluster
	pods    []*pod
	logs    io.Writer
	journal lab.Journal // the events of all replicas

	mu         sync.Mutex
	rng        *rand.Rand
	began      time.Time
	faults     map[string]int // how often each fault was injected
	frozen     []lab.Span     // the intervals in which processes were frozen
	violations []string       // the violations that were found during the run
}

func newRunner(o options, c *cluster, rng *rand.Rand) *runner {
	r := &runner{options: o, cluster: c, rng: rng, faults: map[string]int{}, logs: io.Discard, began: time.Now()}
	if o.verbose {
		r.logs = os.Stderr
	}
	return r
}

// run starts the replicas and injects faults for the duration r.duration. After all
// faults are healed, it waits for a new ledger entry and stops all replicas.
func (r *runner) run(ctx context.Context) error {
	for i := range r.replicas {
		p := &pod{runner: r, name: fmt.Sprintf("pod-%d", i)}
		r.pods = append(r.pods, p)
		var err error
		if p.proxy, p.kubeconfig, err = r.cluster.connect(p.name); err != nil {
			return err
		}
		if err := p.start(); err != nil {
			return err
		}
	}
	if err := r.awaitEntry(ctx, time.Now(), "the first leader's first entry"); err != nil {
		return err
	}
	r.began = time.Now()
	injecting, stop := context.WithTimeout(ctx, r.duration)
	defer stop()
	failures := make(chan error, 2)
	go func() { failures <- r.disturbReplicas(injecting) }()
	go func() { failures <- r.disturbServers(injecting) }()
	if err := errors.Join(<-failures, <-failures, ctx.Err()); err != nil {
		return err
	}
	r.logf("all faults are healed")
	if err := r.awaitEntry(ctx, time.Now(), "an entry after all faults were healed"); err != nil {
		r.violatedf("%v", err)
	}
	return r.stopAll(ctx)
}

// leader returns the newest entry in the unguarded ledger. The writer of this entry is
// the leader.
func (r *runner) leader() lab.Entry {
	entries := r.cluster.history.Of(unguardedLedger)
	if len(entries) == 0 {
		return lab.Entry{}
	}
	return entries[len(entries)-1]
}

// awaitEntry waits until the unguarded ledger has an entry that is newer than the time
// in the parameter since. The parameter what describes this entry in error messages.
func (r *runner) awaitEntry(ctx context.Context, since time.Time, what string) error {
	limit := 3*r.timing.LeaseDuration + 30*time.Second
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("waited %v in vain for %s", limit, what))
	defer cancel()
	for !r.leader().At.After(since) {
		if err := lab.Sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// disturbReplicas injects faults into random replicas until ctx is done. It chooses the
// leader more often than the other replicas. Several replicas can have a fault at the
// same time, but no replica has two faults at once.
func (r *runner) disturbReplicas(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	for lab.Sleep(ctx, r.between(time.Second, 6*time.Second)) == nil {
		p := r.chooseReplica()
		if !p.busy.TryLock() {
			continue
		}
		f := fault(r.intN(int(faults)))
		all.Go(func() {
			defer p.busy.Unlock()
			p.inject(ctx, f)
		})
	}
	return nil
}

// chooseReplica returns the leader in half of all cases. In the other cases, it returns a
// random replica.
func (r *runner) chooseReplica() *pod {
	if r.intN(2) == 0 {
		leader := r.leader().Replica
		if i := slices.IndexFunc(r.pods, func(p *pod) bool { return p.identity() == leader }); i >= 0 {
			return r.pods[i]
		}
	}
	return r.pods[r.intN(len(r.pods))]
}

// disturbServers stops or kills one server at a time, and starts the server again after
// a random downtime. It repeats this until ctx is done. Every fourth server is etcd.
// The other servers are API servers.
func (r *runner) disturbServers(ctx context.Context) error {
	for i := 0; lab.Sleep(ctx, r.between(6*time.Second, 15*time.Second)) == nil; i++ {
		downtime := r.between(0, 5*time.Second)
		server, name := r.cluster.Plane.APIServer(i%2), fmt.Sprintf("API server %d", i%2)
		stop, start := server.Stop, server.Start
		switch {
		case i%4 == 2:
			name = "etcd"
			stop, start = r.cluster.Plane.Etcd().Kill, r.cluster.Plane.Etcd().Start
			r.count("etcd killed and restarted")
		case r.intN(2) == 0:
			stop = server.Kill
			r.count("API server killed and restarted")
		default:
			r.count("API server restarted")
		}
		r.logf("%s is down for %v", name, downtime)
		if err := stop(); err != nil {
			return err
		}
		_ = lab.Sleep(ctx, downtime)
		if err := start(); err != nil {
			return err
		}
		r.logf("%s is up", name)
	}
	return nil
}

// stopAll stops every replica and waits until all replicas have exited.
func (r *runner) stopAll(ctx context.Context) error {
	var all sync.WaitGroup
	for _, p := range r.pods {
		all.Go(func() { p.stop(ctx) })
	}
	all.Wait()
	return ctx.Err()
}

// killAll kills all processes that still run, and closes all proxies.
func (r *runner) killAll() {
	for _, p := range r.pods {
		p.kill()
		if p.proxy != nil {
			p.proxy.close()
		}
	}
}

func (r *runner) count(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults[what]++
}

func (r *runner) violatedf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.violations = append(r.violations, fmt.Sprintf(format, args...))
}

func (r *runner) intN(n int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rng.IntN(n)
}

func (r *runner) between(low, high time.Duration) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return (low + time.Duration(r.rng.Int64N(int64(high-low)))).Round(time.Millisecond)
}

func (r *runner) logf(format string, args ...any) {
	if r.verbose {
		fmt.Printf("%9.3f  %s\n", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
	}
}
