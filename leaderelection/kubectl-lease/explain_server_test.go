package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
	"github.com/haproxy-template-ic/incumbent/leaderelection/kubectl-lease/internal/explain"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// kubeconfig writes a kubeconfig file for a control plane, and returns the path of the
// file.
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

func TestExplain_OnARealControlPlane(t *testing.T) {
	cp, err := envtest.Start(envtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cp.Stop(); err != nil {
			t.Error(err)
		}
	})
	t.Run("an Elector's Lease", func(t *testing.T) { explainsAnElector(t, cp) })
	t.Run("controller-runtime's Lease", func(t *testing.T) { explainsControllerRuntime(t, cp) })
	t.Run("the namespace is missing", func(t *testing.T) { reportsAMissingNamespace(t, cp) })
	t.Run("contact is lost", func(t *testing.T) { losesContact(t, cp) })
}

func explainsAnElector(t *testing.T, cp *envtest.ControlPlane) {
	namespace := cp.Namespace(t)
	config, lease := kubeconfig(t, cp), namespace+"/app"

	if code, text := explainLease(t, "--kubeconfig", config, lease); code != exitNobody || !strings.Contains(text, "the Lease is absent") {
		t.Errorf("without a Lease: %d\n%s", code, text)
	}
	cp.Fence(t, fencing.Fence{LeaseNamespace: namespace, LeaseName: "app", ServiceAccount: "operator", Resources: []schema.GroupResource{{Resource: "configmaps"}}})
	cp.ServiceAccount(t, "operator", namespace, rbacv1.PolicyRule{
		APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"create", "update", "get"},
	})

	reports, stop := watching(t, cp.Admin().Clientset(), namespace, "app", nil)
	awaitReport(t, reports, func(a explain.Report) bool { return a.State == explain.Unused })
	end := campaign(t, cp, namespace)
	awaitReport(t, reports, func(a explain.Report) bool { return a.State == explain.Led && a.Holder == "pod-1" && a.Certain })
	code, text := explainLease(t, "--kubeconfig", config, lease, "--wait", "1m", "--service-account", namespace+"/operator", "--events")
	if code != exitLeads {
		t.Errorf("the exit code is %d", code)
	}
	for _, want := range []string{
		"Lease      " + namespace + "/app", "pod-1 leads since ", "Writer     package leaderelection", "?  pod-1",
		namespace + "/operator lacks rights to campaign, record events:", `watch leases.coordination.k8s.io "app"`, "patch events",
		"incumbent-fencing." + namespace + ".app refuses the writes of stale leaders that run as " + namespace + "/operator to configmaps",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the text lacks %q:\n%s", want, text)
		}
	}
	_, text = explainLease(t, "--kubeconfig", config, lease, "--service-account", namespace+"/operaotr")
	if !strings.Contains(text, "there is no service account "+namespace+"/operaotr") {
		t.Errorf("a misspelt account is not reported:\n%s", text)
	}
	end()
	a := awaitReport(t, reports, func(a explain.Report) bool { return a.State == explain.Free && a.Terms[0].End == "released" })
	if a.Fences == nil || a.Fences.Time.IsZero() || len(a.Fences.Policies) != 1 {
		t.Errorf("the fences are %+v", a.Fences)
	}
	stop()
}

