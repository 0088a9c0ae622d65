package manager

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// testEnvironment returns an environment with the given variables and files, and without
// a kubeconfig.
func testEnvironment(env, files map[string]string) environment {
	return environment{
		getenv:   func(name string) string { return env[name] },
		hostname: func() (string, error) { return "host", nil },
		readFile: func(name string) ([]byte, error) {
			if content, ok := files[name]; ok {
				return []byte(content), nil
			}
			return nil, fs.ErrNotExist
		},
		kubeconfig: func() (*clientcmdapi.Config, error) { return clientcmdapi.NewConfig(), nil },
	}
}

// podNamespaceVariable is set in each case, because the namespace of the Lease must not
// depend on it.
var podNamespaceVariable = map[string]string{"POD_NAMESPACE": "watched"}

// In a pod, controller-runtime reads the namespace file and nothing else, see
// getInClusterNamespace in its package leaderelection.
func TestEnvironment_InAPodTheNamespaceIsThatOfThePod(t *testing.T) {
	kubeconfig := kubeconfigOf(t, `{name: x, context: {cluster: one, user: admin, namespace: other}}`)
	in := func(content string) environment {
		e := testEnvironment(podNamespaceVariable, map[string]string{serviceAccount + "/namespace": content})
		e.kubeconfig = func() (*clientcmdapi.Config, error) { return kubeconfig, nil }
		return e
	}
	for name, cfg := range map[string]*rest.Config{
		"the pod's own configuration": {Host: "https://10.0.0.1:443", BearerTokenFile: serviceAccount + "/token"},
		"a projected token":           {Host: "https://10.0.0.1:443", BearerTokenFile: "/var/run/secrets/tokens/api"},
		"a token in memory":           {Host: "https://10.0.0.1:443", BearerToken: "t"},
		"impersonation":               {Host: "https://10.0.0.1:443", BearerToken: "t", Impersonate: rest.ImpersonationConfig{UserName: "u"}},
		"a mounted kubeconfig":        configOf(t, kubeconfig, "x"),
		"another cluster":             {Host: "https://other"},
	} {
		if got, err := in("operators\n").namespace("", cfg); err != nil || got != "operators" {
			t.Errorf("%s: %q and %v, want the pod's namespace", name, got, err)
		}
		if got, err := in("operators").namespace("option", cfg); err != nil || got != "option" {
			t.Errorf("%s: %q and %v, want the option", name, got, err)
		}
		if got, err := in("\n").namespace("", cfg); err == nil || !strings.Contains(err.Error(), "is empty") {
			t.Errorf("%s: %q and %v with an empty file, want an error", name, got, err)
		}
	}
	unreadable := in("")
	unreadable.readFile = func(string) ([]byte, error) { return nil, fs.ErrPermission }
	if got, err := unreadable.namespace("", configOf(t, kubeconfig, "x")); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%q and %v with an unreadable file, want the error", got, err)
	}
}

