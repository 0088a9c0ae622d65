package integration_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	appsv1apply "k8s.io/client-go/applyconfigurations/apps/v1"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
)

// termClient is the client that a pod uses in one of its terms. The client
// stamps its writes. ctx is not cancelled when the term ends.
// Therefore the client can send stale writes.
type termClient struct {
	kubernetes.Interface
	ctx     context.Context
	term    leaderelection.Term
	elector *leaderelection.Elector
	stop    func()
}

// lead starts an Elector with the identity of a pod, and returns when the
// Elector leads. When the Elector is stopped, it releases the Lease.
func (p *fencedCluster) lead(name string, options ...envtest.ClientOption) termClient {
	p.Helper()
	client := p.cp.Client("pod "+name, append(options, envtest.AsPod(p.account, name))...)
	p.Cleanup(client.Close)
	terms := make(chan context.Context, 10)
	p.terms++
	elector, err := leaderelection.New(&leaderelection.Config{
		Enabled: true, Identity: fmt.Sprintf("%s_%d", name, p.terms), LeaseName: p.fence.LeaseName, LeaseNamespace: p.namespace, ReleaseOnCancel: true,
	}, client.Clientset(), leaderelection.Callbacks{
		OnStartedLeading: func(ctx context.Context) { terms <- ctx },
	}, (&logs{}).logger(name), leaderelection.WithoutForeignReleaseDelay())
	must(p.T, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := elector.Run(ctx); err != nil {
			p.Errorf("%s's Run = %v", name, err)
		}
	}()
	stop := func() { cancel(); await(p, ended, name+" stops") }
	p.Cleanup(stop)

	var work context.Context
	select {
	case work = <-terms:
	case <-timeout():
		p.Fatalf("%s does not lead", name)
	}
	term, _ := leaderelection.TermFromContext(work)
	config := client.Config()
	config.Wrap(fencing.StampTransport)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return fencing.RetryTransport(elector, next) })
	clientset, err := kubernetes.NewForConfig(config)
	must(p.T, err)
	return termClient{clientset, context.WithoutCancel(work), term, elector, stop}
}

// stampedOperations returns the kinds of writes that can carry a stamp. Each
// write changes an existing object.
func (p *fencedCluster) stampedOperations(name string) []operation {
	patch := func(kind types.PatchType, body string) func(context.Context, kubernetes.Interface) error {
		return func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoreV1().ConfigMaps(p.namespace).Patch(ctx, name, kind, []byte(body), metav1.PatchOptions{})
			return err
		}
	}
	return []operation{
		{"update", func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoreV1().ConfigMaps(p.namespace).Update(ctx, p.configMap(name), metav1.UpdateOptions{})
			return err
		}},
		{"update of what was read", func(ctx context.Context, c kubernetes.Interface) error {
			object, err := c.CoreV1().ConfigMaps(p.namespace).Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			object.Data = map[string]string{"a": "b"}
			_, err = c.CoreV1().ConfigMaps(p.namespace).Update(ctx, object, metav1.UpdateOptions{})
			return err
		}},
		{"JSON patch", patch(types.JSONPatchType, `[{"op":"add","path":"/data","value":{"c":"d"}}]`)},
		{"merge patch", patch(types.MergePatchType, `{"data":{"e":"f"}}`)},
		{"strategic merge patch", patch(types.StrategicMergePatchType, `{"data":{"g":"h"}}`)},
		{"server-side apply", func(ctx context.Context, c kubernetes.Interface) error {
			config := corev1apply.ConfigMap(name, p.namespace).WithData(map[string]string{"i": "j"})
			_, err := c.CoreV1().ConfigMaps(p.namespace).Apply(ctx, config, metav1.ApplyOptions{FieldManager: "test", Force: true})
			return err
		}},
	}
}

func TestFence_ByTermRefusesWritesOfAnEarlierTerm(t *testing.T) {
	t.Parallel()
	p := newFencedCluster(t, shared.get(t))
	p.fence.Mode = fencing.ByTerm
	p.enforce()
	ctx, cancel := within()
	defer cancel()

	// An object that an administrator creates has no annotations.
	_, err := p.admin().CoreV1().ConfigMaps(p.namespace).Create(ctx, p.configMap("old"), metav1.CreateOptions{})
	must(t, err)
	first := p.lead("pod-a")
	for _, operation := range p.stampedOperations("old") {
		// Each operation is run twice: on an object without annotations, and on
		// an object with annotations.
		for range 2 {
			if err := operation.do(first.ctx, first); err != nil {
				t.Errorf("%s in the first term: %v", operation.name, err)
			}
		}
		_, err := p.admin().CoreV1().ConfigMaps(p.namespace).Patch(ctx, "old", types.MergePatchType, []byte(`{"metadata":{"annotations":null}}`), metav1.PatchOptions{})
		must(t, err)
	}
	first.stop()

	second := p.lead("pod-b")
	if second.term.Token <= first.term.Token {
		t.Fatalf("the tokens are %v and %v", first.term.Token, second.term.Token)
	}
	for _, operation := range p.stampedOperations("old") {
		if err := operation.do(second.ctx, second); err != nil {
			t.Errorf("%s in the second term: %v", operation.name, err)
		}
		err := operation.do(first.ctx, first)
		if !fencing.IsStale(err) {
			t.Errorf("%s in the first term, after the second one's: %v, want it refused", operation.name, err)
			continue
		}
		for _, name := range []string{p.namespace + "/" + leaseName, second.term.Token.String() + " pod-b_2", first.term.Token.String() + " pod-a_1", `pod "pod-a"`} {
			if !strings.Contains(err.Error(), name) {
				t.Errorf("the refusal does not name %s: %v", name, err)
			}
		}
	}
}

