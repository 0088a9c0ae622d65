package main

import (
	"bytes"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/haproxy-template-ic/incumbent/hack/manifests"
	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
)

const otherNames = "manifests --app api -n team-a --lease api-election --service-account robot --image ghcr.io/acme/api@sha256:0123"

// decode decodes YAML documents, and fails the test if a document has unknown or
// duplicate fields. In documents for the Prometheus operator, unknown fields do not
// fail the test, because the scheme does not contain the types of these documents.
func decode(t *testing.T, text string) (objects []runtime.Object) {
	t.Helper()
	strict := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	for document := range strings.SplitSeq(text, "\n---\n") {
		object, _, err := strict.Decode([]byte(document), nil, nil)
		if runtime.IsNotRegisteredError(err) {
			unknown := &unstructured.Unstructured{}
			err = yaml.UnmarshalStrict([]byte(document), &unknown.Object)
			object = unknown
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		objects = append(objects, object)
	}
	return objects
}

// one returns the only object of type T. It fails the test if there is not exactly one
// such object.
func one[T runtime.Object](t *testing.T, objects []runtime.Object) (found T) {
	t.Helper()
	n := 0
	for _, object := range objects {
		if typed, is := object.(T); is {
			found, n = typed, n+1
		}
	}
	if n != 1 {
		t.Fatalf("%d objects of type %T, want 1", n, found)
	}
	return found
}

func TestManifests_KeepNoOldName(t *testing.T) {
	code, out, errOut := call(t, otherNames)
	if code != 0 || errOut != "" {
		t.Fatalf("exit code %d, %s", code, errOut)
	}
	for _, old := range []string{"my-app", "my-namespace", "registry.example.com"} {
		for line := range strings.Lines(out) {
			if strings.Contains(line, old) {
				t.Errorf("%q is left in %q", old, line)
			}
		}
	}
	for _, object := range decode(t, out) {
		meta, ok := object.(interface{ GetNamespace() string })
		if !ok {
			t.Fatalf("%T has no metadata", object)
		}
		if namespace := meta.GetNamespace(); namespace != "" && namespace != "team-a" {
			t.Errorf("%T is in namespace %q", object, namespace)
		}
	}
}

// containerOf returns the value of POD_CONTAINER.
func containerOf(c corev1.Container) string {
	for _, env := range c.Env {
		if env.Name == "POD_CONTAINER" {
			return env.Value
		}
	}
	return ""
}

func TestManifests_NamesAreWhereTheyBelong(t *testing.T) {
	_, out, _ := call(t, otherNames)
	objects := decode(t, out)
	uses := rights.Uses{LeaseNamespace: "team-a", LeaseName: "api-election", Events: true, ProofOfDeath: true}
	roles, bindings := uses.Roles("api-election", "team-a", "robot")
	fence := fencing.Fence{
		LeaseNamespace: "team-a", LeaseName: "api-election", ServiceAccount: "robot",
		Resources: []schema.GroupResource{{Resource: "configmaps"}}, Namespaces: []string{"team-a"},
	}
	policy, binding, err := fencing.Policy(fence)
	if err != nil {
		t.Fatal(err)
	}
	same(t, roles[0], one[*rbacv1.Role](t, objects))
	same(t, bindings[0], one[*rbacv1.RoleBinding](t, objects))
	same(t, fencing.Lease(fence), one[*coordinationv1.Lease](t, objects))
	anchor, anchorBinding := fencing.AnchorPolicy()
	objects = slices.DeleteFunc(objects, func(o runtime.Object) bool {
		return cmp.Equal(o, runtime.Object(anchor)) || cmp.Equal(o, runtime.Object(anchorBinding))
	})
	same(t, policy, one[*admissionv1.ValidatingAdmissionPolicy](t, objects))
	same(t, binding, one[*admissionv1.ValidatingAdmissionPolicyBinding](t, objects))

	deployment, account := one[*appsv1.Deployment](t, objects), one[*corev1.ServiceAccount](t, objects)
	pod := deployment.Spec.Template.Spec
	labels := map[string]string{"app.kubernetes.io/name": "api"}
	for what, got := range map[string]string{
		"the Deployment: api": deployment.Name, "the container: api": pod.Containers[0].Name, "POD_CONTAINER: api": containerOf(pod.Containers[0]), "the image: ghcr.io/acme/api@sha256:0123": pod.Containers[0].Image,
		"the account of the Pods: robot": pod.ServiceAccountName, "the service account: robot": account.Name,
		"the budget: api":                      one[*policyv1.PodDisruptionBudget](t, objects).Name,
		"the Service: api-election":            one[*corev1.Service](t, objects).Name,
		"the account of the FlowSchema: robot": one[*flowcontrolv1.FlowSchema](t, objects).Spec.Rules[0].Subjects[0].ServiceAccount.Name,
	} {
		if _, want, _ := strings.Cut(what, ": "); got != want {
			t.Errorf("%s, not %q", what, got)
		}
	}
	same(t, labels, deployment.Spec.Template.Labels)
	labels["example.com/api-election"] = "true"
	same(t, labels, one[*corev1.Service](t, objects).Spec.Selector)
	if want := `absent(incumbent_leader_election_is_leader{lease_namespace="team-a", lease_name="api-election"})`; !strings.Contains(out, want) {
		t.Errorf("no alert contains %s", want)
	}
}

func same[T any](t *testing.T, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +printed:\n%s", diff)
	}
}

