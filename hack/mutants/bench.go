package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// fits reports whether the text that is to be replaced stands in the file exactly
// once.
func (m mutant) fits(root string) error {
	text, err := os.ReadFile(filepath.Join(root, m.file))
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	if n := strings.Count(string(text), m.old); n != 1 {
		return fmt.Errorf("%s: this text stands %d times in %s, not once; bring the list up to date:\n%s", m.name, n, m.file, m.old)
	}
	if m.old == m.new {
		return fmt.Errorf("%s: nothing is changed", m.name)
	}
	return nil
}

// A bench is a copy of the code, to break.
type bench struct{ dir string }

func newBench(root string) (*bench, error) {
	dir, err := os.MkdirTemp("", "incumbent-mutants-")
	if err != nil {
		return nil, err
	}
	b := &bench{dir: dir}
	if err := copyModule(dir, root); err != nil {
		b.remove()
		return nil, err
	}
	return b, nil
}

func (b *bench) remove() { _ = os.RemoveAll(b.dir) }

// copyModule copies what belongs to the module in root, without its history and
// without what was built.
func copyModule(to, root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		hidden := strings.HasPrefix(d.Name(), ".") && relative != "."
		switch target := filepath.Join(to, relative); {
		case d.IsDir() && (hidden || relative == "bin"):
			return filepath.SkipDir
		case d.IsDir():
			return os.MkdirAll(target, 0o755)
		case hidden || !d.Type().IsRegular():
			return nil
		default:
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(target, text, 0o644)
		}
	})
}

// An outcome is what go test said.
type outcome struct {
	err     error // nil if it passed
	text    string
	broken  bool   // it did not compile
	noticed string // who failed
}

var failed = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

func (b *bench) test(ctx context.Context, args []string) outcome {
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-failfast", "-vet=off", "-timeout", "4m"}, args...)...)
	cmd.Dir = b.dir
	text, err := cmd.CombinedOutput()
	out := outcome{err: err, text: string(text), noticed: "the test binary: it panicked, hung or left goroutines"}
	out.broken = strings.Contains(out.text, "[build failed]") || strings.Contains(out.text, "[setup failed]")
	if names := failed.FindAllStringSubmatch(out.text, -1); len(names) > 0 {
		out.noticed = names[len(names)-1][1] // the innermost
	}
	return out
}

// try breaks the copy, runs the tests, and mends it.
func (b *bench) try(ctx context.Context, m mutant) outcome {
	file := filepath.Join(b.dir, m.file)
	whole, err := os.ReadFile(file)
	if err != nil {
		return outcome{broken: true, text: err.Error()}
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(whole), m.old, m.new, 1)), 0o644); err != nil {
		return outcome{broken: true, text: err.Error()}
	}
	defer func() { _ = os.WriteFile(file, whole, 0o644) }()
	out := b.test(ctx, m.test)
	if out.err == nil && len(m.test) > 1 {
		out = b.test(ctx, m.test[:1])
	}
	return out
}