// A Fence with mode ByTerm alone accepts some stale writes. A deletion and a
// write of the subresource scale cannot carry a stamp. A creation carries a
// stamp, but the API server has no earlier stamp to compare it with.
func TestFence_ByTermAloneAcceptsWritesThatCannotBeStamped(t *testing.T) {
	t.Parallel()
	p := newFencedCluster(t, shared.get(t))
	p.fence.Mode = fencing.ByTerm
	p.enforce()
	first := p.lead("pod-a")
	_, err := first.AppsV1().Deployments(p.namespace).Create(first.ctx, p.deployment("subject"), metav1.CreateOptions{})
	must(t, err)
	first.stop()
	second := p.lead("pod-b")
	apply := appsv1apply.Deployment("subject", p.namespace).WithLabels(map[string]string{"applied": "true"})
	_, err = second.AppsV1().Deployments(p.namespace).Apply(second.ctx, apply, metav1.ApplyOptions{FieldManager: "test", Force: true})
	must(t, err)

	passes := map[string]bool{
		"create": false, "update": false, "patch": false, "server-side apply": false,
		"update of status": false, "patch of status": false, "update of scale": true, "patch of scale": true,
		"delete": true, "create again": true, "deletecollection": true,
	}
	for _, operation := range p.operations("subject")[1:] {
		if err := operation.do(first.ctx, first); (err == nil) != passes[operation.name] || err != nil && !fencing.IsStale(err) {
			t.Errorf("%s in the first term: %v, want it accepted: %v", operation.name, err, passes[operation.name])
		}
	}
}

func TestFence_ByTermWantsAStamp(t *testing.T) {
	t.Parallel()
	p := newFencedCluster(t, shared.get(t))
	p.fence.Mode = fencing.ByTerm
	p.enforce()
	leader := p.lead("pod-a")
	unstamped := p.pod("pod-a")
	_, err := leader.CoreV1().ConfigMaps(p.namespace).Create(leader.ctx, p.configMap("a"), metav1.CreateOptions{})
	must(t, err)
	ctx, cancel := within()
	defer cancel()
	if _, err := unstamped.CoreV1().ConfigMaps(p.namespace).Create(ctx, p.configMap("b"), metav1.CreateOptions{}); !fencing.IsStale(err) || !strings.Contains(err.Error(), "carries no token") {
		t.Errorf("a creation without a stamp: %v", err)
	}
	if err := p.stampedOperations("a")[0].do(ctx, unstamped); !fencing.IsStale(err) {
		t.Errorf("an update that removes the stamp: %v", err)
	}
	// This client sets no stamp. However, the client reads the object before
	// the update. Therefore the update contains the current stamp.
	if err := p.stampedOperations("a")[1].do(ctx, unstamped); err != nil {
		t.Errorf("an update with the stamp that was read: %v", err)
	}
	if _, err := p.admin().CoreV1().ConfigMaps(p.namespace).Create(ctx, p.configMap("c"), metav1.CreateOptions{}); err != nil {
		t.Errorf("an administrator's creation: %v", err)
	}
	// An update with a stamp is accepted even if the object has an invalid
	// stamp.
	patch := []byte(`{"metadata":{"annotations":{"` + fencing.AnnotationKey(leader.term.Lease) + `":"nonsense"}}}`)
	_, err = p.admin().CoreV1().ConfigMaps(p.namespace).Patch(ctx, "a", types.MergePatchType, patch, metav1.PatchOptions{})
	must(t, err)
	if err := p.stampedOperations("a")[0].do(leader.ctx, leader); err != nil {
		t.Errorf("an update of an object with an invalid stamp: %v", err)
	}
}

