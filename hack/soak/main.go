// Command soak runs replicas for as long as one likes, and harms them: they are
// stopped, killed and frozen, their networks are cut and delayed, the two API
// servers are killed and restarted in turn, and so is etcd. Whoever leads writes
// into two ledgers all the time, with no regard to what stands there; one of them
// is guarded by the fencing token, and the API servers refuse entries of an earlier
// term there. At the end an outside referee reads both from etcd's own history,
// in which nothing is overwritten, and says whether two were at work at once.
//
// Each replica is a process of its own, and speaks to the API servers through a
// TCP proxy of its own. The README in this folder says how the ledgers are judged.
//
// It exits with 1 if two leaders were at work, or if anything else was not as
// promised, and with 2 if the soak could not be run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/haproxy-template-ic/incumbent/hack/spawn"
	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

const (
	exitViolated    = 1
	exitNotRun      = 2
	exitWorkTooSlow = 3 // of a replica
	exitInterrupted = 130
)

// settings are what the flags say.
type settings struct {
	duration time.Duration
	replicas int
	seed     uint64
	verbose  bool
	timing   leaderelection.Config
}

func main() {
	var s settings
	s.timing = leaderelection.Config{LeaseDuration: 6 * time.Second, RenewDeadline: 4 * time.Second, RetryPeriod: 500 * time.Millisecond}
	flag.DurationVar(&s.duration, "duration", 10*time.Minute, "how long to do harm")
	flag.IntVar(&s.replicas, "replicas", 0, "how many replicas (0: the seed says it, three to five)")
	flag.Uint64Var(&s.seed, "seed", 0, "of the harm that is done (0: a random one)")
	flag.BoolVar(&s.verbose, "v", false, "tell each thing that is done, and what replicas log")
	flag.DurationVar(&s.timing.LeaseDuration, "lease", s.timing.LeaseDuration, "LeaseDuration")
	flag.DurationVar(&s.timing.RenewDeadline, "deadline", s.timing.RenewDeadline, "RenewDeadline")
	flag.DurationVar(&s.timing.RetryPeriod, "period", s.timing.RetryPeriod, "RetryPeriod")
	var r replica
	flag.StringVar(&r.identity, "replica", "", "run as this replica; for the soak's own use")
	flag.StringVar(&r.namespace, "namespace", "", "where the replica runs; for the soak's own use")
	flag.StringVar(&r.kubeconfig, "kubeconfig", "", "how it gets there; for the soak's own use")
	flag.Parse()

	if r.identity != "" {
		r.timing = s.timing
		os.Exit(runReplica(r))
	}
	if s.seed == 0 {
		s.seed = rand.Uint64() >> 32
	}
	os.Exit(soak(s))
}

func runReplica(r replica) int {
	ctx, stop := spawn.Context()
	defer stop()
	switch err := r.run(ctx); {
	case errors.Is(err, leaderelection.ErrWorkStillRunning):
		return exitWorkTooSlow
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// soak runs it all and returns the exit status. Nothing that it started is left.
func soak(s settings) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	verdict, err := run(ctx, s)
	switch {
	case ctx.Err() != nil:
		fmt.Println("Interrupted; everything is cleaned up.")
		return exitInterrupted
	case err != nil:
		fmt.Fprintln(os.Stderr, "soak:", err)
		return exitNotRun
	}
	fmt.Print(verdict)
	if len(verdict.violations) > 0 {
		return exitViolated
	}
	return 0
}

func run(ctx context.Context, s settings) (v *verdict, err error) {
	rng := rand.New(rand.NewPCG(s.seed, 0))
	if replicas := 3 + rng.IntN(3); s.replicas == 0 {
		s.replicas = replicas
	}
	fmt.Printf("Two API servers, one etcd, %d replicas, harmed for %v; LeaseDuration %v, RenewDeadline %v, RetryPeriod %v; -seed=%d\n",
		s.replicas, s.duration, s.timing.LeaseDuration, s.timing.RenewDeadline, s.timing.RetryPeriod, s.seed)
	c, err := openCluster(ctx)
	defer func() { err = errors.Join(err, c.close()) }()
	if err != nil {
		return nil, err
	}
	d := newDirector(s, c, rng)
	defer d.killAll() // before the cluster closes
	if err := d.play(ctx); err != nil {
		return nil, err
	}
	if err := c.history.complete(ctx); err != nil {
		return nil, err
	}
	return d.judge(), nil
}
