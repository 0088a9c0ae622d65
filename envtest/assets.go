package envtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// DefaultVersion is the Kubernetes version that is started unless K8S_VERSION
// says another.
const DefaultVersion = "1.37.2"

// ErrNoAssets is reported when the binaries are not where AssetsDir looks.
var ErrNoAssets = errors.New("envtest: no kube-apiserver and etcd to start")

// AssetsDir returns the folder that holds the binaries kube-apiserver and etcd:
//
//   - $KUBEBUILDER_ASSETS if that is set, as for controller-runtime's envtest;
//   - else incumbent/controlplane/<version>-<os>-<arch> in the user's cache
//     folder ([os.UserCacheDir]), where version is $K8S_VERSION or
//     [DefaultVersion].
//
// If one of the two is not there, the error is [ErrNoAssets] and says what to do.
func AssetsDir() (string, error) {
	dir, remedy := os.Getenv("KUBEBUILDER_ASSETS"), "correct or unset KUBEBUILDER_ASSETS"
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("%w: %w; set KUBEBUILDER_ASSETS to a folder that holds them", ErrNoAssets, err)
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
