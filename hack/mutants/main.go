// Command mutants breaks the code on purpose, in a copy of it, one break after the
// other, and runs the tests that should notice. It prints who noticed what. It
// exits with 1 if a break was not noticed: then a test is missing. It exits with 2
// if the list does not fit the code any more.
//
// Each break is an entry in one of the lists beside this file: a file, a text that
// must stand in it exactly once, the text to put there, and the arguments of go
// test. These must pass without the break, and that is tried first. If they pass
// with it, all tests of that package are tried.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
)

// A mutant is one break.
type mutant struct {
	name string   // what is broken, in the words of the promise
	file string   // where
	old  string   // what stands there, once
	new  string   // what is put there instead
	test []string // arguments of go test that should fail then
}

func main() {
	only := flag.String("only", "", "a regular expression: only the breaks whose name or file matches")
	workers := flag.Int("j", runtime.GOMAXPROCS(0), "how many to try at once")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	missed, err := run(ctx, *only, *workers)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(2)
	}
	if missed > 0 {
		os.Exit(1)
	}
}

// run tries the mutants and returns how many nobody noticed.
func run(ctx context.Context, only string, workers int) (missed int, err error) {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return 0, err
	}
	mutants := slices.DeleteFunc(slices.Concat(core, lock, others), func(m mutant) bool {
		return !wanted.MatchString(m.name) && !wanted.MatchString(m.file)
	})
	for _, m := range mutants {
		if err := m.fits("."); err != nil {
			return 0, err
		}
	}
	benches := make([]*bench, min(workers, max(1, len(mutants))))
	for i := range benches {
		benches[i], err = newBench(".")
		if err != nil {
			return 0, err
		}
		defer benches[i].remove()
	}
	if err := checkSound(ctx, benches[0], mutants); err != nil {
		return 0, err
	}
	return tryAll(ctx, benches, mutants)
}

// checkSound makes sure that the tests pass without any break: those of one package
// that are chosen by name all at once.
func checkSound(ctx context.Context, b *bench, mutants []mutant) error {
	var commands [][]string
	names := map[string][]string{} // by package
	for _, m := range mutants {
		switch {
		case len(m.test) == 3 && m.test[1] == "-run":
			names[m.test[0]] = append(names[m.test[0]], m.test[2])
		case !slices.ContainsFunc(commands, func(c []string) bool { return slices.Equal(c, m.test) }):
			commands = append(commands, m.test)
		}
	}
	for pkg, patterns := range names {
		commands = append(commands, []string{pkg, "-run", strings.Join(patterns, "|")})
	}
	for _, command := range commands {
		if out := b.test(ctx, command); out.err != nil {
			return errors.Join(ctx.Err(), fmt.Errorf("without a break, go test %s fails already:\n%s", strings.Join(command, " "), out.text))
		}
	}
	return nil
}

// tryAll tries the mutants, one on each bench at a time, and prints the table.
func tryAll(ctx context.Context, benches []*bench, mutants []mutant) (missed int, err error) {
	results := make([]outcome, len(mutants))
	next := make(chan int)
	var all sync.WaitGroup
	for _, b := range benches {
		all.Go(func() {
			for i := range next {
				results[i] = b.try(ctx, mutants[i])
				fmt.Fprintf(os.Stderr, "%d of %d: %s\n", i+1, len(mutants), mutants[i].name)
			}
		})
	}
	for i := range mutants {
		next <- i
	}
	close(next)
	all.Wait()

	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "break\tin\tnoticed by")
	var errs []error
	for i, m := range mutants {
		by := results[i].noticed
		switch {
		case results[i].broken:
			errs = append(errs, fmt.Errorf("%s: it does not compile:\n%s", m.name, results[i].text))
			by = "?"
		case results[i].err == nil:
			missed++
			by = "NOBODY: go test " + strings.Join(m.test, " ")
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\n", m.name, m.file, by)
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	_ = table.Flush()
	fmt.Printf("%d of %d breaks were noticed\n", len(mutants)-missed-len(errs), len(mutants))
	return missed, errors.Join(errs...)
}
