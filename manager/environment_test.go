package manager

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// testEnvironment returns an environment with the given variables and files. Its
// kubeconfig has the server https://cluster and the namespace kubeconfigNamespace. If
// kubeconfigNamespace is "-", the kubeconfig is empty.
func testEnvironment(env, files map[string]string, kubeconfigNamespace string) environment {
	kubeconfig := clientcmdapi.NewConfig()
	if kubeconfigNamespace != "-" {
		kubeconfig.CurrentContext = "c"
		kubeconfig.Contexts["c"] = &clientcmdapi.Context{Cluster: "k", Namespace: kubeconfigNamespace}
		kubeconfig.Clusters["k"] = &clientcmdapi.Cluster{Server: "https://cluster"}
	}
	return environment{
		getenv:   func(name string) string { return env[name] },
		hostname: func() (string, error) { return "host", nil },
		readFile: func(name string) ([]byte, error) {
			if content, ok := files[name]; ok {
				return []byte(content), nil
			}
			return nil, fs.ErrNotExist
		},
		kubeconfig: func() (*clientcmdapi.Config, error) { return kubeconfig, nil },
	}
}

func TestEnvironment_NamespaceDefaultsOnlyFromTheSameCluster(t *testing.T) {
	pod := &rest.Config{Host: "https://10.0.0.1:443", BearerTokenFile: serviceAccount + "/token"}
	outside := &rest.Config{Host: "https://cluster/"}
	other := &rest.Config{Host: "https://other"}
	env := map[string]string{"POD_NAMESPACE": "env"}
	files := map[string]string{serviceAccount + "/namespace": "file\n"}
	empty := map[string]string{serviceAccount + "/namespace": "\n"}

	for _, tc := range []struct {
		name, given string
		where       environment
		cfg         *rest.Config
		want        string
		refused     string // a part of the expected error; empty if no error is expected
	}{
		{name: "the option first", given: "option", where: testEnvironment(env, files, "kube"), cfg: pod, want: "option"},
		{name: "then POD_NAMESPACE", where: testEnvironment(env, files, "kube"), cfg: pod, want: "env"},
		{name: "then the pod's", where: testEnvironment(nil, files, "kube"), cfg: pod, want: "file"},
		{name: "not the pod's for another cluster", where: testEnvironment(nil, files, "kube"), cfg: outside, want: "kube"},
		{name: "the kubeconfig's default", where: testEnvironment(nil, nil, ""), cfg: outside, want: "default"},
		{name: "not the kubeconfig's for another cluster", where: testEnvironment(nil, files, "kube"), cfg: other, refused: "another cluster"},
		{name: "a pod without the file", where: testEnvironment(nil, nil, "kube"), cfg: pod, refused: "not exist"},
		{name: "a pod with an empty file", where: testEnvironment(nil, empty, "kube"), cfg: pod, refused: "is empty"},
		{name: "nothing at all", where: testEnvironment(nil, nil, "-"), cfg: outside, refused: "no kubeconfig"},
	} {
		got, err := tc.where.namespace(tc.given, tc.cfg)
		switch {
		case tc.refused == "":
			if err != nil || got != tc.want {
				t.Errorf("%s: %q and %v, want %q", tc.name, got, err, tc.want)
			}
		case err == nil || !strings.Contains(err.Error(), tc.refused) || !strings.Contains(err.Error(), "LeaderElectionNamespace or POD_NAMESPACE"):
			t.Errorf("%s: %q and %v, want an error with %q and a remedy", tc.name, got, err, tc.refused)
		}
	}
}

func TestEnvironment_IdentityIsThePodNameOrTheHostnameWithASuffix(t *testing.T) {
	for want, env := range map[string]map[string]string{"pod-1": {"POD_NAME": "pod-1"}, "host": nil} {
		where := testEnvironment(env, nil, "-")
		first, err := where.identity()
		if err != nil {
			t.Fatal(err)
		}
		second, _ := where.identity()
		name, suffix, _ := strings.Cut(first, "_")
		if name != want || len(suffix) != 10 || first == second {
			t.Errorf("identities %q and %q, want %s_ and a suffix that is new each time", first, second, want)
		}
	}
	where := testEnvironment(nil, nil, "-")
	where.hostname = func() (string, error) { return "", errors.New("no name") }
	if _, err := where.identity(); err == nil || !strings.Contains(err.Error(), "POD_NAME") {
		t.Errorf("without a hostname: %v, want an error with a remedy", err)
	}
}
