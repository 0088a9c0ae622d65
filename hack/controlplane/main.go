// Command controlplane provides the binaries kube-apiserver and etcd. The last line of
// its output is the folder that contains them.
//
// It uses the first of these sources that works:
//
//  1. KUBEBUILDER_ASSETS, if it is set and the folder contains both binaries
//  2. the user's cache folder
//  3. the prebuilt archives that setup-envtest downloads
//  4. a build from Go modules, which takes minutes and needs only a Go module proxy
//
// K8S_VERSION selects another version of Kubernetes.
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
	folder, err := run(ctx)
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

// run returns a folder that contains both binaries. It reads its settings from
// environment variables.
func run(ctx context.Context) (string, error) {
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
