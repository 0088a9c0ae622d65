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
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
)

// unrestricted returns the client configuration of a replica that has all
// rights.
func (p *fencedCluster) unrestricted(name string) *rest.Config {
	client := p.cp.Client("pod "+name, envtest.AsPod(p.account, name))
	p.Cleanup(client.Close)
	config := client.Config()
	config.Impersonate.Groups = append(config.Impersonate.Groups, "system:masters")
	return config
}

// writer contains the clients of a replica in one term. victim is the
// name of a pod that the writer evicts.
type writer struct {
	termClient
	objects  dynamic.Interface
	protobuf kubernetes.Interface
	victim   string
}

func (p *fencedCluster) writer(w termClient, name, victim string) writer {
	p.Helper()
	config := p.unrestricted(name)
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

// custom is a type of custom resource. Its scope is "Namespaced" or "Cluster".
type custom struct {
	schema.GroupVersionResource
	scope string
}

// define creates a CustomResourceDefinition with the subresources status and
// scale.
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
		must(t, definitions.Delete(context.Background(), definition.GetName(), metav1.DeleteOptions{})) // t.Context() is already done here
	})
	return custom{schema.GroupVersionResource{Group: group, Version: "v1", Resource: plural}, scope}
}

// kindWrite is a kind of write that the test sends to the API server. The field
// byTerm is true if a Fence with mode ByTerm refuses stale writes of this kind.
type kindWrite struct {
	name   string
	byTerm bool
	do     func(w writer) error
}

// kindWrites returns begin, which creates a custom resource, and
// the writes that the test sends afterwards. The last of these writes removes
// the custom resource.
func (c custom) kindWrites(namespace, name string) (begin func(w writer) error, kindWrites []kindWrite) {
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
	return create(map[string]any{"name": name, "finalizers": []any{"example.com/kept"}}), []kindWrite{
		{"create", false, create(map[string]any{"generateName": name + "-"})},
		{"merge patch", true, patch(types.MergePatchType, `{"spec":{"a":1}}`)},
		{"patch of status", false, patch(types.MergePatchType, `{"status":{"a":1}}`, "status")},
		{"patch of scale", false, patch(types.MergePatchType, `{"spec":{"replicas":2}}`, "scale")},
		{"JSON patch", true, patch(types.JSONPatchType, `[{"op":"add","path":"/spec/b","value":1}]`)},
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
		p := newFencedCluster(t, cp)
		p.fence.Mode = mode
		p.fence.Resources = []schema.GroupResource{{Resource: "configmaps"}, {Resource: "pods"}, customs[0].GroupResource(), customs[1].GroupResource()}
		p.enforce()
		p.makePods()
		first := p.lead("pod-a")
		first.stop()
		second := p.lead("pod-b")
		stale, leader := p.writer(first, "pod-a", "one"), p.writer(second, "pod-b", "two")

		var kindWrites []kindWrite
		for _, resource := range customs {
			begin, more := resource.kindWrites(p.namespace, p.namespace)
			eventually(t, func(context.Context) error { return begin(leader) }) // retry until the API server serves the resource
			for _, kindWrite := range more {
				kindWrite.name += " of " + resource.Resource
				kindWrites = append(kindWrites, kindWrite)
			}
		}
		_, err := leader.protobuf.CoreV1().ConfigMaps(p.namespace).Create(leader.ctx, p.configMap("a"), metav1.CreateOptions{})
		must(t, err)
		kindWrites = append(kindWrites,
			kindWrite{"update in protobuf", true, func(w writer) error {
				_, err := w.protobuf.CoreV1().ConfigMaps(p.namespace).Update(w.ctx, p.configMap("a"), metav1.UpdateOptions{})
				return err
			}},
			kindWrite{"eviction", false, func(w writer) error {
				return w.protobuf.CoreV1().Pods(p.namespace).EvictV1(w.ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: w.victim}})
			}})
		for _, kindWrite := range kindWrites {
			refused := kindWrite.byTerm || mode&fencing.ByPod != 0
			if err := kindWrite.do(stale); fencing.IsStale(err) != refused || !refused && err != nil {
				t.Errorf("mode %d: a stale %s: %v, want it refused: %v", mode, kindWrite.name, err, refused)
			}
			if err := kindWrite.do(leader); err != nil {
				t.Errorf("mode %d: the leader's %s: %v", mode, kindWrite.name, err)
			}
		}
	}
}