// explainsControllerRuntime checks that explain works with the Lease of a
// controller-runtime Manager.
func explainsControllerRuntime(t *testing.T, cp *envtest.ControlPlane) {
	namespace := cp.Namespace(t)
	config, lease := kubeconfig(t, cp), namespace+"/controller-runtime"
	client := cp.Client("controller-runtime")
	defer client.Close()
	mgr, err := crmanager.New(client.Config(), crmanager.Options{
		LeaderElection: true, LeaderElectionID: "controller-runtime", LeaderElectionNamespace: namespace, LeaderElectionReleaseOnCancel: true,
		Metrics: metricsserver.Options{BindAddress: "0"}, Logger: logr.Discard(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	select {
	case <-mgr.Elected():
	case err := <-done:
		t.Fatalf("the Manager ended: %v", err)
	}
	code, text := explainLease(t, "--kubeconfig", config, "--wait", "1m", lease)
	if code != exitLeads || !strings.Contains(text, " leads since ") || strings.Contains(text, "by its own clock") ||
		!strings.Contains(text, "Writer     another elector") || !strings.Contains(text, "none found") {
		t.Errorf("while it leads: %d\n%s", code, text)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if code, text = explainLease(t, "--kubeconfig", config, lease); code != exitNobody || !strings.Contains(text, "the Lease is free") {
		t.Errorf("after it has stopped: %d\n%s", code, text)
	}
}

// reportsAMissingNamespace checks that explain reports a namespace that does not exist.
// If the user may not read namespaces, explain must not report the namespace as
// missing.
func reportsAMissingNamespace(t *testing.T, cp *envtest.ControlPlane) {
	code, text := explainLease(t, "--kubeconfig", kubeconfig(t, cp), "-n", "nons", "foo")
	if code != exitNobody || !strings.Contains(text, "Reason     there is no namespace nons: check the name\n") || strings.Contains(text, "Claimable") {
		t.Errorf("%d\n%s", code, text)
	}
	namespace := cp.Namespace(t)
	reader := cp.Client("reader", envtest.AsUser(cp.User(t, "reader", namespace,
		rbacv1.PolicyRule{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"get"}})))
	defer reader.Close()
	reports, stop := watching(t, reader.Clientset(), namespace, "foo", func(error) {})
	defer stop()
	if a := awaitReport(t, reports, func(explain.Report) bool { return true }); a.NamespaceMissing || a.Claim == nil {
		t.Errorf("a user that may not read the namespace gets %+v", a)
	}
}

// losesContact interrupts the connection from explain to the API server, while the
// leader renews the Lease. explain must report that contact is lost. It must not report
// the Lease as expired.
func losesContact(t *testing.T, cp *envtest.ControlPlane) {
	namespace := cp.Namespace(t)
	defer campaign(t, cp, namespace)()
	reader := cp.Client("reader")
	defer reader.Close()
	var warned warnings
	reports, stop := watching(t, reader.Clientset(), namespace, "app", warned.add)
	led := func(a explain.Report) bool { return a.State == explain.Led && a.Certain && a.Holder == "pod-1" }
	awaitReport(t, reports, led)
	reader.Network().Cut(leaderelectiontest.Hang)
	lost := awaitReport(t, reports, func(a explain.Report) bool { return a.ContactLost })
	if lost.Certain || lost.State != explain.Led || lost.Claim != nil {
		t.Errorf("without contact: %+v", lost)
	}
	reader.Network().Heal()
	awaitReport(t, reports, led)
	stop()
	if got := warned.all(); len(got) != 2 || !strings.Contains(got[0], "cannot be read") || !strings.Contains(got[1], "again") {
		t.Errorf("the warnings are %q", got)
	}
}

// warnings records the warnings that explain would print on the standard error.
type warnings struct {
	mu    sync.Mutex
	texts []string
}

func (w *warnings) add(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts = append(w.texts, err.Error())
}

func (w *warnings) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.texts)
}

// watching runs explain --watch until stop is called, and returns a decoder of its
// reports. explain passes its warnings to warn. If warn is nil, each warning fails the
// test.
func watching(t *testing.T, clientset kubernetes.Interface, namespace, lease string, warn func(error)) (reports *json.Decoder, stop func()) {
	t.Helper()
	o := &explainOptions{namespace: namespace, name: lease, output: "json", watch: true}
	if warn == nil {
		warn = func(err error) { t.Errorf("warning: %v", err) }
	}
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := o.explain(ctx, clientset, writer, warn)
		_ = writer.Close()
		done <- err
	}()
	return json.NewDecoder(reader), func() {
		cancel()
		_, _ = io.Copy(io.Discard, reader)
		if err := <-done; err != nil {
			t.Errorf("watching ended with %v", err)
		}
	}
}

// campaign runs an Elector with the identity pod-1 until end is called.
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

// awaitReport reads reports until matches returns true for a report, and returns that
// report. Each earlier report that the Lease has expired fails the test.
func awaitReport(t *testing.T, reports *json.Decoder, matches func(explain.Report) bool) explain.Report {
	t.Helper()
	for {
		var a explain.Report
		if err := reports.Decode(&a); err != nil {
			t.Fatal(err)
		}
		if matches(a) {
			return a
		}
		if a.State == explain.Expired {
			t.Errorf("the Lease is reported as expired, and it was not: %+v", a)
		}
	}
}

// explainLease runs the command explain and returns its exit code and output. Any text
// on the standard error fails the test.
func explainLease(t *testing.T, args ...string) (int, string) {
	t.Helper()
	code, out, errOut := call(t, "explain "+strings.Join(args, " "))
	if errOut != "" {
		t.Errorf("%q: %s", args, errOut)
	}
	return code, out
}
