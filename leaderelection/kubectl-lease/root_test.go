package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"
)

// apiServer starts an API server that serves the Leases and two namespaces. The server
// refuses every other request as forbidden. apiServer also sets KUBECONFIG to a file
// with two contexts. The current context "one" has the namespace ns-one. The context
// "two" has the namespace ns-two.
func apiServer(t *testing.T, leases ...*coordinationv1.Lease) {
	t.Helper()
	answer := func(w http.ResponseWriter, code int, object any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(object)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rest, isLease := strings.CutPrefix(r.URL.Path, "/apis/coordination.k8s.io/v1/namespaces/")
		namespace, rest, _ := strings.Cut(rest, "/")
		of := func(name string) (found []coordinationv1.Lease) {
			for _, l := range leases {
				if l.Namespace == namespace && (name == "" || l.Name == name) {
					found = append(found, *l)
				}
			}
			return found
		}
		_, name, _ := strings.Cut(rest, "/")
		switch {
		case r.URL.Path == "/api/v1/namespaces":
			answer(w, http.StatusOK, corev1.NamespaceList{Items: []corev1.Namespace{{ObjectMeta: metav1.ObjectMeta{Name: "ns-one"}}, {ObjectMeta: metav1.ObjectMeta{Name: "ns-two"}}}})
		case isLease && name == "" && r.URL.Query().Get("watch") == "":
			answer(w, http.StatusOK, coordinationv1.LeaseList{Items: of("")})
		case isLease && len(of(name)) == 1:
			answer(w, http.StatusOK, of(name)[0])
		case isLease && name != "" && name != "forbidden":
			answer(w, http.StatusNotFound, metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: 404, Reason: metav1.StatusReasonNotFound})
		default:
			answer(w, http.StatusForbidden, metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: 403, Reason: metav1.StatusReasonForbidden,
				Message: "leases is forbidden: you may not do that"})
		}
	}))
	t.Cleanup(server.Close)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	config := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "one",
