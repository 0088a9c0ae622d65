package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/safetext"
	"github.com/haproxy-template-ic/incumbent/leaderelection/kubectl-lease/internal/explain"
)

// unsafeText contains an unsafe character of each kind, and text that looks like YAML,
// JSON and the plugin's own output.
const unsafeText = "a\x00\a\b\t\n\v\f\r\x1b[2J\x7f\u0080\u0085\u009b31m\u009f\u00ad\u061c\u200b\u200d\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069" +
	"\ufeff\ufff9\ue000\U000e0041\U0010ffff\\u202e\\x9b\"'`: - # {}[]\nState      b leads\n---\nstate: free\né名\u00a0👍🏽 "

// requireSafe checks that text contains no character that could control a terminal,
// except line breaks.
func requireSafe(t *testing.T, what, text string) {
	t.Helper()
	if i := strings.IndexFunc(strings.ReplaceAll(text, "\n", " "), safetext.IsUnsafe); i >= 0 || !utf8.ValidString(text) {
		t.Errorf("%s has an unsafe character at byte %d: %q", what, i, text)
	}
}

func FuzzTerminal_EscapesWithoutChangingValues(f *testing.F) {
	for _, text := range []string{
		unsafeText, "", " ", "\n", "\u2028", "\u2028a\u2029\n b", "a\u202e", "- \u202e", "\u202e: b", "'\u202e\\", "0x10\u200b", "null\u00ad", "\ufffd", "a\x9bb", "\\\u0085",
		"x \u2029 \n\t y \u2029", "\u0085", "\u007f", "\U000e0041", "1753647547040015001", "\ufffe\uffff", strings.Repeat("\u202e word", 50),
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ToValidUTF8(text, "\ufffd") // JSON cannot contain other bytes
		type document struct {
			Text string
			List []any
		}
		object := document{text, []any{text, map[string]any{"key": text}}}
		for format, codec := range map[string]struct {
			encode func(any) ([]byte, error)
			decode func([]byte, any) error
		}{
			"JSON": {json.Marshal, json.Unmarshal},
			"YAML": {toYAML, func(text []byte, into any) error { return yaml.Unmarshal(text, into) }},
		} {
			encoded, err := codec.encode(object)
			if err != nil {
				t.Fatalf("%s: %q: %v", format, text, err)
			}
			var out strings.Builder
			if _, err := (&terminal{out: &out}).Write(encoded); err != nil {
				t.Fatal(err)
			}
			requireSafe(t, format, out.String())
			var decoded document
			if err := codec.decode([]byte(out.String()), &decoded); err != nil || !cmp.Equal(decoded, object) {
				t.Errorf("%s: %q decodes to %q, %v:\n%s", format, text, decoded, err, &out)
			}
		}
	})
}

