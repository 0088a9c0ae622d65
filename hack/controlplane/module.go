package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// goMod contains the fields of the output of "go mod edit -json" that this command uses.
type goMod struct {
	Go      string
	Require []struct{ Path, Version string }
	Replace []struct {
		Old, New struct{ Path, Version string }
	}
}

// deriveModule writes a go.mod to the folder dir. With this file, the go command can
// build kube-apiserver in the version v. The go.mod of Kubernetes replaces some modules,
// such as k8s.io/api, by folders of the Kubernetes repository. The new go.mod replaces
// these modules by their published versions.
func deriveModule(ctx context.Context, dir string, v version) error {
	out, err := goCommand(ctx, "", "mod", "download", "-json", "k8s.io/kubernetes@"+v.module())
	if err != nil {
		return err
	}
	var download struct{ GoMod string }
	if err := json.Unmarshal(out, &download); err != nil {
		return fmt.Errorf("go mod download: %w", err)
	}
	kubernetes, err := readGoMod(ctx, download.GoMod)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "go.mod"), []byte(kubernetes.derive(v)), 0o644)
}

// derive returns the text of the go.mod for a build of kube-apiserver in the version v.
func (m *goMod) derive(v version) string {
	var b strings.Builder
	fmt.Fprintf(&b, "module apiserver\n\ngo %s\n\ntool %s\n\nrequire k8s.io/kubernetes %s\n", m.Go, apiserverPackage, v.module())
	for _, r := range m.Replace {
		if strings.HasPrefix(r.New.Path, "./staging/") {
			fmt.Fprintf(&b, "\nreplace %s => %s %s", r.Old.Path, r.Old.Path, v.staging())
		}
	}
	return b.String() + "\n"
}

func readGoMod(ctx context.Context, path string) (*goMod, error) {
	out, err := goCommand(ctx, "", "mod", "edit", "-json", path)
	if err != nil {
		return nil, err
	}
	m := &goMod{}
	if err := json.Unmarshal(out, m); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// goCommand runs the go command in the folder dir and returns its output.
func goCommand(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	var stderr strings.Builder
	cmd.Dir, cmd.Stderr = dir, &stderr
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	out, err := cmd.Output()
	if err != nil {
		// With the flag -json, the go command writes the reason for a failure to standard
		// output.
		return nil, fmt.Errorf("go %s: %w\n%s%s", strings.Join(args, " "), err, stderr.String(), out)
	}
	return out, nil
}
