package integration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
)

// mighty is the config of a replica that may do everything, as far as RBAC goes.
func (p *paddock) mighty(name string) *rest.Config {
	client := p.cp.Client("pod "+name, envtest.AsPod(p.account, name))
	p.Cleanup(client.Close)
	config := client.Config()
	config.Impersonate.Groups = append(config.Impersonate.Groups, "system:masters")
	return config
}

// A writer is a replica in a term, with a client for custom resources and one that
// speaks protobuf. There is a pod for each to evict.
type writer struct {
	termed
	objects  dynamic.Interface
	protobuf kubernetes.Interface
	victim   string
}

func (p *paddock) writer(w termed, name, victim string) writer {
	p.Helper()
	config := p.mighty(name)
	config.Wrap(fencing.StampTransport)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return fencing.RetryTransport(w.elector, next) })
	objects, err := dynamic.NewForConfig(config)
	must(p.T, err)
	config = rest.CopyConfig(config)
	config.ContentType = runtime.ContentTypeProtobuf
	protobuf, err := kubernetes.NewForConfig(config)
	must(p.T, err)
	return writer{w, objects, protobuf, victim}
}

// A custom resource is Namespaced or of the Cluster, as its scope says.
type custom struct {
	schema.GroupVersionResource
	scope string
}

// define has the API server serve one with a status and a scale.
func define(t *testing.T, cp *envtest.ControlPlane, group, scope string) custom {
	t.Helper()
	plural := strings.ToLower(scope) + "things"
	var definition unstructured.Unstructured
	must(t, json.Unmarshal(fmt.Appendf(nil, `{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "%[1]s.%[2]s"},
		"spec": {"group": "%[2]s", "scope": "%[3]s", "names": {"plural": "%[1]s", "kind": "%[3]sThing"}, "versions": [{
			"name": "v1", "served": true, "storage": true,
			"schema": {"openAPIV3Schema": {"type": "object", "properties": {
				"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
				"status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}},
			"subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}}
	}]}}`, plural, group, scope), &definition))
	definitions := dynamic.NewForConfigOrDie(cp.Admin().Config()).Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	_, err := definitions.Create(t.Context(), &definition, metav1.CreateOptions{})
	must(t, err)
	t.Cleanup(func() {
		must(t, definitions.Delete(context.Background(), definition.GetName(), metav1.DeleteOptions{})) // the test's own has ended
	})
	return custom{schema.GroupVersionResource{Group: group, Version: "v1", Resource: plural}, scope}
}

// A trial is one write, and whether a Fence by term alone refuses it.
type trial struct {
	name   string
	byTerm bool
	do     func(w writer) error
}

// trials of an object that is there end with its removal.
func (c custom) trials(namespace, name string) (begin func(w writer) error, trials []trial) {
	in := func(w writer) dynamic.ResourceInterface {
		if c.scope == "Cluster" {
			return w.objects.Resource(c.GroupVersionResource)
		}
		return w.objects.Resource(c.GroupVersionResource).Namespace(namespace)
	}
	create := func(meta map[string]any) func(writer) error {
		return func(w writer) error {
			object := map[string]any{"apiVersion": c.GroupVersion().String(), "kind": c.scope + "Thing", "metadata": meta, "spec": map[string]any{"replicas": int64(1)}}
			_, err := in(w).Create(w.ctx, &unstructured.Unstructured{Object: object}, metav1.CreateOptions{})
			return err
		}
	}
	patch := func(kind types.PatchType, body string, subresources ...string) func(writer) error {
		return func(w writer) error {
			_, err := in(w).Patch(w.ctx, name, kind, []byte(body), metav1.PatchOptions{}, subresources...)
			return err
		}
	}
	return create(map[string]any{"name": name, "finalizers": []any{"example.com/kept"}}), []trial{
		{"create", false, create(map[string]any{"generateName": name + "-"})},
		{"merge patch", true, patch(types.MergePatchType, `{"spec":{"a":1}}`)},
		{"patch of status", false, patch(types.MergePatchType, `{"status":{"a":1}}`, "status")},
		{"patch of scale", false, patch(types.MergePatchType, `{"spec":{"replicas":2}}`, "scale")},
		{"JSON patch", true, patch(types.JSONPatchType, `[{"op":"add","path":"/spec/b","value":1}]`)}, // the stamp is still there
		{"delete", false, func(w writer) error { return in(w).Delete(w.ctx, name, metav1.DeleteOptions{}) }},
		{"removal of finalizers", true, patch(types.MergePatchType, `{"metadata":{"finalizers":null}}`)},
	}
}

