package integration_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	appsv1apply "k8s.io/client-go/applyconfigurations/apps/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
)

// fencedCluster is a namespace with a Fence and a service account. All replicas
// use this service account.
type fencedCluster struct {
	*testing.T
	cp        *envtest.ControlPlane
	namespace string
	account   envtest.ServiceAccount
	fence     fencing.Fence
	terms     int
}

// everything is the RBAC rule of the replicas.
var everything = rbacv1.PolicyRule{
	Verbs: []string{"*"}, APIGroups: []string{"", "apps", "coordination.k8s.io", "events.k8s.io"},
	Resources: []string{"*"},
}

// newFencedCluster returns a fencedCluster whose Fence is not enforced yet.
func newFencedCluster(t *testing.T, cp *envtest.ControlPlane) *fencedCluster {
	t.Helper()
	p := &fencedCluster{T: t, cp: cp, namespace: cp.Namespace(t)}
	p.account = cp.ServiceAccount(t, "operator", p.namespace, everything)
	p.fence = fencing.Fence{
		LeaseNamespace: p.namespace, LeaseName: leaseName, ServiceAccount: "operator",
		Resources:  []schema.GroupResource{{Resource: "configmaps"}, {Group: "apps", Resource: "deployments"}},
		Namespaces: []string{p.namespace},
	}
	return p
}

func (p *fencedCluster) enforce() *fencedCluster {
	p.Helper()
	p.cp.Fence(p, p.fence)
	return p
}

// pod returns a client with the identity of the pod with this name.
func (p *fencedCluster) pod(name string, options ...envtest.ClientOption) kubernetes.Interface {
	client := p.cp.Client("pod "+name, append(options, envtest.AsPod(p.account, name))...)
	p.Cleanup(client.Close)
	return client.Clientset()
}

func (p *fencedCluster) admin() kubernetes.Interface { return p.cp.Admin().Clientset() }

// setHolder changes the holder of the Lease, and returns when API server 0 has
// observed the change.
func (p *fencedCluster) setHolder(holder string) {
	p.Helper()
	p.writeHolder(holder)
	name, _, _ := strings.Cut(holder, "_")
	pod := p.pod(name)
	eventually(p.T, func(ctx context.Context) error {
		err := p.touch(ctx, pod)
		if err != nil && !fencing.IsStale(err) {
			p.Errorf("the Lease names %q, and the pod's first write failed: %v", holder, err)
		}
		return err
	})
}

// writeHolder changes the holder of the Lease. It does not wait until the API
// servers have observed the change.
func (p *fencedCluster) writeHolder(holder string) *coordinationv1.Lease {
	p.Helper()
	ctx, cancel := within()
	defer cancel()
	patch := []byte(`{"spec":{"holderIdentity":"` + holder + `"}}`)
	lease, err := p.admin().CoordinationV1().Leases(p.namespace).Patch(ctx, leaseName, types.MergePatchType, patch, metav1.PatchOptions{})
	must(p.T, err)
	return lease
}

// touch sends a write as a dry run, which changes no object.
func (p *fencedCluster) touch(ctx context.Context, client kubernetes.Interface) error {
	_, err := client.CoreV1().ConfigMaps(p.namespace).Create(ctx, p.configMap("touch"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}

func (p *fencedCluster) configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: p.namespace}}
}

func (p *fencedCluster) deployment(name string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: p.namespace},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
			},
		},
	}
}

// operation is a kind of write that the tests send to the API server.
type operation struct {
	name string
	do   func(ctx context.Context, client kubernetes.Interface) error
}

