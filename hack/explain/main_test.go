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
	"time"

	"github.com/go-logr/logr"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/explain"
	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
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
	t.Run("an Elector's Lease", func(t *testing.T) { explainsAnElector(t, cp) })
	t.Run("controller-runtime's Lease", func(t *testing.T) { explainsControllerRuntime(t, cp) })
	t.Run("there is no namespace", func(t *testing.T) { missesTheNamespace(t, cp) })
	t.Run("contact is lost", func(t *testing.T) { losesContact(t, cp) })
}

func explainsAnElector(t *testing.T, cp *envtest.ControlPlane) {
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
	answers, stop := followed(t, cp.Admin().Clientset(), lease, nil)
	awaitAnswer(t, answers, func(a explain.Answer) bool { return a.State == explain.Unused })
	end := campaign(t, cp, namespace)
	awaitAnswer(t, answers, func(a explain.Answer) bool { return a.State == explain.Led && a.Leader == "pod-1" && a.Certain })
	code, text := call(t, "-kubeconfig", config, lease, "-wait", "1m", "-service-account", namespace+"/operator", "-events")
	if code != somebodyLeads {
		t.Errorf("the code is %d", code)
	}
	for _, want := range []string{
		"Lease      " + namespace + "/app", "pod-1 leads since ", "Writer     package leaderelection", "?  pod-1",
		namespace + "/operator lacks rights to campaign, record events:", `watch leases.coordination.k8s.io "app"`, "patch events",
		"incumbent-fencing." + namespace + ".app refuses the writes of stale leaders that run as " + namespace + "/operator to configmaps",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it lacks %q:\n%s", want, text)
		}
	}
	_, text = call(t, "-kubeconfig", config, lease, "-service-account", namespace+"/operaotr")
	if !strings.Contains(text, "there is no service account "+namespace+"/operaotr") {
		t.Errorf("a misspelt account is not noticed:\n%s", text)
	}
	end()
	a := awaitAnswer(t, answers, func(a explain.Answer) bool { return a.State == explain.Free && a.Terms[0].End == "released" })
	if a.Fences == nil || a.Fences.At.IsZero() || len(a.Fences.Found) != 1 {
		t.Errorf("the fences are %+v", a.Fences)
	}
	stop()
}

// A Lease of controller-runtime's own election is like any other.
func explainsControllerRuntime(t *testing.T, cp *envtest.ControlPlane) {
	namespace := cp.Namespace(t)
	config, lease := kubeconfig(t, cp), namespace+"/theirs"
	client := cp.Client("theirs")
	defer client.Close()
	mgr, err := crmanager.New(client.Config(), crmanager.Options{
		LeaderElection: true, LeaderElectionID: "theirs", LeaderElectionNamespace: namespace, LeaderElectionReleaseOnCancel: true,
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
	code, text := call(t, "-kubeconfig", config, "-wait", "1m", lease)
	if code != somebodyLeads || !strings.Contains(text, " leads since ") || strings.Contains(text, "by its own clock") ||
		!strings.Contains(text, "Writer     another elector") || !strings.Contains(text, "none found") {
		t.Errorf("while it leads: %d\n%s", code, text)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if code, text = call(t, "-kubeconfig", config, lease); code != nobodyLeads || !strings.Contains(text, "the Lease is free") {
		t.Errorf("after it has left: %d\n%s", code, text)
	}
}

// A misspelt namespace is no free Lease; who may not read namespaces is told nothing
// of them.
func missesTheNamespace(t *testing.T, cp *envtest.ControlPlane) {
	code, text := call(t, "-kubeconfig", kubeconfig(t, cp), "-n", "nons", "foo")
	if code != nobodyLeads || !strings.Contains(text, "Why        there is no namespace nons: is its name right?\n") || strings.Contains(text, "Claimable") {
		t.Errorf("%d\n%s", code, text)
	}
	namespace := cp.Namespace(t)
	reader := cp.Client("reader", envtest.AsUser(cp.User(t, "reader", namespace,
		rbacv1.PolicyRule{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"get"}})))
	defer reader.Close()
	answers, stop := followed(t, reader.Clientset(), namespace+"/foo", func(error) {})
	defer stop()
	if a := awaitAnswer(t, answers, func(explain.Answer) bool { return true }); a.NamespaceAbsent || a.Claim == nil {
		t.Errorf("who may not read the namespace is told %+v", a)
	}
}

// The leader leads on, and only we do not hear of it.
func losesContact(t *testing.T, cp *envtest.ControlPlane) {
	namespace := cp.Namespace(t)
	defer campaign(t, cp, namespace)()
	reader := cp.Client("reader")
	defer reader.Close()
	var troubles complaints
	answers, stop := followed(t, reader.Clientset(), namespace+"/app", troubles.add)
	led := func(a explain.Answer) bool { return a.State == explain.Led && a.Certain && a.Leader == "pod-1" }
	awaitAnswer(t, answers, led)
	reader.Network().Cut(leaderelectiontest.Hang)
	lost := awaitAnswer(t, answers, func(a explain.Answer) bool { return a.Lost })
	if lost.Certain || lost.State != explain.Led || lost.Claim != nil {
		t.Errorf("without contact: %+v", lost)
	}
	reader.Network().Heal()
	awaitAnswer(t, answers, led)
	stop()
	if got := troubles.all(); len(got) != 2 || !strings.Contains(got[0], "cannot be read") || !strings.Contains(got[1], "again") {
		t.Errorf("the complaints are %q", got)
	}
}

// complaints are what a user would see on stderr.
type complaints struct {
	mu    sync.Mutex
	texts []string
}

func (c *complaints) add(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.texts = append(c.texts, err.Error())
}

func (c *complaints) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.texts)
}

