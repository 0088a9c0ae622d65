// Package lab contains the shared code of the commands demo, soak and bench. It starts
// a cluster and runs replicas as processes. It also checks the work of the leaders for
// violations, and draws plots.
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

// The exit statuses that Run can return, in addition to 0.
const (
	ExitViolated    = 1   // the function that was passed to Run found a violation
	ExitNotRun      = 2   // the function that was passed to Run returned an error
	ExitInterrupted = 130 // a signal ended the program
)

// ErrCleanup means that a cleanup failed. The error that Cluster.Close returns wraps
// ErrCleanup.
var ErrCleanup = errors.New("cleaning up")

// Run calls run and returns the exit status of the program. The signals
// SIGINT, SIGTERM and SIGHUP cancel the context of run. run returns true if
// no promise was broken. If run returns an error, Run prints it.
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

// Sleep waits for the duration d. If ctx is done earlier, Sleep returns
// context.Cause(ctx) immediately.
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