// operations returns one write of each kind for a guarded object. Send the
// writes in the returned order, because the first write creates the object.
func (p *fencedCluster) operations(name string) []operation {
	merge := []byte(`{"metadata":{"labels":{"touched":"true"}}}`)
	return []operation{
		{"create", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.AppsV1().Deployments(p.namespace).Create(ctx, p.deployment(name), metav1.CreateOptions{})
			return err
		}},
		{"update", func(ctx context.Context, c kubernetes.Interface) error {
			d := p.deployment(name)
			d.Labels = map[string]string{"updated": "true"}
			_, err := c.AppsV1().Deployments(p.namespace).Update(ctx, d, metav1.UpdateOptions{})
			return err
		}},
		{"patch", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.AppsV1().Deployments(p.namespace).Patch(ctx, name, types.StrategicMergePatchType, merge, metav1.PatchOptions{})
			return err
		}},
		{"server-side apply", func(ctx context.Context, c kubernetes.Interface) error {
			config := appsv1apply.Deployment(name, p.namespace).WithLabels(map[string]string{"applied": "true"})
			_, err := c.AppsV1().Deployments(p.namespace).Apply(ctx, config, metav1.ApplyOptions{FieldManager: "test", Force: true})
			return err
		}},
		{"update of status", func(ctx context.Context, c kubernetes.Interface) error {
			d := p.deployment(name)
			d.Status.Replicas = 1
			_, err := c.AppsV1().Deployments(p.namespace).UpdateStatus(ctx, d, metav1.UpdateOptions{})
			return err
		}},
		{"patch of status", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.AppsV1().Deployments(p.namespace).Patch(ctx, name, types.MergePatchType, []byte(`{"status":{"replicas":2}}`), metav1.PatchOptions{}, "status")
			return err
		}},
		{"update of scale", func(ctx context.Context, c kubernetes.Interface) error {
			scale := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: p.namespace}, Spec: autoscalingv1.ScaleSpec{Replicas: 3}}
			_, err := c.AppsV1().Deployments(p.namespace).UpdateScale(ctx, name, scale, metav1.UpdateOptions{})
			return err
		}},
		{"patch of scale", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.AppsV1().Deployments(p.namespace).Patch(ctx, name, types.MergePatchType, []byte(`{"spec":{"replicas":4}}`), metav1.PatchOptions{}, "scale")
			return err
		}},
		{"delete", func(ctx context.Context, c kubernetes.Interface) error {
			return c.AppsV1().Deployments(p.namespace).Delete(ctx, name, metav1.DeleteOptions{})
		}},
		{"create again", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.AppsV1().Deployments(p.namespace).Create(ctx, p.deployment(name), metav1.CreateOptions{})
			return err
		}},
		{"deletecollection", func(ctx context.Context, c kubernetes.Interface) error {
			return c.AppsV1().Deployments(p.namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
		}},
	}
}

func TestFence_LetsOnlyTheLeaderWriteByEveryVerb(t *testing.T) {
	t.Parallel()
	p := newFencedCluster(t, shared.get(t)).enforce()
	p.setHolder("pod-a_7f9c")
	leader, follower := p.pod("pod-a"), p.pod("pod-b")
	ctx, cancel := within()
	defer cancel()
	for _, operation := range p.operations("subject") {
		err := operation.do(ctx, follower)
		if !fencing.IsStale(err) || !apierrors.IsForbidden(err) {
			t.Errorf("the follower's %s: %v, want it refused as stale", operation.name, err)
		}
		for _, name := range []string{p.namespace + "/" + leaseName, `"pod-a_7f9c"`, `pod "pod-b"`} {
			if err != nil && !strings.Contains(err.Error(), name) {
				t.Errorf("the refusal of the follower's %s does not name %s: %v", operation.name, name, err)
			}
		}
		if err := operation.do(ctx, leader); err != nil {
			t.Errorf("the leader's %s: %v", operation.name, err)
		}
	}
}

func TestFence_TakesNoPodForAnotherWithASimilarName(t *testing.T) {
	t.Parallel()
	p := newFencedCluster(t, shared.get(t)).enforce()
	for _, tc := range []struct {
		holder, pod string
		leads       bool
	}{
		{"web-1", "web-1", true},
		{"web-1_cf2a", "web-1", true},
		{"web-1", "web-10", false},
		{"web-1_cf2a", "web-10", false},
		{"web-10", "web-1", false},
		{"web-10_cf2a", "web-1", false},
		{"web-10_cf2a", "web-10", true},
		{"web-1-x", "web-1", false},
		{"web-1.x", "web-1", false},
		{"web-1_x_y", "web-1", true},
	} {
		p.setHolder(tc.holder)
		ctx, cancel := within()
		if err := p.touch(ctx, p.pod(tc.pod)); (err == nil) != tc.leads || err != nil && !fencing.IsStale(err) {
			t.Errorf("the Lease names %q, and the write of pod %q: %v, want it accepted: %v", tc.holder, tc.pod, err, tc.leads)
		}
		cancel()
	}
}

