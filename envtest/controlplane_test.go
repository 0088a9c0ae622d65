package envtest_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/haproxy-template-ic/incumbent/envtest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// token creates the service account "robot" and returns a token for this
// service account.
func token(t *testing.T, client kubernetes.Interface, namespace string) string {
	t.Helper()
	_, err := client.CoreV1().ServiceAccounts(namespace).Create(t.Context(),
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}, metav1.CreateOptions{})
	must(t, err)
	request, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), "robot",
		&authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	must(t, err)
	return request.Status.Token
}

func review(t *testing.T, client kubernetes.Interface, token string) authenticationv1.TokenReviewStatus {
	t.Helper()
	answer, err := client.AuthenticationV1().TokenReviews().Create(t.Context(),
		&authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	must(t, err)
	return answer.Status
}

func TestControlPlane_APIServersAreOneClusterBeforeAndAfterARestart(t *testing.T) {
	cp := exclusive.alone(t)
	namespace := cp.Namespace(t)
	first, second := cp.Client("first"), cp.Client("second", envtest.OnAPIServer(1))
	robot := token(t, first.Clientset(), namespace)
	for _, restart := range []struct {
		name string
		stop func() error
	}{{"stopped", cp.APIServer(0).Stop}, {"killed", cp.APIServer(0).Kill}} {
		must(t, restart.stop())
		if cp.APIServer(0).Running() {
			t.Errorf("%s, but Running is true", restart.name)
		}
		_, err := first.Clientset().CoreV1().ConfigMaps(namespace).Create(t.Context(), configMap(restart.name), metav1.CreateOptions{})
		if err == nil {
			t.Errorf("the API server that was %s accepted a write", restart.name)
		}
		_, err = second.Clientset().CoreV1().ConfigMaps(namespace).Create(t.Context(), configMap(restart.name), metav1.CreateOptions{})
		must(t, err)
		must(t, cp.APIServer(0).Start())
		_, err = first.Clientset().CoreV1().ConfigMaps(namespace).Get(t.Context(), restart.name, metav1.GetOptions{})
		must(t, err)
		for _, client := range []*envtest.Client{first, second} {
			if got := review(t, client.Clientset(), robot); !got.Authenticated {
				t.Errorf("%s client: the token is not valid: %s", client.Name(), got.Error)
			}
		}
	}
}

func TestControlPlane_EtcdKeepsItsData(t *testing.T) {
	cp := exclusive.alone(t)
	namespace := cp.Namespace(t)
	maps := cp.Admin().Clientset().CoreV1().ConfigMaps(namespace)
	_, err := maps.Create(t.Context(), configMap("kept"), metav1.CreateOptions{})
	must(t, err)
	for _, stop := range []func() error{cp.Etcd().Stop, cp.Etcd().Kill} {
		must(t, stop())
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if _, err := maps.Create(ctx, configMap("lost"), metav1.CreateOptions{}); err == nil {
			t.Error("the API server accepted a write without etcd")
		}
		cancel()
		must(t, cp.Etcd().Start())
		eventually(t, func(ctx context.Context) error {
			_, err := maps.Get(ctx, "kept", metav1.GetOptions{})
			return err
		})
	}
}

// eventually calls f until f succeeds. The test fails if f does not succeed
// within one minute. Tests call eventually after a restart of etcd, because the
// API server needs some time to reconnect.
func eventually(t *testing.T, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var before error
	attempts := 1
	for err := f(ctx); err != nil; err = f(ctx) {
		if ctx.Err() != nil {
			t.Fatalf("failed for a minute, in %d attempts: %v; the attempt before: %v", attempts, err, before)
		}
		before = err
		attempts++
		time.Sleep(10 * time.Millisecond)
	}
}

func TestControlPlane_RestoreAssignsResourceVersionsAgain(t *testing.T) {
	cp := exclusive.alone(t)
	namespace := cp.Namespace(t)
	maps := cp.Admin().Clientset().CoreV1().ConfigMaps(namespace)
	before, err := maps.Create(t.Context(), configMap("before"), metav1.CreateOptions{})
	must(t, err)
	restore, err := cp.Backup()
	must(t, err)
	var after *corev1.ConfigMap
	// The test makes 200 writes before the restore. The API servers make fewer
	// writes when they start again. Therefore the resourceVersions are lower
	// after the restore than before.
	for i := range 200 {
		after, err = maps.Create(t.Context(), configMap("after-"+strconv.Itoa(i)), metav1.CreateOptions{})
		must(t, err)
	}

	must(t, restore())
	got, err := maps.Get(t.Context(), "before", metav1.GetOptions{})
	must(t, err)
	if got.ResourceVersion != before.ResourceVersion || got.UID != before.UID {
		t.Errorf("an object of the backup has changed: resourceVersion %s, was %s", got.ResourceVersion, before.ResourceVersion)
	}
	if _, err := maps.Get(t.Context(), after.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("an object that is not in the backup: %v, want not found", err)
	}
	list, err := maps.List(t.Context(), metav1.ListOptions{})
	must(t, err)
	if !less(t, list.ResourceVersion, after.ResourceVersion) {
		t.Errorf("the resourceVersion is %s, was %s before the restore", list.ResourceVersion, after.ResourceVersion)
	}
}

func TestControlPlane_UserHasTheRightsOfItsRules(t *testing.T) {
	t.Parallel()
	cp := shared.get(t)
	namespace := cp.Namespace(t)
	reader := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get"}}
	for _, test := range []struct {
		name      string
		user      envtest.ClientOption
		get, list bool
	}{
		{"reader", envtest.AsUser(cp.User(t, "reader", namespace, reader)), true, false},
		{"nobody", envtest.AsUser(cp.User(t, "nobody", namespace)), false, false},
		{"root", envtest.AsUser("root", "system:masters"), true, true},
	} {
		client := cp.Client("test", test.user)
		_, err := client.Clientset().CoreV1().ConfigMaps(namespace).Get(t.Context(), "x", metav1.GetOptions{})
		if got := !apierrors.IsForbidden(err); got != test.get {
			t.Errorf("%s: get: %v", test.name, err)
		}
		_, err = client.Clientset().CoreV1().ConfigMaps(namespace).List(t.Context(), metav1.ListOptions{})
		if got := !apierrors.IsForbidden(err); got != test.list {
			t.Errorf("%s: list: %v", test.name, err)
		}
	}
}

func TestControlPlane_KubeconfigWorksForOtherPrograms(t *testing.T) {
	t.Parallel()
	cp := shared.get(t)
	kubeconfig, err := cp.Client("other").Kubeconfig()
	must(t, err)
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	must(t, err)
	client, err := kubernetes.NewForConfig(config)
	must(t, err)
	_, err = client.CoreV1().Namespaces().Get(t.Context(), "default", metav1.GetOptions{})
	must(t, err)
}

func TestControlPlane_StartWithoutBinariesNamesTheRemedy(t *testing.T) {
	for assets, remedy := range map[string]string{"": "make controlplane", "/nowhere": "unset KUBEBUILDER_ASSETS"} {
		t.Setenv("KUBEBUILDER_ASSETS", assets)
		t.Setenv("K8S_VERSION", "0.0.0")
		_, err := envtest.Start(envtest.Options{})
		if err == nil || !strings.Contains(err.Error(), remedy) {
			t.Errorf("KUBEBUILDER_ASSETS=%q: got %v, want the remedy %q", assets, err, remedy)
		}
	}
}

func TestControlPlane_StartReturnsTheOutputOfAFailedProcess(t *testing.T) {
	assets := t.TempDir()
	for name, script := range map[string]string{"etcd": "#!/bin/sh\necho no room left\nexit 3\n", "kube-apiserver": ""} {
		must(t, os.WriteFile(filepath.Join(assets, name), []byte(script), 0o700))
	}
	t.Setenv("KUBEBUILDER_ASSETS", assets)
	_, err := envtest.Start(envtest.Options{})
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no room left") {
		t.Errorf("got %v", err)
	}
}

func TestControlPlane_StartRefusesBadOptions(t *testing.T) {
	for _, options := range []envtest.Options{{APIServers: -1}, {StartTimeout: -1}} {
		if _, err := envtest.Start(options); err == nil || !strings.Contains(err.Error(), "must not be negative") {
			t.Errorf("%+v: got %v", options, err)
		}
	}
}
