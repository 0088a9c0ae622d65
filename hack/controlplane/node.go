package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// nodeBinaries are the programs of a node. All of them are links to one binary, which
// chooses the program by the name under which it is called.
var nodeBinaries = []string{"kube-controller-manager", "kube-scheduler", "kubelet", "kubectl"}

// nodeBuild compiles the programs of a node. In the folder module, go.mod and go.sum pin
// the versions of all sources. They are the versions from which kube-apiserver is built.
type nodeBuild struct {
	build
	module string
}

func (b *nodeBuild) fill(ctx context.Context, dir string) error {
	b.log.printf("building the programs of a node %s from Go modules, about six minutes on two cores", b.version)
	const binary = "kubernetes"
	if err := b.compile(ctx, b.module, "-mod=readonly", ".", b.stamp(), filepath.Join(dir, binary)); err != nil {
		return err
	}
	for _, name := range nodeBinaries {
		if err := os.Symlink(binary, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// verifyNode runs kubelet with --version and compares the version with v.
func verifyNode(ctx context.Context, dir string, v version) error {
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "kubelet"), "--version").CombinedOutput()
	if err != nil {
		return fmt.Errorf("kubelet does not run: %w: %s", err, out)
	}
	if want := "Kubernetes " + v.module(); strings.TrimSpace(string(out)) != want {
		return fmt.Errorf("kubelet --version prints %q, want %q", out, want)
	}
	return nil
}