// The Fence accepts a write that does not change the stamp of an object, even
// if the stamp is invalid. This rule does not apply to an object without a
// stamp.
func TestFence_ByTermDoesNotTakeAMissingAnnotationForAStamp(t *testing.T) {
	t.Parallel()
	for _, mode := range []fencing.Mode{fencing.ByTerm, fencing.ByPod | fencing.ByTerm} {
		p := newFencedCluster(t, shared.get(t))
		p.fence.Mode = mode
		p.enforce()
		leader := p.lead("pod-a")
		_, err := leader.CoreV1().ConfigMaps(p.namespace).Create(leader.ctx, p.configMap("first"), metav1.CreateOptions{})
		must(t, err) // the creation succeeded, so the API server has observed the holder
		unstamped := p.pod("pod-a").CoreV1().ConfigMaps(p.namespace)
		admin := p.admin().CoreV1().ConfigMaps(p.namespace)
		ctx, cancel := within()
		defer cancel()
		key := fencing.AnnotationKey(leader.term.Lease)
		const absent = "absent"
		object := func(stamp string) *corev1.ConfigMap {
			object := p.configMap("object")
			if stamp != absent {
				object.Annotations = map[string]string{key: stamp}
			}
			return object
		}
		noToken := func(operation string, err error) {
			if !fencing.IsStale(err) || !strings.Contains(err.Error(), "carries no token") {
				t.Errorf("mode %d: %s: %v, want it refused because it carries no token", mode, operation, err)
			}
		}
		for _, stamp := range []string{absent, "", "\n", "nonsense"} {
			_, err := unstamped.Create(ctx, object(stamp), metav1.CreateOptions{})
			noToken(fmt.Sprintf("a creation with the stamp %q", stamp), err)
		}
		for _, update := range []struct{ stored, written string }{
			{absent, absent}, {absent, ""}, {absent, "\n"}, {"", absent}, {"", "\n"}, {"\n", absent}, {"nonsense", absent}, {"nonsense", "others"}, {"1", absent},
			{"", ""}, {"\n", "\n"}, {"nonsense", "nonsense"}, {"1", "1"},
		} {
			_, err := admin.Create(ctx, object(update.stored), metav1.CreateOptions{})
			must(t, err)
			_, err = unstamped.Update(ctx, object(update.written), metav1.UpdateOptions{})
			operation := fmt.Sprintf("an update of the stamp %q to %q", update.stored, update.written)
			if update.stored == absent || update.stored != update.written {
				noToken(operation, err)
			} else if err != nil {
				t.Errorf("mode %d: %s: %v", mode, operation, err)
			}
			must(t, admin.Delete(ctx, "object", metav1.DeleteOptions{}))
		}
	}
}

func TestFence_BothModesRefuseWhatEitherDoes(t *testing.T) {
	t.Parallel()
	p := newFencedCluster(t, shared.get(t))
	p.fence.Mode = fencing.ByPod | fencing.ByTerm
	p.enforce()
	first := p.lead("pod-a")
	_, err := first.CoreV1().ConfigMaps(p.namespace).Create(first.ctx, p.configMap("touch"), metav1.CreateOptions{})
	must(t, err)
	first.stop()
	// The same pod leads again. Only the term distinguishes the stale writes of
	// the pod from its current writes.
	second := p.lead("pod-a")
	must(t, p.stampedOperations("touch")[0].do(second.ctx, second))
	if err := p.stampedOperations("touch")[0].do(first.ctx, first); !fencing.IsStale(err) || !strings.Contains(err.Error(), "in the later term") {
		t.Errorf("a write of the pod's earlier term: %v", err)
	}
	second.stop()
	third := p.lead("pod-b")
	must(t, p.stampedOperations("touch")[0].do(third.ctx, third)) // the update succeeded, so the API server has observed the holder
	for _, operation := range p.operations("subject") {
		if err := operation.do(second.ctx, second); !fencing.IsStale(err) {
			t.Errorf("%s of another pod than the holder: %v", operation.name, err)
		}
		if err := operation.do(third.ctx, third); err != nil {
			t.Errorf("%s of the holder: %v", operation.name, err)
		}
	}
}

// If the Lease is missing, one Fence with both modes and OpenWithoutLease would
// accept every write. With two Fences, the Fence with mode ByTerm still
// compares the stamps.
func TestFence_TwoOfOneLeaseKeepTheStampWithoutTheLease(t *testing.T) {
	t.Parallel()
	p := newFencedCluster(t, shared.get(t))
	p.fence.OpenWithoutLease = true
	p.enforce()
	p.fence.OpenWithoutLease, p.fence.Mode, p.fence.Name = false, fencing.ByTerm, p.namespace+".terms"
	p.enforce()
	first := p.lead("pod-a")
	_, err := first.CoreV1().ConfigMaps(p.namespace).Create(first.ctx, p.configMap("touch"), metav1.CreateOptions{})
	must(t, err)
	first.stop()
	second := p.lead("pod-b")
	must(t, p.stampedOperations("touch")[0].do(second.ctx, second))
	second.stop()
	ctx, cancel := within()
	defer cancel()
	must(t, p.admin().CoordinationV1().Leases(p.namespace).Delete(ctx, leaseName, metav1.DeleteOptions{}))
	// The Fence with mode ByPod refuses the write until the API server has
	// observed the deletion of the Lease.
	eventually(t, func(context.Context) error {
		err := p.stampedOperations("touch")[0].do(first.ctx, first)
		if fencing.IsStale(err) && strings.Contains(err.Error(), "in the later term") && !strings.Contains(err.Error(), "nobody holds it") {
			return nil
		}
		return fmt.Errorf("the API server has not observed the deletion yet: %w", err)
	})
}
