package manager

import (
	"cmp"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
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

// namespace returns the namespace of the Lease. This is the first of these values that
// exists:
//
//   - the parameter configured
//   - in a pod: the pod's namespace, whatever cfg is. controller-runtime makes the same
//     choice, so replicas with controller-runtime use the same Lease.
//   - elsewhere: the namespace of the kubeconfig's context from which cfg was made
//
// POD_NAMESPACE is not used. controller-runtime does not use it, and it may have another
// meaning in the program.
func (e environment) namespace(configured string, cfg *rest.Config) (string, error) {
	if configured != "" {
		return configured, nil
	}
	const file = serviceAccount + "/namespace"
	content, err := e.readFile(file)
	namespace := strings.TrimSpace(string(content))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		namespace, err = e.kubeconfigNamespace(cfg)
	case err == nil && namespace == "":
		err = errors.New(file + " is empty")
	}
	if err != nil {
		return "", fmt.Errorf("manager: unknown namespace of the Lease: %w, set LeaderElectionNamespace (with NewElector: LeaseNamespace)", err)
	}
	return namespace, nil
}

// kubeconfigNamespace returns the namespace of the context from which cfg was made. It
// returns an error if cfg may come from contexts with different namespaces.
func (e environment) kubeconfigNamespace(cfg *rest.Config) (string, error) {
	kubeconfig, err := e.kubeconfig()
	if err != nil {
		return "", err
	}
	if len(kubeconfig.Contexts) == 0 {
		return "", errors.New("not running in a pod, and no kubeconfig found")
	}
	var namespaces, candidates []string
	for _, name := range slices.Sorted(maps.Keys(kubeconfig.Contexts)) {
		context := clientcmd.NewNonInteractiveClientConfig(*kubeconfig, name, &clientcmd.ConfigOverrides{}, nil)
		made, err := context.ClientConfig()
		if err != nil || !sameAccess(made, cfg) {
			continue
		}
		namespace, _, err := context.Namespace()
		if err != nil {
			return "", err
		}
		candidates = append(candidates, fmt.Sprintf("context %q with namespace %q", name, namespace))
		if !slices.Contains(namespaces, namespace) {
			namespaces = append(namespaces, namespace)
		}
	}
	switch len(namespaces) {
	case 0:
		return "", fmt.Errorf("no context of the kubeconfig has the server, the CA and the credentials of the client configuration for %s", cfg.Host)
	case 1:
		return namespaces[0], nil
	default:
		return "", fmt.Errorf("the client configuration for %s may come from %s", cfg.Host, strings.Join(candidates, " or "))
	}
}

// sameAccess reports whether the client configurations a and b reach the same server with
// the same credentials. It returns false if that is not certain.
func sameAccess(a, b *rest.Config) bool {
	own := a.Transport != nil || a.Dial != nil || b.Transport != nil || b.Dial != nil // may connect to any server
	accessA, errA := accessOf(a)
	accessB, errB := accessOf(b)
	return !own && errA == nil && errB == nil && apiequality.Semantic.DeepEqual(accessA, accessB)
}

// An access is the part of a client configuration that determines the server and the
// user. The fields are exported because DeepEqual requires it.
type access struct {
	Host, Proxy        string
	Username, Password string
	Token              string // the token, or the file that contains it
	TLS                rest.TLSClientConfig
	Impersonate        rest.ImpersonationConfig
	Exec               clientcmdapi.ExecConfig
	AuthProvider       clientcmdapi.AuthProviderConfig
}

func accessOf(cfg *rest.Config) (access, error) {
	a := access{
		Host: strings.TrimSuffix(cfg.Host, "/"), Username: cfg.Username, Password: cfg.Password,
		Token: cmp.Or(cfg.BearerTokenFile, cfg.BearerToken), Impersonate: cfg.Impersonate,
	}
	tls := rest.Config{TLSClientConfig: cfg.TLSClientConfig}
	if err := rest.LoadTLSFiles(&tls); err != nil {
		return access{}, err
	}
	a.TLS = rest.TLSClientConfig{
		Insecure: tls.Insecure, ServerName: tls.ServerName, CAData: tls.CAData, CertData: tls.CertData, KeyData: tls.KeyData,
	}
	if exec := cfg.ExecProvider; exec != nil {
		a.Exec = clientcmdapi.ExecConfig{Command: exec.Command, Args: exec.Args, Env: exec.Env, APIVersion: exec.APIVersion, ProvideClusterInfo: exec.ProvideClusterInfo}
		if exec.ProvideClusterInfo {
			a.Exec.Config = exec.Config
		}
	}
	if cfg.AuthProvider != nil {
		a.AuthProvider = *cfg.AuthProvider
	}
	if cfg.Proxy != nil {
		server, _, err := rest.DefaultServerUrlFor(cfg)
		if err != nil {
			return access{}, err
		}
		proxy, err := cfg.Proxy(&http.Request{URL: server})
		if err != nil {
			return access{}, err
		}
		a.Proxy = fmt.Sprint(proxy)
	}
	return a, nil
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