func TestFence_TouchesNothingElse(t *testing.T) {
	t.Parallel()
	p := newFencedCluster(t, shared.get(t)).enforce()
	p.setHolder("pod-a")
	other := p.cp.Namespace(t)
	p.cp.User(t, "system:serviceaccount:"+p.namespace+":operator", other, everything)
	bystander := p.cp.Client("bystander", envtest.AsPod(p.cp.ServiceAccount(t, "bystander", p.namespace, everything), "pod-b")).Clientset()
	follower := p.pod("pod-b")
	ctx, cancel := within()
	defer cancel()
	core := follower.CoreV1()
	for name, do := range map[string]func() error{
		"read": func() error { _, err := core.ConfigMaps(p.namespace).List(ctx, metav1.ListOptions{}); return err },
		"write of a resource that is not guarded": func() error {
			_, err := core.Secrets(p.namespace).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}}, metav1.CreateOptions{})
			return err
		},
		"write in a namespace that is not guarded": func() error {
			_, err := core.ConfigMaps(other).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "c"}}, metav1.CreateOptions{})
			return err
		},
		"event": func() error {
			event := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: "e", Namespace: p.namespace}, InvolvedObject: corev1.ObjectReference{Namespace: p.namespace}}
			_, err := core.Events(p.namespace).Create(ctx, event, metav1.CreateOptions{})
			return err
		},
		"write of the Lease": func() error {
			_, err := follower.CoordinationV1().Leases(p.namespace).Patch(ctx, leaseName, types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{})
			return err
		},
		"write of another service account": func() error { return p.touch(ctx, bystander) },
		"write of an administrator":        func() error { return p.touch(ctx, p.admin()) },
	} {
		if err := do(); err != nil {
			t.Errorf("a follower's %s: %v", name, err)
		}
	}
}

func TestFence_WithoutAHolderRefusesAllPods(t *testing.T) {
	t.Parallel()
	p := newFencedCluster(t, shared.get(t)).enforce()
	ctx, cancel := within()
	defer cancel()

	err := p.touch(ctx, p.pod("pod-a"))
	if !fencing.IsStale(err) || !strings.Contains(err.Error(), "nobody holds it") {
		t.Errorf("the Lease has no holder, and the reply to a write is %v", err)
	}
	err = p.touch(ctx, p.pod(""))
	if !fencing.IsStale(err) || !strings.Contains(err.Error(), "bound to no pod") {
		t.Errorf("the Lease has no holder, and the reply to a token that is bound to no pod is %v", err)
	}
	if err := p.touch(ctx, p.admin()); err != nil {
		t.Errorf("the Lease has no holder, and the reply to an administrator's write is %v", err)
	}

	p.setHolder("pod-a")
	err = p.touch(ctx, p.pod(""))
	if !fencing.IsStale(err) || !strings.Contains(err.Error(), "bound to no pod") {
		t.Errorf("the reply to a token of the service account that is bound to no pod is %v", err)
	}

	// The admission policy has no clock. Therefore the admission policy accepts
	// the writes of the holder even if the Lease has expired.
	old := metav1.NewMicroTime(metav1.Now().AddDate(-1, 0, 0))
	lease, err := p.admin().CoordinationV1().Leases(p.namespace).Get(ctx, leaseName, metav1.GetOptions{})
	must(t, err)
	lease.Spec.RenewTime, lease.Spec.LeaseDurationSeconds = &old, ptr.To(int32(1))
	_, err = p.admin().CoordinationV1().Leases(p.namespace).Update(ctx, lease, metav1.UpdateOptions{})
	must(t, err)
	if err := p.touch(ctx, p.pod("pod-a")); err != nil {
		t.Errorf("the Lease has expired, and the reply to its holder's write is %v", err)
	}
}

func TestFence_WithoutTheLeaseRefusesOrAcceptsAllWrites(t *testing.T) {
	t.Parallel()
	for _, open := range []bool{false, true} {
		p := newFencedCluster(t, shared.get(t))
		p.fence.OpenWithoutLease = open
		p.enforce().setHolder("pod-a")
		ctx, cancel := within()
		defer cancel()
		must(t, p.admin().CoordinationV1().Leases(p.namespace).Delete(ctx, leaseName, metav1.DeleteOptions{}))
		// Wait until the API server has observed the deletion of the Lease. The
		// reply to a write of pod-b then changes.
		eventually(t, func(ctx context.Context) error {
			err := p.touch(ctx, p.pod("pod-b"))
			if open && err == nil || !open && err != nil && strings.Contains(err.Error(), "no params found") {
				return nil
			}
			return fmt.Errorf("the API server has not observed the deletion yet: %w", err)
		})
		for who, client := range map[string]kubernetes.Interface{"pod": p.pod("pod-a"), "administrator": p.admin()} {
			if err := p.touch(ctx, client); (err == nil) != open || fencing.IsStale(err) == open {
				t.Errorf("without the Lease (OpenWithoutLease: %v) the reply to a write of the %s is %v", open, who, err)
			}
		}
	}
}

