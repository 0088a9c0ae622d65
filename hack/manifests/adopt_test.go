package manifests_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
)

// A patch is one entry of patches in the Kustomize component.
type patch struct {
	Target struct{ Group, Kind, Name string }
	Patch  string
}

// patchOf returns the patch of the component for objects of one kind.
func patchOf(t *testing.T, kind string) patch {
	t.Helper()
	text, err := os.ReadFile("adopt/kustomization.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var component struct {
		APIVersion, Kind string
		Patches          []patch
	}
	if err := yaml.UnmarshalStrict(text, &component); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(component.Patches, func(p patch) bool { return p.Target.Kind == kind })
	if i < 0 || component.Kind != "Component" {
		t.Fatalf("the file is no Component with a patch for %s", kind)
	}
	return component.Patches[i]
}

func TestComponent_GrantsAllRights(t *testing.T) {
	var operations []struct {
		Op, Path string
		Value    rbacv1.PolicyRule
	}
	if err := yaml.UnmarshalStrict([]byte(patchOf(t, "Role").Patch), &operations); err != nil {
		t.Fatal(err)
	}
	for _, right := range (rights.Uses{Events: true, PodEvents: true}).Rights() {
		granted := false
		for _, o := range operations {
			granted = granted || o.Op == "add" && o.Path == "/rules/-" && slices.Equal(o.Value.APIGroups, []string{right.Group}) &&
				slices.Equal(o.Value.Resources, []string{right.Resource}) && slices.Contains(o.Value.Verbs, right.Verb)
		}
		if !granted {
			t.Errorf("the component does not grant %s", right)
		}
	}
}

func TestComponent_SetsTheVariablesOfTheDeployment(t *testing.T) {
	var patched, deployment appsv1.Deployment
	if err := yaml.UnmarshalStrict([]byte(patchOf(t, "Deployment").Patch), &patched); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("deployment.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		if strings.Contains(document, "kind: Deployment") {
			if err := yaml.UnmarshalStrict([]byte(document), &deployment); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := deployment.Spec.Template.Spec.Containers[0].Env
	got := patched.Spec.Template.Spec.Containers[0].Env
	if len(want) != 3 || !slices.EqualFunc(want, got, func(a, b corev1.EnvVar) bool {
		return a.Name == b.Name && a.ValueFrom.FieldRef.FieldPath == b.ValueFrom.FieldRef.FieldPath
	}) {
		t.Errorf("the component sets %v, want %v", got, want)
	}
}

// kubectl must accept the component in an operator of the shape that kubebuilder
// generates, and existing variables must remain.
func TestComponent_IsAcceptedByKustomize(t *testing.T) {
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Skip("kubectl is not installed")
	}
	component, err := os.ReadFile("adopt/kustomization.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"adopt/kustomization.yaml":   string(component),
		"default/kustomization.yaml": "namePrefix: operator-\nresources:\n- ../objects\ncomponents:\n- ../adopt\n",
		"objects/kustomization.yaml": "resources:\n- objects.yaml\n",
		"objects/objects.yaml": `apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: leader-election-role}
rules:
- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: controller-manager}
spec:
  template:
    spec:
      containers:
      - name: manager
        env: [{name: OTHER, value: kept}]
`,
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), kubectl, "kustomize", filepath.Join(dir, "default")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{"- watch\n", "name: POD_NAME\n", "name: POD_NAMESPACE\n", "name: POD_UID\n", "value: kept\n", "fieldPath: metadata.uid\n"} {
		if strings.Count(string(out), want) != 1 {
			t.Errorf("the result contains %q %d times, want once:\n%s", want, strings.Count(string(out), want), out)
		}
	}
}
