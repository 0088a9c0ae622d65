// Command demo demonstrates leader election and injects faults. Three replicas campaign
// for one Lease. Each replica is a process with a Manager that manager.New created. The
// leader appends entries to a ledger, which is a ConfigMap. The demo stops, kills and
// freezes the leader, and it restarts the API server. At the end the demo checks that
// no entry of an earlier term follows an entry of a later term.
//
// By default the demo starts a control plane of its own. On this control plane, a Fence
// also protects the ledger. When a frozen leader wakes, it writes to the ledger without
// a call of IsLeader. The Fence must refuse this write.
//
// With the flag -kubeconfig the demo uses an existing cluster. It creates a namespace
// there and deletes the namespace at the end. It does not restart the API server of
// that cluster.
//
// The demo exits with 1 if it found a violation, for instance two leaders that worked
// at the same time. It exits with 2 if it could not run.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

func main() {
	lab.RunReplica(runReplica)
	kubeconfig := flag.String("kubeconfig", "", "run on this cluster, in a namespace of its own (default: a control plane of its own)")
	svg := flag.String("svg", "", "draw the timeline into this file (default: do not draw it)")
	verbose := flag.Bool("v", false, "show the logs of the replicas")
	flag.Parse()

	os.Exit(lab.Run("demo", func(ctx context.Context) (bool, error) {
		s, err := run(ctx, *kubeconfig, *verbose)
		if err != nil {
			return false, err
		}
		fmt.Printf("\n%s", s)
		if *svg != "" {
			if err := s.draw(*svg); err != nil {
				return false, fmt.Errorf("drawing the timeline: %w", err)
			}
			fmt.Println("The timeline is drawn in", *svg)
		}
		return len(s.violations()) == 0, nil
	}))
}

// run runs the scenario and returns the results. Before run returns, it deletes
// everything that it created.
func run(ctx context.Context, kubeconfig string, verbose bool) (s summary, err error) {
	if kubeconfig == "" {
		fmt.Println("Starting a control plane: etcd and kube-apiserver.")
	} else {
		fmt.Printf("Running on the cluster of %s. Its API server is not restarted.\n", kubeconfig)
	}
	c, err := lab.OpenCluster(ctx, kubeconfig, "incumbent-demo-"+strings.ToLower(rand.Text()[:6]), envtest.Options{APIServerFlags: []string{
		// Without this flag, the API server takes one minute to stop, because it waits
		// until its watches end.
		"--shutdown-watch-termination-grace-period=2s",
	}})
	defer func() { err = errors.Join(err, c.Close()) }()
	if err != nil {
		return summary{}, err
	}
	ledger := ledgerIn(c.Clientset, c.Namespace)
	if err := ledger.Create(ctx, nil); err != nil {
		return summary{}, fmt.Errorf("creating the ledger: %w", err)
	}
	if c.Plane != nil {
		if err := enforceFence(ctx, c); err != nil {
			return summary{}, fmt.Errorf("protecting the ledger with a Fence: %w", err)
		}
	}
	fmt.Printf("Namespace %s; LeaseDuration %v, RenewDeadline %v, RetryPeriod %v.\n\n",
		c.Namespace, timing.LeaseDuration, timing.RenewDeadline, timing.RetryPeriod)

	logs := &lab.LogTail{}
	if verbose {
		logs.To = os.Stderr
	}
	r := newRunner(c, os.Stdout, logs)
	defer r.killAll() // killAll runs before c.Close, because deferred calls run in reverse order
	if err := r.run(ctx, scenario(c.Plane != nil)); err != nil {
		return summary{}, err
	}
	end := time.Now()
	page, err := ledger.Read(ctx)
	if err != nil {
		return summary{}, fmt.Errorf("reading the ledger: %w", err)
	}
	return summary{handovers: r.handovers, frozen: r.frozen, events: r.journal.All(), entries: page.Entries, end: end}, nil
}
