package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/explain"
	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
)

// kubeconfig writes the file that leads to a control plane.
func kubeconfig(t *testing.T, cp *envtest.ControlPlane) string {
	t.Helper()
	content, err := cp.Admin().Kubeconfig()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRun_OnARealControlPlane(t *testing.T) {
	cp, err := envtest.Start(envtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cp.Stop(); err != nil {
			t.Error(err)
		}
	})
	namespace := cp.Namespace(t)
	config, lease := kubeconfig(t, cp), namespace+"/app"

	if code, text := call(t, "-kubeconfig", config, lease); code != nobodyLeads || !strings.Contains(text, "the Lease is absent") {
		t.Errorf("without a Lease: %d\n%s", code, text)
	}
	cp.Fence(t, fencing.Fence{LeaseNamespace: namespace, LeaseName: "app", ServiceAccount: "operator", Resources: []schema.GroupResource{{Resource: "configmaps"}}})
	cp.ServiceAccount(t, "operator", namespace, rbacv1.PolicyRule{
		APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"create", "update", "get"},
	})

	// From here on it is followed live.
	follow, stop := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	followed := make(chan error, 1)
	go func() {
		_, err := run(follow, []string{"-kubeconfig", config, "-w", "-o", "json", lease}, writer, io.Discard)
		writer.CloseWithError(io.EOF)
		followed <- err
	}()
	answers := json.NewDecoder(reader)
	awaitAnswer(t, answers, func(a explain.Answer) bool { return a.State == explain.Unused })

	end := campaign(t, cp, namespace)
	awaitAnswer(t, answers, func(a explain.Answer) bool { return a.State == explain.Led && a.Leader == "pod-1" && a.Certain })
	code, text := call(t, "-kubeconfig", config, "-wait", "1m", "-service-account", namespace+"/operator", lease)
	if code != somebodyLeads {
		t.Errorf("the code is %d", code)
	}
	for _, want := range []string{
		"Lease      " + namespace + "/app", "pod-1 leads since ", "Writer     package leaderelection", "?  pod-1",
		`watch leases.coordination.k8s.io "app"`, "incumbent-fencing." + namespace + ".app refuses",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it lacks %q:\n%s", want, text)
		}
	}
	end()
	awaitAnswer(t, answers, func(a explain.Answer) bool { return a.State == explain.Free && a.Terms[0].End == "released" })
	stop()
	go func() { _, _ = io.Copy(io.Discard, reader) }()
	if err := <-followed; err != nil {
		t.Errorf("following ended with %v", err)
	}
}

// campaign runs an elector until end.
func campaign(t *testing.T, cp *envtest.ControlPlane, namespace string) (end func()) {
	t.Helper()
	client := cp.Client("pod-1")
	elector, err := leaderelection.New(&leaderelection.Config{
		Enabled: true, Identity: "pod-1", LeaseName: "app", LeaseNamespace: namespace, ReleaseOnCancel: true,
	}, client.Clientset(), leaderelection.Callbacks{OnStartedLeading: func(ctx context.Context) { <-ctx.Done() }}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- elector.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		client.Close()
	}
}

func call(t *testing.T, args ...string) (int, string) {
	t.Helper()
	var out strings.Builder
	code, err := run(t.Context(), args, &out, io.Discard)
	if err != nil {
		t.Errorf("%q: %v", args, err)
	}
	return code, out.String()
}

// awaitAnswer reads answers until one is as wanted. The pipe ends with the test's
// time at the latest.
func awaitAnswer(t *testing.T, answers *json.Decoder, wanted func(explain.Answer) bool) {
	t.Helper()
	for {
		var a explain.Answer
		if err := answers.Decode(&a); err != nil {
			t.Fatal(err)
		}
		if wanted(a) {
			return
		}
	}
}

func TestRun_NamesWhatIsWrong(t *testing.T) {
	for args, want := range map[string]string{
		"": "one Lease", "a b": `"a b"`, "-o yaml a": `-o ("yaml")`, "-kubeconfig " + os.DevNull + "x a": "no such file",
	} {
		if code, err := run(t.Context(), strings.Fields(args), io.Discard, io.Discard); code != cannotTell || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %d, %v, want it to say %q", args, code, err, want)
		}
	}
}
