// Command controlplane provides the binaries kube-apiserver and etcd. The last line of
// its output is the folder that contains them. With the argument node, it provides
// kube-controller-manager, kube-scheduler, kubelet and kubectl instead.
//
// It uses the first of these sources that works:
//
//  1. KUBEBUILDER_ASSETS, if it is set and the folder contains both binaries
//  2. the user's cache folder
//  3. the prebuilt archives that setup-envtest downloads
//  4. a build from Go modules, which takes minutes and needs only a Go module proxy
//
// For the programs of a node, only the second and the last source exist.
//
// K8S_VERSION selects another version of Kubernetes for kube-apiserver.
//
// The command writes its progress to standard error. Therefore KUBEBUILDER_ASSETS=$(make
// -s controlplane) works. Run the command in the folder hack/controlplane, which contains
// the modules that pin the versions of the build.
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
	folder, err := run(ctx, os.Args[1:])
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "controlplane: interrupted, incomplete files are removed")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "controlplane:", err)
		os.Exit(1)
	}
	fmt.Println(folder)
}

// run returns a folder that contains the binaries. It reads its settings from environment
// variables. The only argument is node, for the programs of a node.
func run(ctx context.Context, args []string) (string, error) {
	v, err := parseVersion(os.Getenv("K8S_VERSION"))
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("cache folder unknown: %w", err)
	}
	if _, err := os.Stat(filepath.Join("apiserver", "go.mod")); err != nil {
		return "", errors.New("apiserver/go.mod not found: run the command in hack/controlplane, or use make controlplane")
	}
	log := &progress{out: os.Stderr, every: 15 * time.Second}
	f := &finder{
		version:  v,
		binaries: controlPlaneBinaries,
		assets:   os.Getenv("KUBEBUILDER_ASSETS"),
		folder:   filepath.Join(cache, "incumbent", "controlplane", v.String()+"-"+runtime.GOOS+"-"+runtime.GOARCH),
		sources: []source{
			&prebuilt{indexURL: envtestIndex, version: v, module: "setupenvtest", log: log},
			&build{version: v, apiserver: "apiserver", etcd: "etcd", log: log},
		},
		verify: verify,
		log:    log,
	}
	switch {
	case len(args) == 0:
	case len(args) > 1 || args[0] != "node":
		return "", fmt.Errorf("arguments %q are unknown: give none, or node", args)
	case v.String() != defaultVersion:
		return "", fmt.Errorf("K8S_VERSION (%s) must be %s for the programs of a node", v, defaultVersion)
	default:
		f.binaries, f.assets, f.verify = nodeBinaries, "", verifyNode
		f.folder = filepath.Join(cache, "incumbent", "node", v.String()+"-"+runtime.GOOS+"-"+runtime.GOARCH)
		f.sources = []source{&nodeBuild{build{version: v, log: log}, "node"}}
	}
	return f.find(ctx)
}
