package manager

import (
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"path"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// serviceAccount is the folder in which a pod finds the credentials of its service
// account.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

// An environment determines the default namespace and the default identity. Its
// functions read the environment of the process. Tests replace these functions.
type environment struct {
	getenv     func(string) string
	hostname   func() (string, error)
	readFile   func(string) ([]byte, error)
	kubeconfig func() (*clientcmdapi.Config, error)
}

func processEnvironment() environment {
	return environment{getenv: os.Getenv, hostname: os.Hostname, readFile: os.ReadFile, kubeconfig: loadKubeconfig}
}

// loadKubeconfig loads the kubeconfig file that ctrl.GetConfig uses.
func loadKubeconfig() (*clientcmdapi.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	if f := flag.Lookup("kubeconfig"); f != nil && f.Value.String() != "" {
		rules.ExplicitPath = f.Value.String()
	}
	return rules.Load()
}

// namespace returns the namespace of the Lease. This is the first of these
// values that is set:
//
//   - the parameter configured
//   - the environment variable POD_NAMESPACE
//   - the pod's namespace, but only if cfg is the pod's own client configuration
//   - the namespace of the kubeconfig, but only if the kubeconfig and cfg have the same
//     server
//
// The last two values are used only if they belong to the cluster of the Lease.
func (e environment) namespace(configured string, cfg *rest.Config) (string, error) {
	if configured != "" {
		return configured, nil
	}
	if namespace := e.getenv("POD_NAMESPACE"); namespace != "" {
		return namespace, nil
	}
	if cfg.BearerTokenFile == path.Join(serviceAccount, "token") {
		file := path.Join(serviceAccount, "namespace")
		content, err := e.readFile(file)
		namespace := strings.TrimSpace(string(content))
		if err == nil && namespace == "" {
			err = errors.New(file + " is empty")
		}
		if err != nil {
			return "", fmt.Errorf("manager: unknown namespace of the Lease, set LeaderElectionNamespace or POD_NAMESPACE: %w", err)
		}
		return namespace, nil
	}
	return e.kubeconfigNamespace(cfg)
}

func (e environment) kubeconfigNamespace(cfg *rest.Config) (string, error) {
	const remedy = "manager: unknown namespace of the Lease, set LeaderElectionNamespace or POD_NAMESPACE"
	kubeconfig, err := e.kubeconfig()
	if err != nil {
		return "", fmt.Errorf("%s: %w", remedy, err)
	}
	current := kubeconfig.Contexts[kubeconfig.CurrentContext]
	if current == nil {
		return "", errors.New(remedy + ": not running in a pod, and no kubeconfig found")
	}
	cluster := kubeconfig.Clusters[current.Cluster]
	if cluster == nil || strings.TrimSuffix(cluster.Server, "/") != strings.TrimSuffix(cfg.Host, "/") {
		return "", fmt.Errorf("%s: the kubeconfig's context %q belongs to another cluster than %s", remedy, kubeconfig.CurrentContext, cfg.Host)
	}
	if current.Namespace == "" {
		return "default", nil // kubectl uses the same default
	}
	return current.Namespace, nil
}

// identity returns a new identity: POD_NAME or the hostname, followed by "_" and a
// random suffix. The name of a pod contains no "_", so the part before "_" is exactly
// the pod's name.
func (e environment) identity() (string, error) {
	name := e.getenv("POD_NAME")
	if name == "" {
		var err error
		if name, err = e.hostname(); err != nil {
			return "", fmt.Errorf("manager: unknown identity, set POD_NAME or use WithIdentity: %w", err)
		}
	}
	return name + "_" + strings.ToLower(rand.Text()[:10]), nil
}