func TestFence_OfOtherKindsOfObjectsAndWrites(t *testing.T) {
	t.Parallel()
	cp := shared.get(t)
	group := cp.Namespace(t) + ".example.com"
	customs := []custom{define(t, cp, group, "Namespaced"), define(t, cp, group, "Cluster")}
	for _, mode := range []fencing.Mode{fencing.ByPod, fencing.ByTerm, fencing.ByPod | fencing.ByTerm} {
		p := newPaddock(t, cp)
		p.fence.Mode = mode
		p.fence.Resources = []schema.GroupResource{{Resource: "configmaps"}, {Resource: "pods"}, customs[0].GroupResource(), customs[1].GroupResource()}
		p.enforce()
		p.makePods()
		first := p.reign("pod-a")
		first.stop()
		second := p.reign("pod-b")
		stale, leader := p.writer(first, "pod-a", "one"), p.writer(second, "pod-b", "two")

		var trials []trial
		for _, resource := range customs {
			begin, more := resource.trials(p.namespace, p.namespace)
			awaitAnswer(t, func(context.Context) error { return begin(leader) }) // it is served
			for _, trial := range more {
				trial.name += " of " + resource.Resource
				trials = append(trials, trial)
			}
		}
		_, err := leader.protobuf.CoreV1().ConfigMaps(p.namespace).Create(leader.ctx, p.configMap("a"), metav1.CreateOptions{})
		must(t, err)
		trials = append(trials,
			trial{"update in protobuf", true, func(w writer) error {
				_, err := w.protobuf.CoreV1().ConfigMaps(p.namespace).Update(w.ctx, p.configMap("a"), metav1.UpdateOptions{})
				return err
			}},
			trial{"eviction", false, func(w writer) error {
				return w.protobuf.CoreV1().Pods(p.namespace).EvictV1(w.ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: w.victim}})
			}})
		for _, trial := range trials {
			refused := trial.byTerm || mode&fencing.ByPod != 0
			if err := trial.do(stale); fencing.IsStale(err) != refused || !refused && err != nil {
				t.Errorf("mode %d: a stale %s: %v, want it refused: %v", mode, trial.name, err, refused)
			}
			if err := trial.do(leader); err != nil {
				t.Errorf("mode %d: the leader's %s: %v", mode, trial.name, err)
			}
		}
	}
}

// A connection that was let through fails later, for the pod is on no node.
func TestFence_OfPodsGuardsConnections(t *testing.T) {
	t.Parallel()
	p := newPaddock(t, shared.get(t))
	p.fence.Resources = append(p.fence.Resources, schema.GroupResource{Resource: "pods"})
	p.enforce().makePods()
	p.crown("pod-a")
	leader, follower := kubernetes.NewForConfigOrDie(p.mighty("pod-a")), kubernetes.NewForConfigOrDie(p.mighty("pod-b"))
	ctx, cancel := within()
	defer cancel()
	for _, verb := range []string{http.MethodGet, http.MethodPost} {
		for _, subresource := range []string{"exec", "attach", "portforward"} {
			for _, client := range []kubernetes.Interface{leader, follower} {
				err := client.CoreV1().RESTClient().Verb(verb).Namespace(p.namespace).Resource("pods").Name("one").
					SubResource(subresource).Param("command", "ls").Param("stdout", "true").Do(ctx).Error()
				if err == nil || strings.Contains(err.Error(), "fenced off") != (client == follower) {
					t.Errorf("%s %s: %v, want it refused by the Fence: %v", verb, subresource, err, client == follower)
				}
			}
		}
	}
}

// warnings are what the API server sends beside its answers.
type warnings struct {
	mu    sync.Mutex
	texts []string
}

func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts = append(w.texts, text)
}

func (w *warnings) take() (texts []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	texts, w.texts = w.texts, nil
	return texts
}

func TestFence_ThatOnlyReportsWarnsAndRefusesNothing(t *testing.T) {
	t.Parallel()
	p := newPaddock(t, shared.get(t))
	p.fence.ReportOnly = true
	policy, binding, err := fencing.Policy(p.fence)
	must(t, err)
	ctx, cancel := within()
	defer cancel()
	admission := p.admin().AdmissionregistrationV1()
	_, err = admission.ValidatingAdmissionPolicies().Create(ctx, policy, metav1.CreateOptions{})
	must(t, err)
	_, err = admission.ValidatingAdmissionPolicyBindings().Create(ctx, binding, metav1.CreateOptions{})
	must(t, err)
	t.Cleanup(func() { // the test's own context has ended
		must(t, admission.ValidatingAdmissionPolicyBindings().Delete(context.Background(), policy.Name, metav1.DeleteOptions{}))
		must(t, admission.ValidatingAdmissionPolicies().Delete(context.Background(), policy.Name, metav1.DeleteOptions{}))
	})
	_, err = p.admin().CoordinationV1().Leases(p.namespace).Create(ctx, fencing.Lease(p.fence), metav1.CreateOptions{})
	must(t, err)
	p.hold("pod-a")
	heard := &warnings{}
	config := p.mighty("pod-b")
	config.WarningHandler = heard
	stale := kubernetes.NewForConfigOrDie(config)
	awaitAnswer(t, func(ctx context.Context) error {
		must(t, p.touch(ctx, stale))
		isOurs := func(text string) bool {
			return strings.Contains(text, "'"+policy.Name+"'") && strings.Contains(text, `its holder is "pod-a"`) && strings.Contains(text, `pod "pod-b"`)
		}
		if texts := heard.take(); !slices.ContainsFunc(texts, isOurs) {
			return fmt.Errorf("a stale write was let through with the warnings %q", texts)
		}
		return nil
	})
	config = p.mighty("pod-a")
	config.WarningHandler = heard
	must(t, p.touch(ctx, kubernetes.NewForConfigOrDie(config)))
	if texts := heard.take(); len(texts) > 0 {
		t.Errorf("the leader's write was let through with the warnings %q", texts)
	}
}
