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
)

const tableFile = "hack/docs/compatibility.md"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	pairName := flag.String("pair", "", "run only this pair: "+pairNames()+" (default all but next)")
	serverName := flag.String("server", "", "run only against this API server: "+serverNames()+" (default all)")
	flag.Parse()
	if err := run(ctx, *pairName, *serverName, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "matrix:", err)
		os.Exit(1)
	}
}

// run runs the selected combinations, and writes the table after each one, so that an
// interrupted run keeps its results.
func run(ctx context.Context, pairName, serverName string, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument: %q, use the flags -pair and -server", args[0])
	}
	selected, err := selectPairs(pairName)
	if err != nil {
		return err
	}
	against, err := selectServers(serverName)
	if err != nil {
		return err
	}
	var failed []error
	for _, p := range selected {
		if err := runPair(ctx, p, against); err != nil {
			failed = append(failed, err)
		}
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
	}
	return errors.Join(failed...)
}

// runPair runs the tests of one pair against each of the servers.
func runPair(ctx context.Context, p pair, against []server) error {
	dir, err := os.MkdirTemp("", "matrix-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	modfile, p, err := writeModule(ctx, dir, p)
	if err != nil {
		return fmt.Errorf("pair %s: %w", p.name, err)
	}
	var failed []error
	for _, s := range against {
		assets, err := controlPlane(ctx, s)
		if err != nil {
			return fmt.Errorf("API server %s: %w", s.version, err)
		}
		start := time.Now()
		result, err := test(ctx, modfile, assets, s)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r := row{p.kubernetes, p.controllerRuntime, s.version, s.tests, start.UTC().Format(time.DateOnly), result}
		fmt.Printf("%s in %s\n", r, time.Since(start).Round(time.Second))
		if err != nil {
			failed = append(failed, fmt.Errorf("pair %s, API server %s: %s", p.name, s.version, result))
		}
		if p.name == next {
			continue
		}
		if err := record(tableFile, r); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}