"clusters": [{"name": "c", "cluster": {"server": %q}}], "users": [{"name": "u", "user": {}}], "contexts": [
{"name": "one", "context": {"cluster": "c", "user": "u", "namespace": "ns-one"}}, {"name": "two", "context": {"cluster": "c", "user": "u", "namespace": "ns-two"}}]}`, server.URL)
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", path)
}

// heldLease returns a Lease whose holder has just renewed it.
func heldLease(namespace, name, holder string) *coordinationv1.Lease {
	now := metav1.NewMicroTime(time.Now())
	return &coordinationv1.Lease{
		TypeMeta:   metav1.TypeMeta{APIVersion: "coordination.k8s.io/v1", Kind: "Lease"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: "1", ResourceVersion: "7"},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: ptr.To(int32(15)), AcquireTime: &now, RenewTime: &now},
	}
}

func TestFlags_NameTheNamespaceAndTheContext(t *testing.T) {
	apiServer(t, heldLease("ns-one", "app", "pod-1"), heldLease("ns-two", "app", "pod-2"), heldLease("ns-three", "app", "pod-3"))
	for args, want := range map[string]string{
		"app":                         "ns-one/app led pod-1",
		"app --context two":           "ns-two/app led pod-2",
		"app --context=two -n ns-one": "ns-one/app led pod-1",
		"ns-three/app":                "ns-three/app led pod-3",
		"-n ns-three app":             "ns-three/app led pod-3",
		"--namespace ns-three app":    "ns-three/app led pod-3",
		"-n ns-three lease/app":       "ns-three/app led pod-3",
	} {
		for _, format := range []string{"json", "yaml"} {
			code, out, errOut := call(t, "explain --wait 0 -o "+format+" "+args)
			var document struct {
				Lease, State, Holder string
			}
			if err := yaml.Unmarshal([]byte(out), &document); err != nil || code != exitLeads || errOut != "" {
				t.Errorf("%q: exit code %d, %v, %s", args, code, err, errOut)
			}
			if got := document.Lease + " " + document.State + " " + document.Holder; got != want {
				t.Errorf("%q: %q, want %q:\n%s", args, got, want, out)
			}
			if isJSON := json.Valid([]byte(out)); isJSON != (format == "json") {
				t.Errorf("-o %s:\n%s", format, out)
			}
		}
	}
}

func TestExitCodes(t *testing.T) {
	apiServer(t, heldLease("ns-one", "led", "pod-1"), heldLease("ns-one", "free", ""))
	for args, want := range map[string]int{
		"explain led --wait 0": 0, "explain free": 1, "explain absent": 1, "explain forbidden": 2, "explain": 2, "unknown": 2,
		"": 0, "--help": 0, "rights led --service-account a": 0, "fence led --service-account a": 2,
	} {
		if code, out, errOut := call(t, args); code != want {
			t.Errorf("%q: exit code %d, want %d\n%s%s", args, code, want, out, errOut)
		}
	}
	old := metav1.NewMicroTime(time.Now().Add(-time.Hour))
	expired := heldLease("ns-one", "expired", "pod-1")
	expired.Spec.RenewTime, expired.Spec.AcquireTime = &old, &old
	apiServer(t, expired)
	if code, out, _ := call(t, "explain expired --wait 0"); code != 2 || !strings.Contains(out, "(by its own clock)") {
		t.Errorf("expired by the holder's clock only: exit code %d\n%s", code, out)
	}
}

// If the API server returns an error, the command must print the error in one line,
// without the usage.
func TestErrors_OfTheAPIServerAreOneLine(t *testing.T) {
	apiServer(t)
	code, out, errOut := call(t, "explain forbidden")
	if code != 2 || out != "" || errOut != "error: the Lease cannot be read: leases is forbidden: you may not do that\n" {
		t.Errorf("exit code %d, output %q, %q", code, out, errOut)
	}
}

func TestCompletion_CompletesNames(t *testing.T) {
	apiServer(t, heldLease("ns-one", "app-leader", "a"), heldLease("ns-one", "api-leader", "a"), heldLease("ns-two", "other", "a"))
	for _, tc := range []struct {
		args []string
		want []string
	}{
		{[]string{"explain", ""}, []string{"app-leader", "api-leader"}},
		{[]string{"explain", "app"}, []string{"app-leader"}},
		{[]string{"fence", "ap"}, []string{"app-leader", "api-leader"}},
		{[]string{"rights", ""}, []string{"app-leader", "api-leader"}},
		{[]string{"explain", "-n", "ns-two", ""}, []string{"other"}},
		{[]string{"explain", "--context", "two", ""}, []string{"other"}},
		{[]string{"explain", "app-leader", ""}, nil},
		{[]string{"explain", "-n", ""}, []string{"ns-one", "ns-two"}},
		{[]string{"explain", "--context", "t"}, []string{"two"}},
		{[]string{"explain", "-o", ""}, []string{"text", "json", "yaml"}},
		{[]string{"fence", "--mode", ""}, []string{"pod", "term", "pod,term"}},
		{[]string{"manifests", "rbac", "r"}, nil},
		{[]string{"manifests", "fencing-"}, []string{"fencing-anchor", "fencing-lease"}},
		{[]string{"ex"}, []string{"explain"}},
	} {
		var out, errOut strings.Builder
		if code := run(t.Context(), append([]string{"__complete"}, tc.args...), &out, &errOut); code != 0 {
			t.Errorf("%q: exit code %d, %s", tc.args, code, &errOut)
		}
		var got []string
		for line := range strings.Lines(out.String()) {
			if name, _, _ := strings.Cut(strings.TrimSpace(line), "\t"); !strings.HasPrefix(name, ":") {
				got = append(got, name)
			}
		}
		if !slices.Equal(got, tc.want) || !strings.Contains(out.String(), ":4\n") { // 4 is the directive "no file names"
			t.Errorf("%q: completed with %q, want %q:\n%s", tc.args, got, tc.want, &out)
		}
	}
}

func TestCompletion_ScriptsAreForThePlugin(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if code, out, errOut := call(t, "completion "+shell); code != 0 || !strings.Contains(out, "kubectl-lease") {
			t.Errorf("%s: exit code %d, %s\n%s", shell, code, errOut, out)
		}
	}
}

func TestUsage_NamesThePlugin(t *testing.T) {
	for args, want := range map[string]string{
		"--help": "kubectl lease [command]", "explain --help": "kubectl lease explain NAME [flags]", "manifests --help": "kubectl lease manifests [MANIFEST...] [flags]",
	} {
		if _, out, _ := call(t, args); !strings.Contains(out, want) || strings.Contains(out, "kubectl-lease [") {
			t.Errorf("%q lacks %q:\n%s", args, want, out)
		}
	}
	refuses(t, "explane", `unknown command "explane" for "kubectl lease"`)
}

func TestWatch_GoesOnUntilItIsInterrupted(t *testing.T) {
	for _, format := range explainFormats {
		apiServer(t, heldLease("ns-one", "app", ""))
		ctx, cancel := context.WithCancel(t.Context())
		out := &waitingBuffer{written: make(chan struct{})}
		var errOut strings.Builder
		done := make(chan int, 1)
		go func() { done <- run(ctx, []string{"explain", "app", "-w", "-o", format}, out, &errOut) }()
		<-out.written
		cancel()
		if code := <-done; code != exitLeads || strings.Contains(errOut.String(), "error:") {
			t.Errorf("-o %s: exit code %d, want 0 though nobody leads: %s", format, code, &errOut)
		}
		if has := strings.HasPrefix(out.text.String(), "---\n"); has != (format == "yaml") {
			t.Errorf("-o %s begins with a separator: %v\n%s", format, has, out.text.String())
		}
	}
}

// A waitingBuffer records all text that the plugin prints. At the first write, the
// waitingBuffer closes the channel in the field written.
type waitingBuffer struct {
	text    strings.Builder
	written chan struct{}
}

func (b *waitingBuffer) Write(text []byte) (int, error) {
	if b.text.Len() == 0 {
		defer close(b.written)
	}
	return b.text.Write(text)
}

func TestMain(m *testing.M) {
	_ = os.Unsetenv("KUBERNETES_SERVICE_HOST") // the tests may run in a cluster, and must not use this cluster
	goleak.VerifyTestMain(m)
}