func TestFence_WithAnotherLeaseNameRefusesTheLeader(t *testing.T) {
	t.Parallel()
	p := newFencedCluster(t, shared.get(t)).enforce()
	p.setHolder("pod-a")
	p.fence.LeaseName, p.fence.Name = "other-leader", p.namespace+"-other-leader"
	p.enforce()
	ctx, cancel := within()
	defer cancel()
	if err := p.touch(ctx, p.pod("pod-a")); !fencing.IsStale(err) || !strings.Contains(err.Error(), p.namespace+"/other-leader") {
		t.Errorf("the Fence names another Lease, and the reply to the holder's write is %v", err)
	}
}

// realPod creates a pod and returns a client that authenticates with a token of
// this pod. The service account "operator" must exist.
func (p *fencedCluster) realPod(name string) kubernetes.Interface {
	p.Helper()
	core := p.admin().CoreV1()
	pod, err := core.Pods(p.namespace).Create(p.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{ServiceAccountName: "operator", Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}, metav1.CreateOptions{})
	must(p.T, err)
	answer, err := core.ServiceAccounts(p.namespace).CreateToken(p.Context(), "operator", &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: name, UID: pod.UID},
	}}, metav1.CreateOptions{})
	must(p.T, err)
	client := p.cp.Client(name)
	p.Cleanup(client.Close)
	config := rest.AnonymousClientConfig(client.Config())
	config.BearerToken = answer.Status.Token
	return kubernetes.NewForConfigOrDie(config)
}

func TestFence_KnowsTheTokensOfRealPods(t *testing.T) {
	t.Parallel()
	p := newFencedCluster(t, shared.get(t)).enforce()
	ctx, cancel := within()
	defer cancel()
	core := p.admin().CoreV1()
	_, err := core.ServiceAccounts(p.namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "operator"}}, metav1.CreateOptions{})
	must(t, err)
	clients := map[string]kubernetes.Interface{}
	for _, name := range []string{"web-1", "web-10"} {
		clients[name] = p.realPod(name)
	}
	p.writeHolder("web-10_4f2a")
	eventually(t, func(ctx context.Context) error { return p.touch(ctx, clients["web-10"]) })
	if err := p.touch(ctx, clients["web-1"]); !fencing.IsStale(err) || !strings.Contains(err.Error(), `pod "web-1"`) {
		t.Errorf("the follower's write: %v", err)
	}
}

// If a Fence guards pods and the Lease is missing, no pod can start. Therefore
// no candidate could start and create the Lease.
func TestFence_MayBeOpenWithoutTheLeaseForPodsAndServiceAccounts(t *testing.T) {
	t.Parallel()
	for _, open := range []bool{false, true} {
		p := newFencedCluster(t, shared.get(t))
		p.fence.Resources, p.fence.OpenWithoutLease = []schema.GroupResource{{Resource: "pods"}, {Resource: "serviceaccounts"}}, open
		p.enforce()
		ctx, cancel := within()
		defer cancel()
		core := p.admin().CoreV1()
		_, err := core.ServiceAccounts(p.namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "operator"}}, metav1.CreateOptions{})
		must(t, err)
		must(t, p.admin().CoordinationV1().Leases(p.namespace).Delete(ctx, leaseName, metav1.DeleteOptions{}))
		token := func(ctx context.Context) error { // a kubelet requests a token before it starts a pod
			_, err := core.ServiceAccounts(p.namespace).CreateToken(ctx, "operator", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
			return err
		}
		eventually(t, func(ctx context.Context) error {
			if err := token(ctx); (err == nil) == open {
				return nil
			}
			return fmt.Errorf("the API server has not observed the deletion yet (OpenWithoutLease: %v)", open)
		})
		_, err = core.Pods(p.namespace).Create(ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "candidate"},
			Spec:       corev1.PodSpec{ServiceAccountName: "operator", Containers: []corev1.Container{{Name: "c", Image: "i"}}},
		}, metav1.CreateOptions{})
		for what, err := range map[string]error{"pod": err, "token": token(ctx)} {
			if (err == nil) != open || fencing.IsStale(err) == open {
				t.Errorf("without the Lease (OpenWithoutLease: %v) the reply to a %s for a candidate is %v", open, what, err)
			}
		}
	}
}
