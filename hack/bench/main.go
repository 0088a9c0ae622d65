// Command bench measures leader election on a real control plane: bare client-go,
// controller-runtime's manager, Incumbent alone and in a manager, side by side,
// and the limit, which is the bare requests of a handover one after the other.
// For rolling updates it starts itself again, once for each replica.
//
// It prints one table. A run of all parts also writes the results and their plots
// into -out. It exits with 1 if it could not measure, not if a target is missed:
// figures depend on the machine, and their ratios are what to look at.
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
)

func main() {
	if text := os.Getenv(ordersVariable); text != "" {
		if err := runReplica(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	only := flag.String("only", "", "measure only these parts, with commas between them: "+strings.Join(names(), ", "))
	rounds := flag.Int("rounds", 30, "how many handovers of each contender")
	out := flag.String("out", "hack/bench/results", "where a run of all parts writes its results; with -only, nothing is written unless this is given")
	flag.Parse()

	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "out" })
	if *only != "" && !given {
		*out = ""
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *only, *rounds, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// A bench is one run.
type bench struct {
	cluster *cluster
	report  *report
	rounds  int
	began   time.Time
}

// A part is what can be measured by itself.
type part struct {
	name    string
	measure func(*bench, context.Context) (figures, error)
	quiet   bool // it may run at the same time as the next one
}

var parts = []part{
	{"handover", (*bench).measureHandover, false},
	{"rollout", (*bench).measureRollout, false},
	{"crash", (*bench).measureCrash, true},
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

// choose returns the parts that only names, all of them if it is empty.
func choose(only string) ([]part, error) {
	if only == "" {
		return parts, nil
	}
	var chosen []part
	for name := range strings.SplitSeq(only, ",") {
		found := false
		for _, p := range parts {
			if p.name == strings.TrimSpace(name) {
				chosen, found = append(chosen, p), true
			}
		}
		if !found {
			return nil, fmt.Errorf("-only: there is no part %q, only %s", name, strings.Join(names(), ", "))
		}
	}
	return chosen, nil
}

func run(ctx context.Context, only string, rounds int, out string) (err error) {
	chosen, err := choose(only)
	if err != nil {
		return err
	}
	if rounds < 1 {
		return fmt.Errorf("-rounds (%d) must be at least 1", rounds)
	}
	log.SetLogger(logr.Discard())
	b := &bench{rounds: rounds, began: time.Now()}
	b.progress("starting etcd and kube-apiserver")
	if b.cluster, err = startCluster(ctx); err != nil {
		return err
	}
	defer func() {
		time.Sleep(time.Second) // the last events of controller-runtime's Managers are on their way
		err = errors.Join(err, b.cluster.plane.Stop())
	}()
	b.report = &report{Date: b.began.UTC().Truncate(time.Second), Kubernetes: b.cluster.version, Go: runtime.Version(), CPUs: runtime.NumCPU()}
	err = b.measure(ctx, chosen)
	b.progress("done")
	fmt.Print("\n" + table(b.report.Figures))
	if err != nil || out == "" {
		return err
	}
	return b.report.write(out)
}

// measure measures the parts, one after the other or side by side. A part that
// fails keeps no other from being measured.
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

// progress tells what is going on, with the time since the beginning.
func (b *bench) progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%6.1f s  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}
