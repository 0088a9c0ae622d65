// Command demo shows leader election at work, and at being disturbed: three
// replicas, each a process of its own with a Manager made by manager.New in it,
// campaign for one Lease, and whoever leads appends to a ledger. The leader is then
// stopped, killed and frozen, and the API server is restarted. At the end the
// ledger is judged: it must not have an entry of an earlier term after one of a
// later term. On a control plane of its own the ledger is behind a Fence as well, and
// the leader that was frozen tries to write past its elector when it wakes.
//
// It starts a control plane of its own, or uses the cluster that -kubeconfig
// names, in a namespace that it creates and deletes. It exits with 1 if two
// leaders were at work, with 2 if the demonstration could not be given.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/haproxy-template-ic/incumbent/hack/spawn"
)

const (
	exitTwoLeaders  = 1
	exitNotGiven    = 2
	exitInterrupted = 130
)

var errCleanup = errors.New("cleaning up")

func main() {
	kubeconfig := flag.String("kubeconfig", "", "run on this cluster, in a namespace of its own; default: a control plane of its own")
	svg := flag.String("svg", "", "draw the timeline into this file; default: not at all")
	verbose := flag.Bool("v", false, "show what the replicas log")
	identity := flag.String("replica", "", "run as this replica; for the demo's own use")
	namespace := flag.String("namespace", "", "where the replica runs; for the demo's own use")
	fenced := flag.Bool("fenced", false, "the replica is behind a Fence; for the demo's own use")
	flag.Parse()

	if *identity != "" {
		if err := runReplica(*identity, *namespace, *kubeconfig, *fenced); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(demonstrate(*kubeconfig, *svg, *verbose))
}

// demonstrate gives the demonstration and returns the exit status. Nothing that
// it started is left when it returns.
func demonstrate(kubeconfig, svg string, verbose bool) (status int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	s, err := run(ctx, kubeconfig, verbose)
	switch {
	case ctx.Err() != nil && !errors.Is(err, errCleanup):
		fmt.Println("\nInterrupted; everything is cleaned up.")
		return exitInterrupted
	case err != nil:
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		return exitNotGiven
	}
	fmt.Printf("\n%s", s)
	if err := s.draw(svg); err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo: drawing the timeline:", err)
		return exitNotGiven
	}
	if svg != "" {
		fmt.Println("The timeline is drawn in", svg)
	}
	if len(s.verdict()) > 0 {
		return exitTwoLeaders
	}
	return 0
}

// run plays the scenario and cleans up.
func run(ctx context.Context, kubeconfig string, verbose bool) (s summary, err error) {
	if kubeconfig == "" {
		fmt.Println("Starting a control plane: etcd and kube-apiserver.")
	} else {
		fmt.Printf("Running on the cluster of %s. Its API server is not restarted.\n", kubeconfig)
	}
	c, err := openCluster(ctx, kubeconfig)
	defer func() {
		if failure := c.close(); failure != nil {
			err = errors.Join(err, fmt.Errorf("%w: %w", errCleanup, failure))
		}
	}()
	if err != nil {
		return summary{}, err
	}
	fmt.Printf("Namespace %s; LeaseDuration %v, RenewDeadline %v, RetryPeriod %v.\n\n",
		c.namespace, timing.LeaseDuration, timing.RenewDeadline, timing.RetryPeriod)

	logs := &spawn.Tail{}
	if verbose {
		logs.To = os.Stderr
	}
	d := newDirector(c, os.Stdout, logs)
	defer d.killAll() // before the cluster closes
	if err := d.play(ctx, scenario(c.own != nil)); err != nil {
		return summary{}, err
	}
	end := time.Now()
	p, err := c.ledger().read(ctx)
	if err != nil {
		return summary{}, fmt.Errorf("reading the ledger: %w", err)
	}
	return summary{handovers: d.handovers, frozen: d.frozen, events: d.record.All(), entries: p.entries, end: end}, nil
}