// followed follows the Lease with -w until stop.
func followed(t *testing.T, clientset kubernetes.Interface, lease string, complain func(error)) (answers *json.Decoder, stop func()) {
	t.Helper()
	o, err := parse([]string{lease, "-w", "-o", "json"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if complain == nil {
		complain = func(err error) { t.Errorf("it complains: %v", err) }
	}
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := o.explain(ctx, clientset, writer, complain)
		_ = writer.Close()
		done <- err
	}()
	return json.NewDecoder(reader), func() {
		cancel()
		_, _ = io.Copy(io.Discard, reader)
		if err := <-done; err != nil {
			t.Errorf("following ended with %v", err)
		}
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
func awaitAnswer(t *testing.T, answers *json.Decoder, wanted func(explain.Answer) bool) explain.Answer {
	t.Helper()
	for {
		var a explain.Answer
		if err := answers.Decode(&a); err != nil {
			t.Fatal(err)
		}
		if wanted(a) {
			return a
		}
		if a.State == explain.Expired {
			t.Errorf("a lapse is told of, and there was none: %+v", a)
		}
	}
}

// Programs that follow a Lease are told of a second term, however soon it comes, and
// not of renewals.
func TestTellChange_TellsWhatNoTextShows(t *testing.T) {
	for _, format := range []bool{true, false} {
		var out strings.Builder
		told := &teller{options: &options{json: format}, out: &out}
		second := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
		first := explain.Answer{State: explain.Led, Certain: true, Leader: "a", Since: &second, Transitions: 1, Version: "1"}
		renewed, again := first, first
		renewed.Version, renewed.At = "2", second
		again.Since, again.Transitions = new(second.Add(time.Millisecond)), 2
		for i, a := range []explain.Answer{first, renewed, again} {
			before := out.Len()
			if err := told.tellChange(&a); err != nil {
				t.Fatal(err)
			}
			if is, want := out.Len() > before, i != 1; is != want {
				t.Errorf("JSON is %v: answer %d is told: %v, want %v\n%s", format, i, is, want, &out)
			}
		}
	}
}

// What is not known is no reason to act.
func TestCodeOf_ClaimsWhatIsKnown(t *testing.T) {
	for _, tc := range []struct {
		answer explain.Answer
		want   int
	}{
		{explain.Answer{State: explain.Led, Certain: true}, somebodyLeads},
		{explain.Answer{State: explain.Late}, somebodyLeads},
		{explain.Answer{State: explain.Led, Lost: true}, cannotTell},
		{explain.Answer{State: explain.Held}, cannotTell},
		{explain.Answer{State: explain.Free, Certain: true}, nobodyLeads},
		{explain.Answer{State: explain.Absent, Lost: true}, cannotTell},
		{explain.Answer{State: explain.Expired, Certain: true}, nobodyLeads},
		{explain.Answer{State: explain.Expired}, cannotTell},
	} {
		if got := codeOf(&tc.answer); got != tc.want {
			t.Errorf("%+v: code %d, want %d", tc.answer, got, tc.want)
		}
	}
}
