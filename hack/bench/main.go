// Command bench measures leader election on a real control plane. It compares
// client-go, the manager of controller-runtime, the Elector of this library, and the
// manager of this library. It also measures the limit, which is the shortest possible
// handover. In some measurements, each replica is a separate process.
//
// bench prints a table of the results. It also writes the results and the plots into
// the folder that the flag -out names. The flag -only selects some of the measurements.
// With -only, bench writes files only if -out is set. The exit status is 1 if a
// measurement failed. A missed target does not change the exit status. The measured
// times depend on the machine. Do not compare times between machines, compare only
// ratios.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

func main() {
	lab.RunReplica(runReplica)
	only := flag.String("only", "", "measure only these parts, separated by commas: "+strings.Join(names(), ", "))
	rounds := flag.Int("rounds", 30, "number of handovers of each implementation")
	out := flag.String("out", "hack/bench/results", "where a run of all parts writes its results; with -only, nothing is written without this flag")
	flag.Parse()

	outIsSet := false
	flag.Visit(func(f *flag.Flag) { outIsSet = outIsSet || f.Name == "out" })
	if *only != "" && !outIsSet {
		*out = ""
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *only, *rounds, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// A bench is one run of the benchmark.
type bench struct {
	cluster *lab.Cluster
	report  *report
	rounds  int
	began   time.Time
}

// A part is a measurement that can run without the other parts.
type part struct {
	name    string
	measure func(*bench, context.Context) (figures, error)
	quiet   bool // true if the part may run at the same time as the next part
}

var parts = []part{
	{"handover", (*bench).measureHandover, false},
	{"rollout", (*bench).measureRollout, false},
	{"adopted", (*bench).measureAdopted, false},
	{"crash", (*bench).measureCrash, true},
	{"proof", (*bench).measureProof, true},
	{"requests", (*bench).measureRequests, false},
	{"cpu", (*bench).measureCPU, false},
	{"herd", (*bench).measureHerd, false},
	{"thousand", (*bench).measureThousand, false},
	{"fence", (*bench).measureFence, false},
}

func names() []string {
	var all []string
	for _, p := range parts {
		all = append(all, p.name)
	}
	return all
}

// choose returns the parts whose names are in the comma-separated list. If the list is
// empty, choose returns all parts.
func choose(list string) ([]part, error) {
	if list == "" {
		return parts, nil
	}
	var chosen []part
	for name := range strings.SplitSeq(list, ",") {
		i := slices.Index(names(), strings.TrimSpace(name))
		if i < 0 {
			return nil, fmt.Errorf("invalid -only: there is no part %q, use %s", name, strings.Join(names(), ", "))
		}
		chosen = append(chosen, parts[i])
	}
	return chosen, nil
}

func run(ctx context.Context, only string, rounds int, out string) (err error) {
	chosen, err := choose(only)
	if err != nil {
		return err
	}
	if rounds < 1 {
		return fmt.Errorf("invalid -rounds (%d): it must be at least 1", rounds)
	}
	log.SetLogger(logr.Discard())
	b := &bench{rounds: rounds, began: time.Now()}
	b.progress("starting etcd and kube-apiserver")
	b.cluster, err = startCluster(ctx)
	defer func() { err = errors.Join(err, b.cluster.Close()) }()
	if err != nil {
		return err
	}
	defer time.Sleep(time.Second) // controller-runtime's Managers may need this time to send their last events
	version, err := b.cluster.Clientset.Discovery().ServerVersion()
	if err != nil {
		return err
	}
	b.report = &report{Date: b.began.UTC().Truncate(time.Second), Kubernetes: version.GitVersion, Go: runtime.Version(), CPUs: runtime.NumCPU(), Modules: comparedModules()}
	err = b.measure(ctx, chosen)
	b.progress("done")
	fmt.Print("\n" + b.report.table())
	if err != nil || out == "" {
		return err
	}
	return b.report.write(out)
}

// measure runs the parts one after the other. A part whose field quiet is true runs at
// the same time as the next part. If a part fails, measure still runs the other parts.
func (b *bench) measure(ctx context.Context, chosen []part) error {
	results, errs := make([]figures, len(chosen)), make([]error, len(chosen))
	var group sync.WaitGroup
	for i, p := range chosen {
		group.Go(func() {
			var err error
			if results[i], err = p.measure(b, ctx); err != nil {
				errs[i] = fmt.Errorf("%s: %w", p.name, err)
			}
		})
		if p.quiet && i < len(chosen)-1 {
			continue
		}
		group.Wait()
	}
	b.report.Figures = slices.Concat(results...)
	return errors.Join(errs...)
}

// progress prints a line that begins with the time since the start of the run.
func (b *bench) progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%6.1f s  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}
