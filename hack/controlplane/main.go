// Command controlplane makes sure that a kube-apiserver and an etcd are on
// this machine, and prints the folder that holds them as its last line.
//
// It looks in this order: KUBEBUILDER_ASSETS if that is set and complete; the
// user's cache folder; the prebuilt archives that setup-envtest knows, where
// they can be reached; and if nothing else is left it builds both from Go
// modules, which takes minutes and needs nothing but a Go module proxy.
// K8S_VERSION chooses another version of Kubernetes.
//
// What it does and what it waits for goes to standard error, so that
// KUBEBUILDER_ASSETS=$(make -s controlplane) works. It is run from its own
// folder, beside the modules that pin what it builds.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// defaultVersion is the Kubernetes version that apiserver/go.mod pins.
const defaultVersion = "1.37.2"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	folder, err := run(ctx)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "controlplane: interrupted, nothing half-made is left behind")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "controlplane:", err)
		os.Exit(1)
	}
	fmt.Println(folder)
}

// run reads the environment and leaves the rest to the finder.
func run(ctx context.Context) (string, error) {
	v, err := parseVersion(os.Getenv("K8S_VERSION"))
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache folder: %w", err)
	}
	if _, err := os.Stat(filepath.Join("apiserver", "go.mod")); err != nil {
		return "", errors.New("run it from hack/controlplane, beside the modules it builds (make controlplane does)")
	}
	log := &progress{out: os.Stderr, every: 15 * time.Second}
	f := &finder{
		version: v,
		assets:  os.Getenv("KUBEBUILDER_ASSETS"),
		folder:  filepath.Join(cache, "incumbent", "controlplane", v.String()+"-"+runtime.GOOS+"-"+runtime.GOARCH),
		sources: []source{
			&prebuilt{indexURL: envtestIndex, version: v, module: "setupenvtest", log: log},
			&build{version: v, apiserver: "apiserver", etcd: "etcd", log: log},
		},
		verify: verify,
		log:    log,
	}
	return f.find(ctx)
}
