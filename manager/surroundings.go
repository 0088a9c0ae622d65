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

// serviceAccount is the folder that a pod's credentials are mounted into.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

// surroundings is what a process can find out about the place it runs in.
type surroundings struct {
	getenv     func(string) string
	hostname   func() (string, error)
	readFile   func(string) ([]byte, error)
	kubeconfig func() (*clientcmdapi.Config, error)
}

func realSurroundings() surroundings {
	return surroundings{getenv: os.Getenv, hostname: os.Hostname, readFile: os.ReadFile, kubeconfig: loadKubeconfig}
}

// loadKubeconfig loads the file that ctrl.GetConfig would.
func loadKubeconfig() (*clientcmdapi.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	if f := flag.Lookup("kubeconfig"); f != nil && f.Value.String() != "" {
		rules.ExplicitPath = f.Value.String()
	}
	return rules.Load()
}

// namespace finds the namespace of the Lease: the given one, else POD_NAMESPACE,
// else the pod's if cfg is that of a pod, else that of the kubeconfig that cfg
// came from. Each place is asked only if it speaks of the cluster that cfg leads
// to: a developer's process in a pod of one cluster may work on another.
func (s surroundings) namespace(given string, cfg *rest.Config) (string, error) {
	if given != "" {
		return given, nil
	}
	if namespace := s.getenv("POD_NAMESPACE"); namespace != "" {
		return namespace, nil
	}
	if cfg.BearerTokenFile == path.Join(serviceAccount, "token") {
		file := path.Join(serviceAccount, "namespace")
		content, err := s.readFile(file)
		namespace := strings.TrimSpace(string(content))
		if err == nil && namespace == "" {
			err = errors.New(file + " is empty")
		}
		if err != nil {
			return "", fmt.Errorf("manager: the namespace of the Lease is not known: set LeaderElectionNamespace or POD_NAMESPACE: %w", err)
		}
		return namespace, nil
	}
	return s.kubeconfigNamespace(cfg)
}

func (s surroundings) kubeconfigNamespace(cfg *rest.Config) (string, error) {
	const remedy = "manager: the namespace of the Lease is not known: set LeaderElectionNamespace or POD_NAMESPACE"
	kubeconfig, err := s.kubeconfig()
	if err != nil {
		return "", fmt.Errorf("%s: %w", remedy, err)
	}
	current := kubeconfig.Contexts[kubeconfig.CurrentContext]
	if current == nil {
		return "", errors.New(remedy + ": this is no pod, and there is no kubeconfig")
	}
	cluster := kubeconfig.Clusters[current.Cluster]
	if cluster == nil || strings.TrimSuffix(cluster.Server, "/") != strings.TrimSuffix(cfg.Host, "/") {
		return "", fmt.Errorf("%s: the kubeconfig's context %q is for another cluster than %s", remedy, kubeconfig.CurrentContext, cfg.Host)
	}
	if current.Namespace == "" {
		return "default", nil // as for kubectl
	}
	return current.Namespace, nil
}

// identity names this process: POD_NAME, else the hostname, with a suffix that
// is new each time. The "_" between them is illegal in names of pods, so that
// whoever cuts it off is left with exactly the pod's name.
func (s surroundings) identity() (string, error) {
	name := s.getenv("POD_NAME")
	if name == "" {
		var err error
		if name, err = s.hostname(); err != nil {
			return "", fmt.Errorf("manager: no identity: set POD_NAME or use WithIdentity: %w", err)
		}
	}
	return name + "_" + strings.ToLower(rand.Text()[:10]), nil
}
