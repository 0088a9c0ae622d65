package envtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// DefaultVersion is the Kubernetes version that is used if the environment
// variable K8S_VERSION is not set.
const DefaultVersion = "1.37.2"

// ErrNoAssets is returned if [AssetsDir] does not find the binaries.
var ErrNoAssets = errors.New("envtest: kube-apiserver and etcd not found")

// AssetsDir returns the folder with the binaries kube-apiserver and etcd. The
// folder is one of these:
//
//   - $KUBEBUILDER_ASSETS, if this variable is set. Package envtest of
//     controller-runtime uses the same variable.
//   - Otherwise incumbent/controlplane/<version>-<os>-<arch> in the user's
//     cache folder ([os.UserCacheDir]). The version is $K8S_VERSION or
//     [DefaultVersion].
//
// If a binary is missing, the returned error wraps [ErrNoAssets] and describes
// a remedy.
func AssetsDir() (string, error) {
	dir, remedy := os.Getenv("KUBEBUILDER_ASSETS"), "correct or unset KUBEBUILDER_ASSETS"
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("%w: %w; set KUBEBUILDER_ASSETS to their folder", ErrNoAssets, err)
		}
		dir = filepath.Join(cache, "incumbent", "controlplane", version()+"-"+runtime.GOOS+"-"+runtime.GOARCH)
		remedy = "run `make controlplane` in a checkout of github.com/haproxy-template-ic/incumbent, " +
			"or set KUBEBUILDER_ASSETS to what `setup-envtest use " + version() + " -p path` prints"
	}
	for _, name := range []string{"kube-apiserver", "etcd"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err == nil && info.IsDir() {
			err = fmt.Errorf("%s is a folder", filepath.Join(dir, name))
		}
		if err != nil {
			return "", fmt.Errorf("%w: %w; %s", ErrNoAssets, err, remedy)
		}
	}
	return dir, nil
}

func version() string {
	if v := os.Getenv("K8S_VERSION"); v != "" {
		return v
	}
	return DefaultVersion
}
