package main

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// A sandbox is a folder with a copy of the code. The command applies mutations to this
// copy.
type sandbox struct{ dir string }

func newSandbox(root string) (*sandbox, error) {
	dir, err := os.MkdirTemp("", "incumbent-mutants-")
	if err != nil {
		return nil, err
	}
	s := &sandbox{dir}
	err = walk(root, func(relative string, d fs.DirEntry) error {
		target := filepath.Join(dir, relative)
		if d.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		whole, err := os.ReadFile(filepath.Join(root, relative))
		if err != nil {
			return err
		}
		return os.WriteFile(target, whole, 0o644)
	})
	if err != nil {
		s.remove()
		return nil, err
	}
	return s, nil
}

func (s *sandbox) remove() { _ = os.RemoveAll(s.dir) }

// An outcome is the result of one run of go test.
type outcome struct {
	err    error // nil if the tests passed
	output string
	broken bool          // the code did not compile
	failed string        // the test that failed
	took   time.Duration // the duration of go test, including compilation
	ran    time.Duration // the duration of the tests without compilation; valid only if the tests passed
}

var (
	failedTest = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)
	ranFor     = regexp.MustCompile(`(?m)^ok\s+\S+\s+([0-9.]+s)`)
)

// test runs the tests t in the sandbox. limit is the time limit of this
// run.
func (s *sandbox) test(ctx context.Context, t tests, limit time.Duration) outcome {
	began := time.Now()
	args := append([]string{"test", "-failfast", "-vet=off", "-timeout", limit.String()}, t.args()...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = s.dir
	output, err := cmd.CombinedOutput()
	o := outcome{err: err, output: string(output), took: time.Since(began)}
	for _, ran := range ranFor.FindAllStringSubmatch(o.output, -1) {
		d, _ := time.ParseDuration(ran[1])
		o.ran += d
	}
	o.broken = strings.Contains(o.output, "[build failed]") || strings.Contains(o.output, "[setup failed]")
	names := failedTest.FindAllStringSubmatch(o.output, -1)
	switch {
	case len(names) > 0:
		o.failed = names[len(names)-1][1] // the name of the innermost subtest
	case strings.Contains(o.output, "panic: test timed out"):
		o.failed = "the time limit: the tests did not end"
	default:
		o.failed = "the test binary: it panicked or left goroutines"
	}
	return o
}

// try writes the mutant m to the sandbox and runs the tests in m.test. If these tests
// pass, it runs all tests of the same package. The parameters limit and limitOfAll are
// the time limits of the two runs. At the end, try restores the file.
func (s *sandbox) try(ctx context.Context, m mutant, limit, limitOfAll time.Duration) outcome {
	began, file := time.Now(), filepath.Join(s.dir, m.file)
	if err := os.WriteFile(file, m.code, 0o644); err != nil {
		return outcome{broken: true, output: err.Error()}
	}
	defer func() { _ = os.WriteFile(file, m.before, 0o644) }()
	o := s.test(ctx, m.test, limit)
	if o.err == nil && len(m.test.args()) > 1 {
		o = s.test(ctx, tests{pkg: m.test.pkg}, limitOfAll)
	}
	o.took = time.Since(began)
	return o
}

// inEach calls do(s, i) once for each i from 0 to n-1, where s is one of the sandboxes.
// The calls for different sandboxes run in parallel. The calls for the same sandbox run
// one after the other.
func inEach(sandboxes []*sandbox, n int, do func(s *sandbox, i int)) {
	next := make(chan int)
	var all sync.WaitGroup
	for _, s := range sandboxes {
		all.Go(func() {
			for i := range next {
				do(s, i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	all.Wait()
}