// The pods in this test run on no node. If the Fence accepts a connection, the
// connection fails later with an error that does not come from the Fence.
func TestFence_OfPodsGuardsConnections(t *testing.T) {
	t.Parallel()
	p := newFencedCluster(t, shared.get(t))
	p.fence.Resources = append(p.fence.Resources, schema.GroupResource{Resource: "pods"})
	p.enforce().makePods()
	p.setHolder("pod-a")
	leader, follower := kubernetes.NewForConfigOrDie(p.unrestricted("pod-a")), kubernetes.NewForConfigOrDie(p.unrestricted("pod-b"))
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

// warnings collects the warnings that the API server returns.
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
	p := newFencedCluster(t, shared.get(t))
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
	t.Cleanup(func() { // ctx is already done in this function
		must(t, admission.ValidatingAdmissionPolicyBindings().Delete(context.Background(), policy.Name, metav1.DeleteOptions{}))
		must(t, admission.ValidatingAdmissionPolicies().Delete(context.Background(), policy.Name, metav1.DeleteOptions{}))
	})
	_, err = p.admin().CoordinationV1().Leases(p.namespace).Create(ctx, fencing.Lease(p.fence), metav1.CreateOptions{})
	must(t, err)
	p.writeHolder("pod-a")
	heard := &warnings{}
	config := p.unrestricted("pod-b")
	config.WarningHandler = heard
	stale := kubernetes.NewForConfigOrDie(config)
	eventually(t, func(ctx context.Context) error {
		must(t, p.touch(ctx, stale))
		isOurs := func(text string) bool {
			return strings.Contains(text, "'"+policy.Name+"'") && strings.Contains(text, `its holder is "pod-a"`) && strings.Contains(text, `pod "pod-b"`)
		}
		if texts := heard.take(); !slices.ContainsFunc(texts, isOurs) {
			return fmt.Errorf("a stale write was accepted with the warnings %q", texts)
		}
		return nil
	})
	config = p.unrestricted("pod-a")
	config.WarningHandler = heard
	must(t, p.touch(ctx, kubernetes.NewForConfigOrDie(config)))
	if texts := heard.take(); len(texts) > 0 {
		t.Errorf("the leader's write was accepted with the warnings %q", texts)
	}
}

// Package fencing gets its list of Kubernetes resources from client-go. The
// test compares the list with the resources that the API server serves.
func TestFence_KnowsTheResourcesThatAreServed(t *testing.T) {
	t.Parallel()
	discovery := shared.get(t).Admin().Clientset().Discovery()
	_, lists, err := discovery.ServerGroupsAndResources()
	must(t, err)
	served, versions := map[schema.GroupResource]bool{}, map[schema.GroupVersion]bool{}
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		must(t, err)
		versions[version] = true
		for _, r := range list.APIResources {
			resource := version.WithResource(r.Name).GroupResource()
			served[resource] = true
			writable := slices.ContainsFunc(r.Verbs, func(verb string) bool { return verb == "create" || verb == "update" })
			if why := refusal(resource); writable && !strings.Contains(r.Name, "/") && why != "" && !isByDesign(why) {
				t.Errorf("%s is served by %s, but package fencing refuses it: %s", resource, version, why)
			}
		}
	}

	server, err := discovery.ServerVersion()
	must(t, err)
	if server.GitVersion != "v"+envtest.DefaultVersion {
		t.Skipf("%s need not serve what client-go knows", server.GitVersion)
	}
	for version := range versions {
		for kind := range scheme.Scheme.KnownTypes(version) {
			plural, singular := meta.UnsafeGuessKindToResource(version.WithKind(kind))
			for _, resource := range []schema.GroupResource{plural.GroupResource(), singular.GroupResource()} {
				if refusal(resource) == "" && !served[resource] {
					t.Errorf("%s of %s is not served, but package fencing accepts it", resource, version)
				}
			}
		}
	}
}

// refusal returns the reason why package fencing does not guard a resource. It
// returns "" if package fencing guards the resource.
func refusal(resource schema.GroupResource) string {
	_, _, err := fencing.Policy(fencing.Fence{
		LeaseNamespace: "ns", LeaseName: "app", ServiceAccount: "operator", Mode: fencing.ByTerm, Resources: []schema.GroupResource{resource},
	})
	if err == nil {
		return ""
	}
	return err.Error()
}

// isByDesign reports whether package fencing intends to refuse resources for
// this reason.
func isByDesign(reason string) bool {
	return slices.ContainsFunc([]string{"never guarded", "evaluates no policy for policies", "list pods"}, func(part string) bool { return strings.Contains(reason, part) })
}
