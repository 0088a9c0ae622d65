package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// suites lists the packages whose specs are run.
var suites = []string{"manager", "controller", "builder"}

// A mode is a way to run the suites.
type mode string

const (
	asIs   mode = "as is"  // each spec chooses whether its Manager elects a leader
	forced mode = "forced" // each Manager elects a leader
)

var modes = []mode{asIs, forced}

type settings struct {
	keep, verbose bool
	only          string
}

func main() {
	var s settings
	flag.BoolVar(&s.keep, "keep", false, "keep the temporary folder with the rewritten suites")
	flag.BoolVar(&s.verbose, "v", false, "print the failure of each difference")
	flag.StringVar(&s.only, "only", "", "run only the suite of this package: "+strings.Join(suites, ", "))
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	text, err := run(ctx, s)
	fmt.Print(text)
	if err != nil {
		fmt.Fprintln(os.Stderr, "upstream:", err)
		os.Exit(1)
	}
}

// run runs the suites and returns the report.
func run(ctx context.Context, s settings) (string, error) {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		return "", errors.New("KUBEBUILDER_ASSETS is not set, use make upstream")
	}
	if s.only != "" && !slices.Contains(suites, s.only) {
		return "", fmt.Errorf("-only (%s) must be one of %q", s.only, suites)
	}
	work, err := os.MkdirTemp("", "incumbent-upstream-")
	if err != nil {
		return "", err
	}
	if s.keep {
		fmt.Fprintln(os.Stderr, "the rewritten suites are in", work)
	} else {
		defer func() { _ = os.RemoveAll(work) }()
	}
	b, err := prepare(ctx, work)
	if err != nil {
		return "", err
	}
	var results []result
	for _, suite := range suites {
		if s.only != "" && s.only != suite {
			continue
		}
		binary, err := b.compile(ctx, suite)
		if err != nil {
			return "", err
		}
		for _, m := range modes {
			fmt.Fprintf(os.Stderr, "running the suite of pkg/%s, %s\n", suite, m)
			r, err := b.test(ctx, binary, suite, m)
			if err == nil && r.hasUnexpected() {
				// A spec that depends on the time may fail on a busy machine.
				fmt.Fprintln(os.Stderr, "running it again, because a spec failed unexpectedly")
				again, againErr := b.test(ctx, binary, suite, m)
				r, err = r.and(again), againErr
			}
			if err != nil {
				return "", err
			}
			results = append(results, r)
		}
	}
	return report(b.version, results, s.verbose)
}

// A build is a copy of controller-runtime whose suites use Incumbent.
type build struct {
	work    string // the temporary folder
	source  string // the copy of controller-runtime
	version string
}

// prepare copies controller-runtime to the folder work and rewrites the suites.
func prepare(ctx context.Context, work string) (build, error) {
	b := build{work: work, source: filepath.Join(work, "controller-runtime")}
	var module struct{ Version, Dir string }
	out, err := output(ctx, "go", "list", "-m", "-json", "sigs.k8s.io/controller-runtime")
	if err == nil {
		err = json.Unmarshal(out, &module)
	}
	if err == nil {
		b.version = module.Version
		out, err = output(ctx, "go", "mod", "download", "-json", "sigs.k8s.io/controller-runtime@"+module.Version)
	}
	if err == nil {
		err = json.Unmarshal(out, &module)
	}
	if err != nil {
		return b, err
	}
	if err := os.CopyFS(b.source, os.DirFS(module.Dir)); err != nil {
		return b, err
	}
	for _, suite := range suites {
		if err := b.rewriteSuite(suite); err != nil {
			return b, err
		}
	}
	return b, b.modules(ctx)
}

// rewriteSuite rewrites the test files of a package and adds the files of the folder
// files.
func (b build) rewriteSuite(suite string) error {
	folder := filepath.Join(b.source, "pkg", suite)
	tests, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		return err
	}
	total, name := 0, ""
	for _, file := range tests {
		if strings.HasPrefix(filepath.Base(file), "example") {
			continue // examples contain no specs and are not run
		}
		src, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		rewritten, calls, err := rewrite(file, src)
		if err != nil {
			return err
		}
		if calls == 0 {
			continue
		}
		_, after, _ := strings.Cut(string(src), "\npackage ")
		name, _, _ = strings.Cut(after, "\n")
		total += calls
		if err := replaceFile(file, rewritten); err != nil {
			return err
		}
	}
	if total == 0 {
		return fmt.Errorf("no call of New in the suite of pkg/%s, adapt rewrite.go to this version of controller-runtime", suite)
	}
	return addFiles(folder, suite, name)
}

// modules writes a go.mod that uses the copy of controller-runtime.
func (b build) modules(ctx context.Context) error {
	for _, file := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(b.work, file), content, 0o600); err != nil {
			return err
		}
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		return err
	}
	_, err = output(ctx, "go", "mod", "edit", "-replace=github.com/haproxy-template-ic/incumbent="+root,
		"-replace=sigs.k8s.io/controller-runtime="+b.source, filepath.Join(b.work, "go.mod"))
	return err
}

// compile returns the test binary of a suite.
func (b build) compile(ctx context.Context, suite string) (string, error) {
	binary := filepath.Join(b.work, suite+".test")
	_, err := output(ctx, "go", "test", "-modfile="+filepath.Join(b.work, "go.mod"), "-c", "-o", binary, path.Join("sigs.k8s.io/controller-runtime/pkg", suite))
	return binary, err
}

// test runs the test binary of a suite. A failure of a spec is not an error.
func (b build) test(ctx context.Context, binary, suite string, m mode) (result, error) {
	file := filepath.Join(b.work, suite+".json")
	if err := os.RemoveAll(file); err != nil {
		return result{}, err
	}
	command := exec.CommandContext(ctx, binary, "-test.timeout=0", "-ginkgo.timeout=30m", "-ginkgo.json-report="+file)
	command.Dir = filepath.Join(b.source, "pkg", suite)
	command.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(b.work, "no-kubeconfig"), "HOME="+b.work)
	if m == forced {
		command.Env = append(command.Env, "INCUMBENT_FORCED=1")
	}
	log, runErr := command.CombinedOutput()
	if err := ctx.Err(); err != nil {
		return result{}, err
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return result{}, fmt.Errorf("the suite of pkg/%s wrote no report: %w\n%s", suite, runErr, log)
	}
	return parse(content, suite, m)
}

func output(ctx context.Context, name string, args ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, name, args...)
	var problems strings.Builder
	command.Stderr = &problems
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, problems.String())
	}
	return out, nil
}
