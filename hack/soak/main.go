// Command soak runs replicas for a long time and injects faults. It stops, kills and
// freezes replicas, and it cuts or slows down their networks. It also kills and
// restarts the two API servers and etcd, one at a time.
//
// The leader continuously writes entries into two ledgers. A ledger is a ConfigMap that
// contains one entry. Each write replaces the entry without a check. The API servers
// guard one of the two ledgers with a policy. The policy refuses an entry whose term is
// earlier than the stored term. At the end the soak reads all versions of both ledgers
// from etcd, including versions that were replaced. Then it reports whether two
// replicas worked at the same time.
//
// Each replica is a process and reaches the API servers through a TCP proxy of its own.
// The README in this folder describes how the soak evaluates the ledgers.
//
// The soak exits with 1 if two leaders worked at the same time or another promise was
// violated. It exits with 2 if it could not run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// options are the values of the command-line flags.
type options struct {
	duration time.Duration
	replicas int
	seed     uint64
	verbose  bool
	timing   lab.Timing
}

func main() {
	lab.RunReplica(runReplica)
	o := options{timing: lab.Timing{LeaseDuration: 6 * time.Second, RenewDeadline: 4 * time.Second, RetryPeriod: 500 * time.Millisecond}}
	flag.DurationVar(&o.duration, "duration", 10*time.Minute, "how long to inject faults")
	flag.IntVar(&o.replicas, "replicas", 0, "number of replicas (0: three to five, depending on the seed)")
	flag.Uint64Var(&o.seed, "seed", 0, "seed of the faults (0: random)")
	flag.BoolVar(&o.verbose, "v", false, "print each fault and the logs of the replicas")
	flag.DurationVar(&o.timing.LeaseDuration, "lease", o.timing.LeaseDuration, "LeaseDuration")
	flag.DurationVar(&o.timing.RenewDeadline, "deadline", o.timing.RenewDeadline, "RenewDeadline")
	flag.DurationVar(&o.timing.RetryPeriod, "period", o.timing.RetryPeriod, "RetryPeriod")
	flag.Parse()

	if o.seed == 0 {
		o.seed = rand.Uint64() >> 32
	}
	os.Exit(lab.Run("soak", func(ctx context.Context) (bool, error) {
		r, err := run(ctx, o)
		if err != nil {
			return false, err
		}
		fmt.Print(r)
		return len(r.violations) == 0, nil
	}))
}

// run runs the soak and returns the report. All processes of the replicas have exited
// when run returns.
func run(ctx context.Context, o options) (rep *report, err error) {
	rng := rand.New(rand.NewPCG(o.seed, 0))
	if replicas := 3 + rng.IntN(3); o.replicas == 0 {
		o.replicas = replicas
	}
	fmt.Printf("Two API servers, one etcd, %d replicas, faults for %v; LeaseDuration %v, RenewDeadline %v, RetryPeriod %v; -seed=%d\n",
		o.replicas, o.duration, o.timing.LeaseDuration, o.timing.RenewDeadline, o.timing.RetryPeriod, o.seed)
	c, err := openCluster(ctx)
	defer func() { err = errors.Join(err, c.Close()) }()
	if err != nil {
		return nil, err
	}
	r := newRunner(o, c, rng)
	defer r.killAll() // killAll runs before c.Close, because deferred calls run in reverse order
	if err := r.run(ctx); err != nil {
		return nil, err
	}
	if err := c.history.Complete(ctx); err != nil {
		return nil, err
	}
	return r.judge(), nil
}
