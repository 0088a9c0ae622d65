package manifests

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
)

func documents(t *testing.T, file string) (all []*unstructured.Unstructured) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096)
	for {
		var object unstructured.Unstructured
		err := decoder.Decode(&object)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, &object)
	}
}

// definition is a template for the CustomResourceDefinitions of the Prometheus operator,
// which are not part of Kubernetes. Each definition has the operator's name for the
// resource, and accepts every field.
const definition = `{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
"metadata": {"name": "%[1]ss.monitoring.coreos.com"},
"spec": {"group": "monitoring.coreos.com", "scope": "Namespaced",
 "names": {"plural": "%[1]ss", "singular": "%[1]s", "kind": "%[2]s", "listKind": "%[2]sList"},
 "versions": [{"name": "v1", "served": true, "storage": true,
  "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}}`

// A cluster is a control plane to which the tests apply manifests.
type cluster struct {
	*envtest.ControlPlane
	client dynamic.Interface
	mapper *restmapper.DeferredDiscoveryRESTMapper
}

// newCluster starts a control plane and creates the namespace my-namespace. The namespace
// admits only Pods that satisfy the Pod Security profile "restricted".
func newCluster(t *testing.T, options envtest.Options) *cluster {
	t.Helper()
	cp, err := envtest.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cp.Stop(); err != nil {
			t.Error(err)
		}
	})
	c := &cluster{ControlPlane: cp}
	config := cp.Admin().Config()
	if c.client, err = dynamic.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	c.mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(discovery.NewDiscoveryClientForConfigOrDie(config)))
	c.applyText(t, `{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "my-namespace",
 "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}`)
	return c
}

// apply creates object in the cluster. The API server rejects the object if it has an
// unknown field.
func (c *cluster) apply(t *testing.T, object *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	kind := object.GroupVersionKind()
	mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		t.Fatal(err)
	}
	created, err := c.client.Resource(mapping.Resource).Namespace(object.GetNamespace()).Create(t.Context(), object,
		metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
	if err != nil {
		t.Fatalf("%s %s: %v", object.GetKind(), object.GetName(), err)
	}
	return created
}

func (c *cluster) applyText(t *testing.T, text string) {
	t.Helper()
	var object unstructured.Unstructured
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		t.Fatal(err)
	}
	c.apply(t, &object)
}

func (c *cluster) applyObject(t *testing.T, object any) {
	t.Helper()
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	c.applyText(t, string(text))
}

// applied lists the YAML files in the order in which TestManifests_AreAccepted applies
// them.
var applied = []string{"deployment.yaml", "rbac.yaml", "fencing-anchor.yaml", "fencing-lease.yaml", "fencing.yaml", "flowschema.yaml",
	"leader-service.yaml", "podmonitor.yaml", "prometheusrule.yaml"}

func TestManifests_AreAccepted(t *testing.T) {
	c := newCluster(t, envtest.Options{})
	for _, kind := range []string{"PrometheusRule", "PodMonitor"} {
		c.applyText(t, fmt.Sprintf(definition, strings.ToLower(kind), kind))
		awaitKind(t, c.mapper, kind)
	}
	for _, file := range applied {
		objects := documents(t, file)
		if len(objects) == 0 {
			t.Errorf("%s is empty", file)
		}
		for _, object := range objects {
			c.apply(t, object)
		}
	}
	missing, err := rights.MissingOf(t.Context(), c.Admin().Clientset(), "my-namespace", "my-app", uses)
	if err != nil || len(missing) > 0 {
		t.Errorf("the service account lacks %v, %v", missing, err)
	}
	t.Run("the Service selects the leader", func(t *testing.T) { serviceSelectsLeader(t, c) })
}

func awaitKind(t *testing.T, mapper *restmapper.DeferredDiscoveryRESTMapper, kind string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		mapper.Reset()
		_, err := mapper.RESTMapping(schema.GroupKind{Group: "monitoring.coreos.com", Kind: kind}, "v1")
		switch {
		case err == nil:
			return
		case time.Now().After(deadline):
			t.Fatal(err)
		}
	}
}

