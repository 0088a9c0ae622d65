package integration_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
)

// An API server watches Leases only while an admission policy binding refers to
// a Lease. After the last such binding is deleted, the API server does not
// watch Leases again until it is restarted. The anchor policy prevents this.
//
// Without the anchor policy, this test would fail: the API server would accept
// writes of pod-a, although pod-b holds the Lease.
func TestFence_ThatIsPutBackKnowsTheHolder(t *testing.T) {
	p := newFencedCluster(t, exclusive.alone(t))
	var servers []*rest.Config
	for i := range p.cp.APIServers() {
		servers = append(servers, p.cp.Client("admin", envtest.OnAPIServer(i)).Config())
	}
	ctx, cancel := within()
	defer cancel()
	remove, err := envtest.EnforceFence(ctx, p.fence, servers...)
	must(t, err)
	p.setHolder("pod-a")
	must(t, remove(ctx))
	for i := range servers {
		follower := p.pod("pod-b", envtest.OnAPIServer(i))
		eventually(t, func(ctx context.Context) error { return p.touch(ctx, follower) }) // wait until the API server has observed the removal of the Fence
	}

	p.writeHolder("pod-b")
	p.enforce()
	for i := range servers {
		leader, stale := p.pod("pod-b", envtest.OnAPIServer(i)), p.pod("pod-a", envtest.OnAPIServer(i))
		eventually(t, func(ctx context.Context) error { return p.touch(ctx, leader) })
		if err := p.touch(ctx, stale); !fencing.IsStale(err) || !strings.Contains(err.Error(), `its holder is "pod-b"`) {
			t.Errorf("API server %d: pod-b holds the Lease, and the reply to a write of pod-a is %v", i, err)
		}
	}
}

// An API server that has stopped watching Leases must be restarted.
// EnforceFence must detect such an API server.
func TestEnforceFence_DetectsAnAPIServerThatNoLongerWatchesLeases(t *testing.T) {
	cp := exclusive.alone(t)
	p := newFencedCluster(t, cp)
	server := cp.Client("admin", envtest.OnAPIServer(0)).Config()
	follower := p.pod("pod-b", envtest.OnAPIServer(0))
	ctx, cancel := within()
	defer cancel()
	remove, err := envtest.EnforceFence(ctx, p.fence, server)
	must(t, err)
	p.setHolder("pod-a")
	must(t, p.admin().AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Delete(ctx, "incumbent-lease-anchor", metav1.DeleteOptions{}))
	must(t, remove(ctx))
	eventually(t, func(ctx context.Context) error { return p.touch(ctx, follower) }) // wait until the API server has observed both removals

	p.writeHolder("pod-b")
	short, end := context.WithTimeout(ctx, 5*time.Second)
	defer end()
	if remove, err = envtest.EnforceFence(short, p.fence, server); err == nil {
		must(t, remove(ctx))
		t.Skip("this API server follows Leases again: the anchor policy is not needed any more")
	}
	if text := err.Error(); !strings.Contains(text, `its holder is "pod-b"`) || !strings.Contains(text, "must be restarted") {
		t.Errorf("the API server evaluates the Fence with an old holder, and EnforceFence returned: %v", err)
	}
	for i := range cp.APIServers() { // each API server has stopped watching Leases, and later tests use all
		must(t, cp.APIServer(i).Stop())
		must(t, cp.APIServer(i).Start())
	}
	remove, err = envtest.EnforceFence(ctx, p.fence, server)
	must(t, err)
	must(t, remove(ctx))
}