// kubeconfigOf returns a kubeconfig with the given contexts. Its servers and users differ
// in one field each.
func kubeconfigOf(t *testing.T, contexts ...string) *clientcmdapi.Config {
	t.Helper()
	folder := t.TempDir()
	file := func(name, content string) string {
		name = filepath.Join(folder, name)
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	content := strings.NewReplacer("CA-FILE", file("ca", "ca"), "TOKEN-FILE", file("token", "t"), "CERT", file("cert", "c"), "KEY", file("key", "k")).Replace(`
clusters:
- {name: one, cluster: {server: "https://one"}}
- {name: one-ca, cluster: {server: "https://one", certificate-authority-data: Y2E=}}
- {name: one-ca-file, cluster: {server: "https://one", certificate-authority: CA-FILE}}
- {name: one-other-ca, cluster: {server: "https://one", certificate-authority-data: b3RoZXI=}}
- {name: one-insecure, cluster: {server: "https://one", insecure-skip-tls-verify: true}}
- {name: one-name, cluster: {server: "https://one", tls-server-name: api}}
- {name: one-proxy, cluster: {server: "https://one", proxy-url: "http://proxy"}}
- {name: one-path, cluster: {server: "https://one/k8s/clusters/c-1"}}
- {name: one-audience, cluster: {server: "https://one", extensions: [{name: client.authentication.k8s.io/exec, extension: {audience: a}}]}}
- {name: two, cluster: {server: "https://two"}}
users:
- {name: admin, user: {token: t}}
- {name: also-admin, user: {token: t}}
- {name: other, user: {token: u}}
- {name: token-file, user: {tokenFile: TOKEN-FILE}}
- {name: basic, user: {username: a, password: b}}
- {name: basic-other, user: {username: a, password: c}}
- {name: cert, user: {client-certificate: CERT, client-key: KEY}}
- {name: cert-data, user: {client-certificate-data: Yw==, client-key-data: aw==}}
- {name: cert-other, user: {client-certificate-data: Yw==, client-key-data: b3RoZXI=}}
- {name: exec, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, args: [a], interactiveMode: Never}}}
- {name: exec-other, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, args: [b], interactiveMode: Never}}}
- {name: exec-env, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, args: [a], env: [{name: AWS_PROFILE, value: p}], interactiveMode: Never}}}
- {name: exec-info, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, args: [a], provideClusterInfo: true, interactiveMode: Never}}}
- {name: provider, user: {auth-provider: {name: oidc, config: {client-id: a}}}}
- {name: provider-other, user: {auth-provider: {name: oidc, config: {client-id: b}}}}
- {name: as, user: {token: t, as: alice}}
- {name: as-uid, user: {token: t, as: alice, as-uid: "1"}}
- {name: as-group, user: {token: t, as: alice, as-groups: [g]}}
- {name: as-extra, user: {token: t, as: alice, as-user-extra: {k: [v]}}}
contexts: [` + strings.Join(contexts, ", ") + "]\n")
	config, err := clientcmd.Load([]byte(content))
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// configOf returns the client configuration that clientcmd makes from a context.
func configOf(t *testing.T, kubeconfig *clientcmdapi.Config, context string) *rest.Config {
	t.Helper()
	cfg, err := clientcmd.NewNonInteractiveClientConfig(*kubeconfig.DeepCopy(), context, &clientcmd.ConfigOverrides{}, nil).ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// clusters and users are the names in the kubeconfig of kubeconfigOf. Names in the same
// row mean the same server or the same user.
var (
	clusters = [][]string{{"one"}, {"one-ca", "one-ca-file"}, {"one-other-ca"}, {"one-insecure"}, {"one-name"}, {"one-proxy"}, {"one-path"}, {"two"}}
	users    = [][]string{
		{"admin", "also-admin"}, {"other"}, {"token-file"}, {"basic"}, {"basic-other"}, {"cert", "cert-data"}, {"cert-other"}, {"exec"}, {"exec-other"},
		{"exec-env"}, {"exec-info"}, {"provider"}, {"provider-other"}, {"as"}, {"as-uid"}, {"as-group"}, {"as-extra"},
	}
)

// The kubeconfig has the context a, from which the configuration comes, and the context b
// with another namespace. The current context is b.
func TestEnvironment_OutsideAPodTheNamespaceIsThatOfTheOnlyPossibleContext(t *testing.T) {
	check := func(t *testing.T, aCluster, aUser, bCluster, bUser string, same bool) {
		t.Helper()
		kubeconfig := kubeconfigOf(t,
			fmt.Sprintf("{name: a, context: {cluster: %s, user: %s, namespace: mine}}", aCluster, aUser),
			fmt.Sprintf("{name: b, context: {cluster: %s, user: %s, namespace: other}}", bCluster, bUser))
		kubeconfig.CurrentContext = "b"
		e := testEnvironment(podNamespaceVariable, nil)
		e.kubeconfig = func() (*clientcmdapi.Config, error) { return kubeconfig, nil }
		got, err := e.namespace("", configOf(t, kubeconfig, "a"))
		switch {
		case !same && (err != nil || got != "mine"):
			t.Errorf("%s as %s beside %s as %s: %q and %v, want mine", aCluster, aUser, bCluster, bUser, got, err)
		case same && (err == nil || !mentions(err, `"a"`, `"b"`, `"mine"`, `"other"`, "set LeaderElectionNamespace")):
			t.Errorf("%s as %s beside %s as %s: %q and %v, want an error with both contexts, their namespaces and a remedy", aCluster, aUser, bCluster, bUser, got, err)
		}
	}
	pairs(clusters, func(a, b string, same bool) { check(t, a, "admin", b, "admin", same) })
	pairs(users, func(a, b string, same bool) { check(t, "one", a, "one", b, same) })
	check(t, "one", "exec", "one-audience", "exec", true)
	check(t, "one", "exec-info", "one-audience", "exec-info", false)
}

// pairs calls f for each pair of names. The parameter same is true if both names are in
// the same row.
func pairs(rows [][]string, f func(a, b string, same bool)) {
	for i, first := range rows {
		for j, second := range rows {
			for _, a := range first {
				for _, b := range second {
					f(a, b, i == j)
				}
			}
		}
	}
}

func TestEnvironment_OutsideAPodTheNamespaceIsCertainOrAnError(t *testing.T) {
	const mine = "{name: a, context: {cluster: one, user: admin, namespace: mine}}"
	e := testEnvironment(podNamespaceVariable, nil)
	for _, tc := range []struct {
		name     string
		contexts []string
		change   func(*rest.Config)
		want     string
		refused  string // a part of the expected error; empty if no error is expected
	}{
		{name: "one context", contexts: []string{mine}, want: "mine"},
		{name: "two contexts with the same namespace", contexts: []string{mine, "{name: b, context: {cluster: one, user: also-admin, namespace: mine}}"}, want: "mine"},
		{name: "kubectl's default", contexts: []string{"{name: a, context: {cluster: one, user: admin}}"}, want: "default"},
		{name: "a namespace and kubectl's default", contexts: []string{mine, "{name: b, context: {cluster: one, user: admin}}"}, refused: `"default"`},
		{name: "a broken context beside", contexts: []string{mine, "{name: b, context: {cluster: gone, user: admin, namespace: other}}"}, want: "mine"},
		{name: "limits and names of the client", contexts: []string{mine}, want: "mine", change: func(c *rest.Config) {
			c.QPS, c.Burst, c.UserAgent, c.Timeout, c.Host = -1, 100, "operator", time.Second, c.Host+"/"
		}},
		{name: "another server", contexts: []string{mine}, change: func(c *rest.Config) { c.Host = "https://two" }, refused: "https://two"},
		{name: "another user", contexts: []string{mine}, change: func(c *rest.Config) { c.BearerToken = "u" }, refused: "no context"},
		{name: "impersonation", contexts: []string{mine}, change: func(c *rest.Config) { c.Impersonate.UserName = "alice" }, refused: "no context"},
		{name: "a transport of one's own", contexts: []string{mine}, change: func(c *rest.Config) { c.Transport = http.DefaultTransport }, refused: "no context"},
		{name: "connections of one's own", contexts: []string{mine}, change: func(c *rest.Config) { c.Dial = (&net.Dialer{}).DialContext }, refused: "no context"},
		{name: "a CA file that does not exist", contexts: []string{mine}, change: func(c *rest.Config) { c.CAFile = "/nowhere" }, refused: "no context"},
		{name: "no kubeconfig", contexts: nil, refused: "no kubeconfig"},
	} {
		kubeconfig := kubeconfigOf(t, tc.contexts...)
		e.kubeconfig = func() (*clientcmdapi.Config, error) { return kubeconfig, nil }
		cfg := &rest.Config{Host: "https://one", BearerToken: "t"}
		if tc.change != nil {
			tc.change(cfg)
		}
		got, err := e.namespace("", cfg)
		switch {
		case tc.refused == "":
			if err != nil || got != tc.want {
				t.Errorf("%s: %q and %v, want %q", tc.name, got, err, tc.want)
			}
		case err == nil || !mentions(err, tc.refused, "set LeaderElectionNamespace"):
			t.Errorf("%s: %q and %v, want an error with %q and a remedy", tc.name, got, err, tc.refused)
		}
	}
	e.kubeconfig = func() (*clientcmdapi.Config, error) { return nil, fs.ErrPermission }
	if got, err := e.namespace("", &rest.Config{Host: "https://one"}); !errors.Is(err, fs.ErrPermission) || !mentions(err, "set LeaderElectionNamespace") {
		t.Errorf("%q and %v with an unreadable kubeconfig, want the error and a remedy", got, err)
	}
}

func mentions(err error, parts ...string) bool {
	return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(err.Error(), part) })
}

func TestEnvironment_IdentityIsThePodNameOrTheHostnameWithASuffix(t *testing.T) {
	for want, env := range map[string]map[string]string{"pod-1": {"POD_NAME": "pod-1"}, "host": nil} {
		where := testEnvironment(env, nil)
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
	where := testEnvironment(nil, nil)
	where.hostname = func() (string, error) { return "", errors.New("no name") }
	if _, err := where.identity(); err == nil || !strings.Contains(err.Error(), "POD_NAME") {
		t.Errorf("without a hostname: %v, want an error with a remedy", err)
	}
}
