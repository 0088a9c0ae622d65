package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// stopTime is how long an interrupted test may take to stop its API servers.
const stopTime = 30 * time.Second

// writeModule writes a go.mod and a go.sum with the versions of p into the folder dir. It
// returns the path of the go.mod, and p with the versions of the pair next filled in.
func writeModule(ctx context.Context, dir string, p pair) (string, pair, error) {
	modfile := filepath.Join(dir, "go.mod")
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(name)
		if err != nil {
			return "", p, fmt.Errorf("%w: run the command in the top folder of the repository", err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return "", p, err
		}
	}
	if p.name == next {
		for path, version := range map[string]*string{"k8s.io/client-go": &p.kubernetes, "sigs.k8s.io/controller-runtime": &p.controllerRuntime} {
			versions, err := goOutput(ctx, "list", "-m", "-versions", path)
			if err != nil {
				return "", p, err
			}
			fields := strings.Fields(versions)
			*version = fields[len(fields)-1]
		}
	}
	get := []string{"get", "-modfile=" + modfile, "sigs.k8s.io/controller-runtime@" + p.controllerRuntime}
	for _, path := range []string{"api", "apimachinery", "client-go", "apiextensions-apiserver"} {
		get = append(get, "k8s.io/"+path+"@"+p.kubernetes)
	}
	if _, err := goOutput(ctx, get...); err != nil {
		return "", p, err
	}
	_, err := goOutput(ctx, "mod", "tidy", "-modfile="+modfile)
	return modfile, p, err
}

// controlPlane returns the folder with the API server s. It builds the API server if
// necessary.
func controlPlane(ctx context.Context, s server) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "run", "-C", "hack/controlplane", ".")
	cmd.Env = append(os.Environ(), "K8S_VERSION="+s.version, "KUBEBUILDER_ASSETS=")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}

// test runs the tests of s and returns the result for the table. The result of failed
// tests is not "pass", and err is not nil.
func test(ctx context.Context, modfile, assets string, s server) (result string, err error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-modfile=" + modfile, "-timeout=20m"}, s.arguments...)...)
	cmd.Env = append(os.Environ(), "K8S_VERSION="+s.version, "KUBEBUILDER_ASSETS="+assets)
	cmd.Stdout, cmd.Stderr = io.MultiWriter(os.Stdout, &out), os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = stopTime
	if err := cmd.Run(); err != nil {
		return failure(out.String()), err
	}
	return pass, nil
}

// pass is the result of tests that passed.
const pass = "pass"

var failedTest = regexp.MustCompile(`(?m)^--- FAIL: (\S+)`)

// failure returns the result for the output of go test with failures.
func failure(out string) string {
	var names []string
	for _, m := range failedTest.FindAllStringSubmatch(out, -1) {
		names = append(names, m[1])
	}
	if len(names) == 0 {
		return "fail: the tests do not build or did not start"
	}
	slices.Sort(names)
	return "fail: " + strings.Join(slices.Compact(names), ", ")
}

func goOutput(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", args...).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, exit.Stderr)
	}
	return string(out), err
}