// hostileServer is an API server whose every text is unsafeText where the API permits
// that. It serves a Lease, whose holder changes once while the Lease is watched, and two
// policies. It refuses every other request.
func hostileServer(t *testing.T) {
	t.Helper()
	lease := heldLease("ns-one", "app", unsafeText)
	lease.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: unsafeText, FieldsV1: fieldsOf(t, `{"f:spec":{"f:renewTime":{}}}`)}}
	terms, _ := json.Marshal([]map[string]any{{"holder": unsafeText, "acquired": "2026-01-02T03:04:05.000000Z", "end": unsafeText}})
	lease.Annotations = map[string]string{
		"incumbent.haproxy-template-ic.github.io/terms":     string(terms),
		"incumbent.haproxy-template-ic.github.io/successor": strconv.FormatInt(lease.Spec.AcquireTime.UnixMicro(), 10) + " 0 0 " + unsafeText,
	}
	strategy := coordinationv1.CoordinatedLeaseStrategy(unsafeText)
	lease.Spec.Strategy = &strategy
	next := lease.DeepCopy()
	next.ResourceVersion, next.Spec.HolderIdentity, next.Spec.AcquireTime = "8", ptr.To("b"+unsafeText), &metav1.MicroTime{Time: time.Now()}
	policy := admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: unsafeText}, Spec: admissionv1.ValidatingAdmissionPolicySpec{
		ParamKind:        &admissionv1.ParamKind{APIVersion: "coordination.k8s.io/v1", Kind: "Lease"},
		MatchConditions:  []admissionv1.MatchCondition{{Name: unsafeText, Expression: unsafeText}},
		Validations:      []admissionv1.Validation{{Expression: "true || request.userInfo.username != 'system:serviceaccount:" + strings.ReplaceAll(unsafeText, "'", "") + ":a'"}},
		MatchConstraints: &admissionv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{unsafeText: unsafeText}}, ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{Rule: admissionv1.Rule{APIGroups: []string{unsafeText}, Resources: []string{unsafeText}}}}}},
	}}
	binding := admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: unsafeText}, Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: unsafeText, ParamRef: &admissionv1.ParamRef{Name: "app"},
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Warning", "299 - \"a\u202eb\"")
		var answer any
		switch path := r.URL.Path; {
		case strings.HasSuffix(path, "/plain"):
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write([]byte(unsafeText))
			return
		case strings.HasSuffix(path, "/leases") && r.URL.Query().Get("watch") != "":
			object, _ := json.Marshal(next)
			answer = metav1.WatchEvent{Type: string(watch.Modified), Object: runtime.RawExtension{Raw: object}}
		case strings.HasSuffix(path, "/leases"):
			answer = coordinationv1.LeaseList{Items: []coordinationv1.Lease{*lease, *heldLease("ns-one", "a"+unsafeText, "")}}
		case strings.HasSuffix(path, "/leases/app"):
			answer = lease
		case strings.HasSuffix(path, "/validatingadmissionpolicies"):
			answer = admissionv1.ValidatingAdmissionPolicyList{Items: []admissionv1.ValidatingAdmissionPolicy{policy}}
		case strings.HasSuffix(path, "/validatingadmissionpolicybindings"):
			answer = admissionv1.ValidatingAdmissionPolicyBindingList{Items: []admissionv1.ValidatingAdmissionPolicyBinding{binding}}
		default:
			w.WriteHeader(http.StatusForbidden)
			answer = metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: 403, Reason: metav1.StatusReasonForbidden, Message: unsafeText}
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(server.Close)
	config, err := toYAML(map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": unsafeText,
		"clusters": []any{map[string]any{"name": unsafeText, "cluster": map[string]any{"server": server.URL}}},
		"contexts": []any{map[string]any{"name": unsafeText, "context": map[string]any{"cluster": unsafeText, "namespace": "ns-one"}}},
	})
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err == nil {
		err = os.WriteFile(path, []byte(safetext.Escape(string(config), func(r rune) bool { return safetext.IsUnsafe(r) && r != '\n' })), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", path)
}

// requireHarmless checks that text is safe, and that no line of it comes from unsafeText.
func requireHarmless(t *testing.T, what, text string) {
	t.Helper()
	requireSafe(t, what, text)
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "State      b leads") || strings.HasPrefix(line, "state: free") {
			t.Errorf("%s has a line of unsafeText:\n%s", what, text)
		}
	}
}

func TestOutput_ControlsNoTerminal(t *testing.T) {
	hostileServer(t)
	for _, args := range [][]string{
		{"explain", "app", "--wait", "0"}, {"explain", "app", "--wait", "0", "-o", "json"}, {"explain", "app", "--wait", "0", "-o", "yaml"},
		{"explain", "app", "--wait", "0", "--service-account", "a"}, {"explain", "app", "--wait", "0", "--service-account", "a", "-o", "yaml"},
		{"explain", "refused"}, {"explain", "-w", "refused"}, {"explain", "plain"}, {"explain", "app", "-o", unsafeText}, {"explain", unsafeText},
		{"explain", "app", "--context", unsafeText + "x"}, {"explain", "app", "--kubeconfig", unsafeText}, {"explain", "app", "-n", unsafeText},
		{"explain", "app", "--" + unsafeText}, {"explain", "app", "--wait", unsafeText}, {unsafeText}, {"help", unsafeText},
		{"rights", "app", "--service-account", "a", "--name", strings.NewReplacer("/", "", "%", "").Replace(unsafeText)},
		{"rights", "app", "--service-account", "a", "--name", unsafeText, "-o", "json"}, {"rights", "app", "--service-account", unsafeText},
		{"fence", "app", "--service-account", "a", "--resources", unsafeText}, {"fence", "app", "--service-account", "a", "--resources", "configmaps." + unsafeText},
		{"fence", "app", "--service-account", "a", "--resources", "configmaps", "--name", unsafeText, "--namespaces", unsafeText, "--mode", unsafeText},
		{"manifests", "--app", "a", "--image", unsafeText}, {"manifests", "--app", "a", "--image", "a\u202eb", "deployment"}, {"manifests", "--app", unsafeText}, {"manifests", unsafeText},
		{"__complete", "explain", ""}, {"__complete", "explain", "--context", ""}, {"__complete", "explain", "-n", ""},
	} {
		var out, errOut strings.Builder
		run(t.Context(), args, &out, &errOut)
		what := strings.Join(args[:min(2, len(args))], " ") + " " + args[len(args)-1]
		requireHarmless(t, "the output of "+what, strings.ReplaceAll(out.String(), "\t", "")) // completions contain tabs
		requireHarmless(t, "the errors of "+what, errOut.String())
	}
}