var uses = rights.Uses{LeaseNamespace: "my-namespace", LeaseName: "my-app-leader", Events: true, ProofOfDeath: true}

// as converts object into a value of type T. It fails the test if object has a field that
// T does not have.
func as[T any](t *testing.T, object *unstructured.Unstructured) *T {
	t.Helper()
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	typed := new(T)
	if err := yaml.UnmarshalStrict(text, typed); err != nil {
		t.Fatal(err)
	}
	return typed
}

func TestManifests_AreWhatTheCodeMakes(t *testing.T) {
	roles, bindings := uses.Roles("my-app-leader", "my-namespace", "my-app")
	objects := documents(t, "rbac.yaml")
	if diff := cmp.Diff(roles[0], as[rbacv1.Role](t, objects[0])); diff != "" {
		t.Errorf("rbac.yaml, -code +file:\n%s", diff)
	}
	if diff := cmp.Diff(bindings[0], as[rbacv1.RoleBinding](t, objects[1])); diff != "" {
		t.Errorf("rbac.yaml, -code +file:\n%s", diff)
	}
	fence := fencing.Fence{
		LeaseNamespace: "my-namespace", LeaseName: "my-app-leader", ServiceAccount: "my-app",
		Resources: []schema.GroupResource{{Resource: "configmaps"}}, Namespaces: []string{"my-namespace"},
	}
	policy, binding, err := fencing.Policy(fence)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fencing.Lease(fence), only[coordinationv1.Lease](t, "fencing-lease.yaml", "Lease")); diff != "" {
		t.Errorf("fencing-lease.yaml, -code +file:\n%s", diff)
	}
	samePolicy(t, "fencing.yaml", documents(t, "fencing.yaml"), policy, binding)
	policy, binding = fencing.AnchorPolicy()
	samePolicy(t, "fencing-anchor.yaml", documents(t, "fencing-anchor.yaml"), policy, binding)
}

// "kubectl delete -f fencing.yaml" must not delete the Lease.
func TestFencing_IsDeletedWithoutTheLease(t *testing.T) {
	var deleted []string
	for _, object := range documents(t, "fencing.yaml") {
		deleted = append(deleted, strings.ToLower(object.GetKind())+" "+object.GetName())
	}
	slices.Sort(deleted)
	const name = "incumbent-fencing.my-namespace.my-app-leader"
	want := []string{"validatingadmissionpolicy " + name, "validatingadmissionpolicybinding " + name}
	if diff := cmp.Diff(want, deleted); diff != "" {
		t.Errorf("kubectl delete -f fencing.yaml, -want +deletes:\n%s", diff)
	}
	const command = "kubectl delete validatingadmissionpolicybinding,validatingadmissionpolicy " + name
	for _, file := range []string{"README.md", "fencing.yaml"} {
		if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), command) {
			t.Errorf("%s (%v) does not contain\n%s", file, err, command)
		}
	}
}

// The variable applied must list every YAML file of this folder, because
// TestManifests_AreAccepted applies only the listed files.
func TestManifests_AreAllApplied(t *testing.T) {
	files, err := filepath.Glob("*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(files, slices.Sorted(slices.Values(applied))); diff != "" {
		t.Errorf("-folder +applied:\n%s", diff)
	}
}

func samePolicy(t *testing.T, file string, objects []*unstructured.Unstructured, policy *admissionv1.ValidatingAdmissionPolicy, binding *admissionv1.ValidatingAdmissionPolicyBinding) {
	t.Helper()
	if len(objects) != 2 { // "kubectl delete -f" would also delete a Lease in this file
		t.Fatalf("%s has %d documents, want a policy and its binding", file, len(objects))
	}
	if diff := cmp.Diff(policy, as[admissionv1.ValidatingAdmissionPolicy](t, objects[0])); diff != "" {
		t.Errorf("%s, -code +file:\n%s", file, diff)
	}
	if diff := cmp.Diff(binding, as[admissionv1.ValidatingAdmissionPolicyBinding](t, objects[1])); diff != "" {
		t.Errorf("%s, -code +file:\n%s", file, diff)
	}
}
