// Package lab is the common part of the demo, the soak and the benchmark: a cluster,
// replicas that are processes, a ledger that the leaders write, a sampler of
// IsLeader, a judge of all that, and plots. The programs themselves have only their
// scenarios, faults, candidates and reports.
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

// The exit statuses of Run.
const (
	ExitViolated    = 1 // a promise was violated
	ExitNotRun      = 2 // the program could not do its work
	ExitInterrupted = 130
)

// ErrCleanup is part of the error of a cleanup that has failed.
var ErrCleanup = errors.New("cleaning up")

// Run calls run with a context that a signal ends, and returns the exit status. The
// function run returns whether every promise was kept.
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

// Sleep waits for a duration. It returns early with the cause when ctx ends.
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

// Milliseconds converts a duration to milliseconds, rounded to the microsecond.
func Milliseconds(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond).Microseconds()) / 1000
}
