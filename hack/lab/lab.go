// Package lab contains what the demo, the soak and the benchmark have in common. It
// provides a cluster, replicas that run as processes, and a ledger into which the
// leaders write. It also samples IsLeader, searches the results for violations, and
// draws plots. The three programs contain only their own scenarios, faults, candidates
// and reports.
package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// The exit statuses that Run returns, apart from 0.
const (
	ExitViolated    = 1   // a promise was violated
	ExitNotRun      = 2   // the function run returned an error
	ExitInterrupted = 130 // a signal ended the program
)

// ErrCleanup is part of the error that Cluster.Close returns if something could not be
// stopped or deleted.
var ErrCleanup = errors.New("cleaning up")

// Run calls run with a context that ends when the program receives a signal to stop.
// The function run reports whether every promise was kept. If run returns an error, Run
// prints the error. Run returns the exit status of the program.
func Run(name string, run func(ctx context.Context) (kept bool, err error)) (status int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	kept, err := run(ctx)
	switch {
	case ctx.Err() != nil && !errors.Is(err, ErrCleanup):
		fmt.Println("\nInterrupted. Everything was cleaned up.")
		return ExitInterrupted
	case err != nil:
		fmt.Fprintf(os.Stderr, "\n%s: %v\n", name, err)
		return ExitNotRun
	case !kept:
		return ExitViolated
	}
	return 0
}

// Sleep waits for the duration d. If ctx ends earlier, Sleep returns at once with the
// cause of ctx.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Milliseconds returns d in milliseconds, rounded to 1 µs.
func Milliseconds(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond).Microseconds()) / 1000
}
