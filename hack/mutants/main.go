// Command mutants finds missing tests. It puts faults, called mutations, into a copy of
// the code, one at a time. For each mutation it runs the tests that must catch the
// mutation, which means that at least one of these tests must fail. The command prints
// which test caught which mutation.
//
//	go run ./hack/mutants -check         # only check that all mutations fit the code
//	go run ./hack/mutants -only release  # only mutations whose name or place matches "release"
//
// The exit status is 1 if at least one mutation was not caught. The exit status is 2
// after an error, for example if some mutations do not fit the code. The command then
// lists these mutations. For each of them, it prints the code that is most similar to
// the code that the mutation must change.
//
// A mutation of Go code names a folder, a declaration and a [pattern]. Such a mutation
// does not depend on the name of the file or on the names of local variables. A mutation
// of a file without Go code names the file and a string in the file.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	only := flag.String("only", "", "a regular `expression`: only the mutations whose name or place matches")
	check := flag.Bool("check", false, "only check that the mutations fit the code and compile")
	workers := flag.Int("j", runtime.GOMAXPROCS(0), "how many mutations to try at once")
	timeout := flag.Duration("timeout", 4*time.Minute, "how long one go test may take; a mutant gets less if its tests are faster without a mutation")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	survived, err := run(ctx, *only, *check, *workers, *timeout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(2)
	}
	if survived > 0 {
		os.Exit(1)
	}
}

// run tries the mutations whose name or place matches the regular expression in the
// parameter only. It returns the number of mutations that no test caught. If check is
// true, it runs no tests and checks only whether the mutations fit the code.
func run(ctx context.Context, only string, check bool, workers int, timeout time.Duration) (survived int, err error) {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return 0, err
	}
	mutations := slices.DeleteFunc(slices.Concat(elector, fencing, sharding, others), func(m mutation) bool {
		return !wanted.MatchString(m.name) && !wanted.MatchString(m.in)
	})
	mutants, err := applyAll(".", mutations)
	if err != nil {
		return 0, err
	}
	fmt.Printf("%d mutations fit the code\n", len(mutants))
	if check || len(mutants) == 0 {
		return 0, nil
	}
	sandboxes := make([]*sandbox, min(workers, len(mutants)))
	for i := range sandboxes {
		if sandboxes[i], err = newSandbox("."); err != nil {
			return 0, err
		}
		defer sandboxes[i].remove()
	}
	ran, err := checkSound(ctx, sandboxes, mutants, timeout)
	if err != nil {
		return 0, err
	}
	return tryAll(ctx, sandboxes, mutants, func(m mutant) (limit, limitOfAll time.Duration) {
		// Many mutants run forever, so the time of their tests is limited. The limit is
		// long, because slow tests on a busy machine must not count as failures.
		return min(timeout, 30*time.Second+5*ran[m.test.key()]), timeout
	})
}

// applyAll applies all mutations and returns the mutants. It returns an error that lists
// each mutation that does not fit the code.
func applyAll(root string, mutations []mutation) ([]mutant, error) {
	t, err := load(root)
	if err != nil {
		return nil, err
	}
	var mutants []mutant
	problems := map[string]error{} // keyed by the name of the mutation
	for _, m := range mutations {
		if _, twice := problems[m.name]; twice {
			return nil, fmt.Errorf("two mutations have the name %q", m.name)
		}
		made, err := m.apply(t)
		problems[m.name] = errors.Join(err, m.test.exist(t))
		if err == nil {
			mutants = append(mutants, made)
		}
	}
	if err := compileAll(t, mutants, problems); err != nil {
		return nil, err
	}
	var errs []error
	for _, m := range mutations {
		if err := problems[m.name]; err != nil {
			errs = append(errs, fmt.Errorf("\n%s\n  in %s\n%w", m.name, m.in, err))
		}
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("%d of %d mutations do not fit the code:\n%w", len(errs), len(mutations), errors.Join(errs...))
	}
	return mutants, nil
}

func compileAll(t *tree, mutants []mutant, problems map[string]error) error {
	dirs := map[string]bool{}
	for _, m := range mutants {
		if dir, _, isGo := strings.Cut(m.in, ": "); isGo {
			dirs[dir] = true
		}
	}
	if len(dirs) == 0 {
		return nil
	}
	c, err := newCompiler(t, slices.Sorted(maps.Keys(dirs)))
	if err != nil {
		return err
	}
	for i := range mutants {
		if err := c.check(&mutants[i]); err != nil {
			name := mutants[i].name
			problems[name] = errors.Join(problems[name], fmt.Errorf("the mutant does not compile: %w", err))
		}
	}
	return nil
}

// checkSound runs the tests of all mutants on the unchanged code. Tests with the same key
// run in one go test command. checkSound returns the duration of the tests for each key.
// It returns an error if a test fails.
func checkSound(ctx context.Context, sandboxes []*sandbox, mutants []mutant, timeout time.Duration) (map[string]time.Duration, error) {
	together := map[string]tests{} // keyed by tests.key
	for _, m := range mutants {
		key := m.test.key()
		all, more := together[key]
		if !more {
			all = m.test
		} else if !strings.Contains("|"+all.run+"|", "|"+m.test.run+"|") {
			all.run += "|" + m.test.run
		}
		together[key] = all
	}
	keys := slices.Sorted(maps.Keys(together))
	outcomes := make([]outcome, len(keys))
	inEach(sandboxes, len(keys), func(s *sandbox, i int) {
		outcomes[i] = s.test(ctx, together[keys[i]], timeout)
	})
	ran := map[string]time.Duration{}
	errs := []error{ctx.Err()}
	for i, o := range outcomes {
		ran[keys[i]] = o.ran
		if o.err != nil {
			errs = append(errs, fmt.Errorf("without a mutation, %s fails:\n%s", together[keys[i]], o.output))
		}
	}
	return ran, errors.Join(errs...)
}

// tryAll runs the tests of each mutant and prints a table. It returns the number of
// mutants that no test caught. limits returns two time limits for a mutant:
// one for the tests of the mutant, and one for all tests of the package.
func tryAll(ctx context.Context, sandboxes []*sandbox, mutants []mutant,
	limits func(mutant) (limit, limitOfAll time.Duration)) (survived int, err error) {
	outcomes := make([]outcome, len(mutants))
	inEach(sandboxes, len(mutants), func(s *sandbox, i int) {
		limit, limitOfAll := limits(mutants[i])
		outcomes[i] = s.try(ctx, mutants[i], limit, limitOfAll)
		fmt.Fprintf(os.Stderr, "%d of %d: %s (%.1f s)\n", i+1, len(mutants), mutants[i].name, outcomes[i].took.Seconds())
	})
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "mutation\tin\tcaught by\tseconds")
	var errs []error
	for i, m := range mutants {
		by := outcomes[i].failed
		switch {
		case outcomes[i].broken:
			errs = append(errs, fmt.Errorf("%s: the mutant does not compile:\n%s", m.name, outcomes[i].output))
			by = "?"
		case outcomes[i].err == nil:
			survived++
			by = "NO TEST of " + m.test.pkg
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%.1f\n", m.name, m.in, by, outcomes[i].took.Seconds())
	}
	_ = table.Flush()
	fmt.Printf("%d of %d mutations were caught\n", len(mutants)-survived-len(errs), len(mutants))
	return survived, errors.Join(errs...)
}
