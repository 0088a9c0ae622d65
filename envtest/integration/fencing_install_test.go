package integration_test

import (
	"context"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
	crenvtest "sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
)

// The test uses the control plane of controller-runtime's envtest, like the
// tests of many operators.
func TestInstallFence_WorksOnControllerRuntimesControlPlane(t *testing.T) {
	assets, err := envtest.AssetsDir()
	must(t, err)
	environment := &crenvtest.Environment{BinaryAssetsDirectory: assets}
	cfg, err := environment.Start()
	must(t, err)
	t.Cleanup(func() { must(t, environment.Stop()) })

	account := envtest.ServiceAccount{Namespace: "default", Name: "my-operator"}
	account.Allow(t, cfg, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"create"}})
	envtest.InstallFence(t, fencing.Fence{
		LeaseNamespace: "default", LeaseName: "my-operator", ServiceAccount: account.Name,
		Resources: []schema.GroupResource{{Resource: "configmaps"}},
	}, cfg)
	a, b := account.Pod(cfg, "pod-a"), account.Pod(cfg, "pod-b")

	leases := kubernetes.NewForConfigOrDie(cfg).CoordinationV1().Leases("default")
	lease, err := leases.Get(t.Context(), "my-operator", metav1.GetOptions{})
	must(t, err)
	lease.Spec = coordinationv1.LeaseSpec{HolderIdentity: ptr.To("pod-a_1")}
	_, err = leases.Update(t.Context(), lease, metav1.UpdateOptions{})
	must(t, err)
	asA, asB := kubernetes.NewForConfigOrDie(a).CoreV1(), kubernetes.NewForConfigOrDie(b).CoreV1()
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "x"}}
	eventually(t, func(ctx context.Context) error {
		_, err := asA.ConfigMaps("default").Create(ctx, object, metav1.CreateOptions{})
		return err
	})
	_, err = asB.ConfigMaps("default").Create(t.Context(), object, metav1.CreateOptions{})
	if !fencing.IsStale(err) || !strings.Contains(err.Error(), `its holder is "pod-a_1"`) {
		t.Errorf("pod-a leads, and the reply to pod-b's write is %v", err)
	}
}
