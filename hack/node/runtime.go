//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// runtimePackages are the Debian packages that contain the container runtime and the
// plugins for the network of the Pods.
var runtimePackages = []string{"containerd", "runc", "containernetworking-plugins"}

// containerRuntime returns the folder into which the runtime's packages are unpacked. If
// the cache does not contain the folder, containerRuntime downloads the packages with
// apt-get and unpacks them with dpkg-deb. It installs nothing, and starts no service.
func containerRuntime(ctx context.Context, cache string, log func(format string, args ...any)) (string, error) {
	folder := filepath.Join(cache, "runtime-"+runtime.GOARCH)
	if _, err := os.Stat(folder); err == nil {
		return folder, nil
	}
	log("downloading %s with apt-get", strings.Join(runtimePackages, ", "))
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	partial, err := os.MkdirTemp(cache, "runtime.partial-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(partial) }()
	if err := download(ctx, partial); err != nil {
		return "", err
	}
	root := filepath.Join(partial, "root")
	packages, err := filepath.Glob(filepath.Join(partial, "*.deb"))
	if err != nil {
		return "", err
	}
	for _, file := range packages {
		if err := execute(ctx, partial, "dpkg-deb", "--extract", file, root); err != nil {
			return "", err
		}
	}
	if err := os.Rename(root, folder); err != nil && !os.IsExist(err) {
		return "", err
	}
	return folder, nil
}

// download downloads the packages to the folder dir. If the machine's package lists do not
// contain the packages, it downloads lists of its own to dir, so that those of the machine
// stay as they are.
func download(ctx context.Context, dir string) error {
	get := append([]string{"download"}, runtimePackages...)
	if execute(ctx, dir, "apt-get", get...) == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Join(dir, "lists", "partial"), 0o755); err != nil {
		return err
	}
	own := []string{"-o", "Dir::State::Lists=" + filepath.Join(dir, "lists"), "-o", "Dir::Cache=" + filepath.Join(dir, "cache")}
	if err := execute(ctx, dir, "apt-get", append(own, "update")...); err != nil {
		return fmt.Errorf("packages %s unavailable, a node needs the apt-get of Debian or Ubuntu: %w", strings.Join(runtimePackages, ", "), err)
	}
	return execute(ctx, dir, "apt-get", append(own, get...)...)
}

// execute runs a command in the folder dir. Its error contains the command's output.
func execute(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