// A write of the status can also change annotations. Therefore the Fence must
// check each write of the status. A stale write could otherwise remove or
// replace the stamp.
func TestFence_ByTermKeepsTheStampWhenAStatusIsWritten(t *testing.T) {
	t.Parallel()
	for _, mode := range []fencing.Mode{fencing.ByTerm, fencing.ByPod | fencing.ByTerm} {
		p := newFencedCluster(t, shared.get(t))
		p.fence.Mode = mode
		p.enforce()
		first := p.lead("pod-a")
		_, err := first.AppsV1().Deployments(p.namespace).Create(first.ctx, p.deployment("subject"), metav1.CreateOptions{})
		must(t, err)
		first.stop()
		second := p.lead("pod-a") // the same pod leads again, in another term
		operations := map[string]func(context.Context, kubernetes.Interface) error{}
		for _, operation := range p.operations("subject") {
			operations[operation.name] = operation.do
		}
		must(t, operations["patch"](second.ctx, second))

		unstamped := p.pod("pod-a")
		for name, write := range map[string]func() error{
			"an earlier term":         func() error { return operations["update of status"](first.ctx, first) },
			"an earlier term's patch": func() error { return operations["patch of status"](first.ctx, first) },
			"a client that takes the stamp away": func() error {
				return operations["update of status"](second.ctx, unstamped)
			},
			"a client that brings an old one": func() error {
				d := p.deployment("subject")
				d.Annotations = map[string]string{fencing.AnnotationKey(first.term.Lease): first.term.Token.String() + " pod-a_1"}
				_, err := unstamped.AppsV1().Deployments(p.namespace).UpdateStatus(second.ctx, d, metav1.UpdateOptions{})
				return err
			},
		} {
			if err := write(); !fencing.IsStale(err) {
				t.Errorf("mode %d: a status written by %s: %v, want it refused", mode, name, err)
			}
		}
		for _, name := range []string{"update of status", "patch of status", "update of scale", "patch of scale"} {
			if err := operations[name](second.ctx, second); err != nil {
				t.Errorf("mode %d: the leader's %s: %v", mode, name, err)
			}
		}
		must(t, p.updateReadStatus(second.ctx, unstamped, "subject"))
		if err := operations["patch"](first.ctx, first); !fencing.IsStale(err) {
			t.Errorf("mode %d: a write in the first term, after the status was written: %v", mode, err)
		}
	}
}

// updateReadStatus reads an object and updates its status, like a controller.
// The update contains all annotations of the object.
func (p *fencedCluster) updateReadStatus(ctx context.Context, client kubernetes.Interface, name string) error {
	d, err := client.AppsV1().Deployments(p.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	d.Status.Conditions = append(d.Status.Conditions, appsv1.DeploymentCondition{Type: "Read", Status: corev1.ConditionTrue})
	_, err = client.AppsV1().Deployments(p.namespace).UpdateStatus(ctx, d, metav1.UpdateOptions{})
	return err
}

// binders are the two ways to bind a pod to a node. A key is the name of a pod,
// and its value is the path of the resource that binds the pod.
var binders = map[string][]string{"one": {"bindings"}, "two": {"pods", "binding"}}

// makePods creates one pod for each entry of binders.
func (p *fencedCluster) makePods() {
	p.Helper()
	ctx, cancel := within()
	defer cancel()
	pods := p.admin().CoreV1().Pods(p.namespace)
	_, err := p.admin().CoreV1().ServiceAccounts(p.namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
	must(p.T, err)
	for name := range binders {
		_, err := pods.Create(ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
		}, metav1.CreateOptions{})
		must(p.T, err)
	}
}

// bind binds the pod with this name to a node. The Binding has the given
// annotations.
func (p *fencedCluster) bind(ctx context.Context, client kubernetes.Interface, name string, annotations map[string]string) error {
	binding := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations}, Target: corev1.ObjectReference{Kind: "Node", Name: "n"}}
	path := binders[name]
	request := client.CoreV1().RESTClient().Post().Namespace(p.namespace).Resource(path[0])
	if len(path) > 1 {
		request = request.Name(name).SubResource(path[1])
	}
	return request.Body(binding).Do(ctx).Error()
}