// The values in JSON and YAML are those that the API server sent.
func TestOutput_KeepsTheValues(t *testing.T) {
	hostileServer(t)
	for _, format := range []string{"json", "yaml"} {
		var out, errOut strings.Builder
		if code := run(t.Context(), []string{"explain", "app", "--wait", "0", "-o", format}, &out, &errOut); code != exitLeads {
			t.Fatalf("exit code %d: %s", code, &errOut)
		}
		text := []byte(out.String())
		if format == "yaml" {
			var err error
			if text, err = yaml.YAMLToJSON(text); err != nil {
				t.Fatalf("%v:\n%s", err, &out)
			}
		}
		var report explain.Report
		if err := json.Unmarshal(text, &report); err != nil {
			t.Fatalf("%v:\n%s", err, &out)
		}
		if holder := strings.TrimSuffix(report.Terms[0].Holder, "..."); holder == "" || !strings.HasPrefix(unsafeText, holder) {
			t.Errorf("%s: the holder of the first term is %q, want the beginning of %q", format, holder, unsafeText)
		}
		policy := report.Fences.Policies[0]
		for what, got := range map[string]string{
			"holder": report.Holder, "successor": report.Successor, "field manager": report.Writer.FieldManager, "policy": policy.Policy, "binding": policy.Binding,
			"resource": strings.TrimSuffix(policy.Resources[0], "."+unsafeText),
		} {
			if got != unsafeText {
				t.Errorf("%s: the %s is %q, want %q", format, what, got, unsafeText)
			}
		}
		if !strings.Contains(errOut.String(), `Warning: a\u202eb`+"\n") {
			t.Errorf("%s: the warning of the API server is missing: %q", format, &errOut)
		}
	}
}

func TestWatch_ControlsNoTerminal(t *testing.T) {
	hostileServer(t)
	for _, format := range explainFormats {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		out := &countingBuffer{enough: cancel, wanted: 2}
		var errOut strings.Builder
		run(ctx, []string{"explain", "app", "-w", "-o", format}, out, &errOut)
		if out.writes < out.wanted {
			t.Errorf("-o %s: %d reports, want %d:\n%s", format, out.writes, out.wanted, &out.text)
		}
		requireHarmless(t, "the output of -w -o "+format, out.text.String())
		requireHarmless(t, "the errors of -w -o "+format, errOut.String())
	}
}

// A countingBuffer records text. It calls the function enough at the write with the
// number wanted.
type countingBuffer struct {
	text           strings.Builder
	enough         func()
	writes, wanted int
}

func (b *countingBuffer) Write(text []byte) (int, error) {
	if b.writes++; b.writes == b.wanted {
		b.enough()
	}
	return b.text.Write(text)
}

// A name that cannot be shown is not offered. If it were escaped, it would be another name.
func TestCompletion_OffersNoNameThatCannotBeShown(t *testing.T) {
	hostileServer(t)
	for kind, args := range map[string]string{"Leases": "__complete explain a", "contexts": "__complete explain --context a"} {
		want := map[string]string{"Leases": "app\n:4\n", "contexts": ":4\n"}[kind]
		if _, out, _ := call(t, args); out != want {
			t.Errorf("the %s are %q, want %q", kind, out, want)
		}
	}
}

func TestCompletion_ScriptsAreNotEscaped(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if _, out, _ := call(t, "completion "+shell); strings.ContainsFunc(out, func(r rune) bool { return safetext.IsUnsafe(r) && r != '\n' && r != '\t' }) || strings.Contains(out, `\u00`) {
			t.Errorf("%s: the script contains unsafe or escaped characters", shell)
		}
	}
}

// fieldsOf returns the set of fields that the JSON text describes. All supported versions
// of apimachinery have UnmarshalJSON.
func fieldsOf(t *testing.T, text string) *metav1.FieldsV1 {
	t.Helper()
	fields := &metav1.FieldsV1{}
	if err := fields.UnmarshalJSON([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return fields
}
