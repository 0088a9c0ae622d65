package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

const (
	apiserverPackage = "k8s.io/kubernetes/cmd/kube-apiserver"
	etcdPackage      = "go.etcd.io/etcd/server/v3"
	versionPackage   = "k8s.io/component-base/version"
)

// build compiles kube-apiserver and etcd from Go modules. In the folders apiserver and
// etcd, go.mod and go.sum pin the versions of all sources. For a version of Kubernetes
// other than defaultVersion, fill writes a temporary go.mod.
type build struct {
	version         version
	apiserver, etcd string // the folders of the two modules
	log             *progress
}

func (b *build) name() string { return "a build from Go modules" }

func (b *build) fill(ctx context.Context, dir string) error {
	b.log.printf("building kube-apiserver %s and etcd from Go modules, about six minutes on two cores", b.version)
	module, mod := b.apiserver, "-mod=readonly"
	if b.version.String() != defaultVersion {
		module, mod = filepath.Join(dir, "module"), "-mod=mod" // -mod=mod permits go build to create the file go.sum
		defer removeAll(module)
		if err := deriveModule(ctx, module, b.version); err != nil {
			return err
		}
	}
	if err := b.compile(ctx, b.etcd, "-mod=readonly", etcdPackage, "", filepath.Join(dir, etcdBinary)); err != nil {
		return err
	}
	return b.compile(ctx, module, mod, apiserverPackage, b.stamp(), filepath.Join(dir, apiserverBinary))
}

// stamp returns linker flags that set the version of kube-apiserver. Without these flags
// the server reports v0.0.0, which breaks clients that check the version.
func (b *build) stamp() string {
	return strings.Join([]string{
		"-X " + versionPackage + ".gitVersion=" + b.version.module(),
		"-X " + versionPackage + ".gitMajor=" + b.version.major,
		"-X " + versionPackage + ".gitMinor=" + b.version.minor,
	}, " ")
}

// compile builds the program pkg of the Go module in the folder module, and writes it to
// the file output.
func (b *build) compile(ctx context.Context, module, mod, pkg, ldflags, output string) error {
	output, err := filepath.Abs(output)
	if err != nil {
		return err
	}
	name, start := filepath.Base(output), time.Now()
	b.log.printf("compiling %s", name)
	log := &buildLog{}
	stop := b.log.heartbeat(func() string { return name + ": " + log.status() })
	defer stop()
	cmd := exec.CommandContext(ctx, "go", "build", "-v", "-trimpath", "-ldflags", strings.TrimSpace("-s -w "+ldflags), "-o", output, pkg)
	cmd.Dir, cmd.Stdout, cmd.Stderr = module, log, log
	// CGO_ENABLED=0 is set because a build with cgo needs a C compiler. GOFLAGS is set
	// because the user's flags must have no effect.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS="+mod, "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, log.end())
	}
	stop()
	b.log.printf("compiled %s in %s", name, time.Since(start).Round(time.Second))
	return nil
}