func TestFence_OfPodsGuardsTheirBindings(t *testing.T) {
	t.Parallel()
	p := newFencedCluster(t, shared.get(t))
	p.fence.Resources = []schema.GroupResource{{Resource: "pods"}}
	p.enforce()
	p.writeHolder("pod-a")
	p.makePods()
	ctx, cancel := within()
	defer cancel()
	leader, follower := p.pod("pod-a"), p.pod("pod-b")
	eventually(t, func(ctx context.Context) error {
		_, err := leader.CoreV1().Pods(p.namespace).Patch(ctx, "one", types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{})
		return err
	})
	for name, path := range binders {
		if err := p.bind(ctx, follower, name, nil); !fencing.IsStale(err) {
			t.Errorf("a follower's POST to %v: %v, want it refused", path, err)
		}
		if err := p.bind(ctx, leader, name, nil); err != nil {
			t.Errorf("the leader's POST to %v: %v", path, err)
		}
	}
}

// The API server copies the annotations of a Binding to the pod. Therefore the
// Fence must check Bindings. These annotations could otherwise overwrite the
// stamp of the pod.
func TestFence_ByTermKeepsTheStampOfAPodThatIsBound(t *testing.T) {
	t.Parallel()
	for _, mode := range []fencing.Mode{fencing.ByTerm, fencing.ByPod | fencing.ByTerm} {
		p := newFencedCluster(t, shared.get(t))
		p.fence.Mode, p.fence.Resources = mode, []schema.GroupResource{{Resource: "pods"}}
		p.enforce()
		p.makePods()
		first := p.lead("pod-a")
		first.stop()
		second := p.lead("pod-a")
		patch := func(w termClient, name string) error {
			_, err := w.CoreV1().Pods(p.namespace).Patch(w.ctx, name, types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{})
			return err
		}
		for name, path := range binders {
			must(t, patch(second, name))
			for _, stamp := range []string{first.term.Token.String() + " pod-a_1", "nonsense", "\n"} {
				old := map[string]string{fencing.AnnotationKey(first.term.Lease): stamp}
				if err := p.bind(first.ctx, p.pod("pod-a"), name, old); !fencing.IsStale(err) || !strings.Contains(err.Error(), "must carry no token") {
					t.Errorf("mode %d: a POST to %v with the stamp %q: %v, want it refused", mode, path, stamp, err)
				}
			}
			if err := p.bind(first.ctx, first, name, nil); err != nil { // the Fence accepts this stale write, because a Binding carries no stamp
				t.Errorf("mode %d: a POST to %v: %v", mode, path, err)
			}
			if err := patch(first, name); !fencing.IsStale(err) {
				t.Errorf("mode %d: a patch in the first term, after a POST to %v: %v, want it refused", mode, path, err)
			}
			if err := patch(second, name); err != nil {
				t.Errorf("mode %d: the leader's patch: %v", mode, err)
			}
		}
	}
}

func TestEnforceFence_KeepsAFenceThatExistedBefore(t *testing.T) {
	t.Parallel()
	p := newFencedCluster(t, shared.get(t)).enforce()
	p.setHolder("pod-a")
	ctx, cancel := within()
	defer cancel()
	if _, err := envtest.EnforceFence(ctx, p.fence, p.cp.Admin().Config()); err == nil || !strings.Contains(err.Error(), "already exists") {
		t.Errorf("a second Fence of the same name: %v", err)
	}
	admission := p.admin().AdmissionregistrationV1()
	name := fmt.Sprintf("incumbent-fencing.%s.%s", p.namespace, leaseName)
	if _, err := admission.ValidatingAdmissionPolicies().Get(ctx, name, metav1.GetOptions{}); err != nil {
		t.Errorf("the policy of the first one: %v", err)
	}
	if _, err := admission.ValidatingAdmissionPolicyBindings().Get(ctx, name, metav1.GetOptions{}); err != nil {
		t.Errorf("the binding of the first one: %v", err)
	}
}