// If the flags contain the example names of the manifest files, the command must print
// the files unchanged.
func TestManifests_PrintTheFiles(t *testing.T) {
	for _, m := range allManifests {
		want, err := manifests.Files.ReadFile(m.file())
		if err != nil {
			t.Fatal(err)
		}
		code, out, errOut := call(t, "manifests --app my-app -n my-namespace "+m.name)
		if code != 0 {
			t.Fatal(errOut)
		}
		if _, body, _ := strings.Cut(out, "\n"); body != string(want) {
			t.Errorf("%s: -file +printed:\n%s", m.file(), cmp.Diff(string(want), body))
		}
	}
}

func TestManifests_AreAllFiles(t *testing.T) {
	files, err := fs.Glob(manifests.Files, "*")
	if err != nil {
		t.Fatal(err)
	}
	var known []string
	for _, m := range allManifests {
		known = append(known, m.file())
	}
	slices.Sort(known)
	if diff := cmp.Diff(files, known); diff != "" {
		t.Errorf("-files +printed:\n%s", diff)
	}
}

func TestManifests_ChosenOnesAreInTheOrderOfApplication(t *testing.T) {
	code, out, errOut := call(t, "manifests fencing rbac fencing-lease --app a-b -n ns")
	if code != 0 {
		t.Fatal(errOut)
	}
	var kinds []string
	for _, object := range decode(t, out) {
		kinds = append(kinds, object.GetObjectKind().GroupVersionKind().Kind)
	}
	same(t, []string{"Role", "RoleBinding", "Lease", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}, kinds)
	if !bytes.Contains([]byte(out), []byte("name: a-b-leader\n")) {
		t.Errorf("the Lease is not named after the application:\n%s", out)
	}
}

func TestManifests_RefuseInvalidNames(t *testing.T) {
	for args, want := range map[string]string{
		"":                              `--app ("") is missing: name the application`,
		"--app My_App":                  `--app ("My_App") is not valid: a lowercase RFC 1123 label`,
		"--app 123":                     `--app ("123") is not valid: YAML does not read it as a text`,
		"--app true":                    `--app ("true") is not valid: YAML does not read it as a text`,
		"--app a -n Team":               `--namespace ("Team") is not valid`,
		"--app a --image {a}":           `--image ("{a}") is not valid: YAML does not read it as a text`,
		"--app a --image a\u202eb":      `--image ("a\u202eb") is not valid: it has a character without a visible form`,
		"--app a --service-account x/y": `--service-account ("x/y") is not valid`,
		"--app a --lease a.example.com": `--lease ("a.example.com") cannot be the name of the Service`,
		"--app a deploymnt":             `there is no manifest "deploymnt": choose from deployment, rbac,`,
	} {
		refuses(t, "manifests "+args, want)
	}
	if code, _, errOut := call(t, "manifests rbac --app a --lease a.example.com"); code != 0 {
		t.Error(errOut)
	}
}
