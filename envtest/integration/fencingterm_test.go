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

// A termed is a pod whose writes are stamped, and the context of a term of it. The
// context is not cancelled with the term: its work was frozen, and goes on.
type termed struct {
	kubernetes.Interface
	ctx     context.Context
	term    leaderelection.Term
	elector *leaderelection.Elector
	stop    func()
}

// reign has a pod lead, and returns when it does. It releases the Lease when it is
// stopped.
func (p *paddock) reign(name string, options ...envtest.ClientOption) termed {
	p.Helper()
	client := p.cp.Client("pod "+name, append(options, envtest.AsPod(p.account, name))...)
	p.Cleanup(client.Close)
	terms := make(chan context.Context, 10)
	p.reigns++
	elector, err := leaderelection.New(&leaderelection.Config{
		Enabled: true, Identity: fmt.Sprintf("%s_%d", name, p.reigns), LeaseName: p.fence.LeaseName, LeaseNamespace: p.namespace, ReleaseOnCancel: true,
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
	case <-limit():
		p.Fatalf("%s does not lead", name)
	}
	term, _ := leaderelection.TermFromContext(work)
	config := client.Config()
	config.Wrap(fencing.StampTransport)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return fencing.RetryTransport(elector, next) })
	clientset, err := kubernetes.NewForConfig(config)
	must(p.T, err)
	return termed{clientset, context.WithoutCancel(work), term, elector, stop}
}

// stampables are all ways to write a whole object that is there.
func (p *paddock) stampables(name string) []deed {
	patch := func(kind types.PatchType, body string) func(context.Context, kubernetes.Interface) error {
		return func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoreV1().ConfigMaps(p.namespace).Patch(ctx, name, kind, []byte(body), metav1.PatchOptions{})
			return err
		}
	}
	return []deed{
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
	p := newPaddock(t, shared.get(t))
	p.fence.Mode = fencing.ByTerm
	p.enforce()
	ctx, cancel := within()
	defer cancel()

	// Written by somebody else: it has no annotations.
	_, err := p.admin().CoreV1().ConfigMaps(p.namespace).Create(ctx, p.configMap("old"), metav1.CreateOptions{})
	must(t, err)
	first := p.reign("pod-a")
	for _, deed := range p.stampables("old") {
		// Each on an object without annotations, and on one with.
		for range 2 {
			if err := deed.do(first.ctx, first); err != nil {
				t.Errorf("%s in the first term: %v", deed.name, err)
			}
		}
		_, err := p.admin().CoreV1().ConfigMaps(p.namespace).Patch(ctx, "old", types.MergePatchType, []byte(`{"metadata":{"annotations":null}}`), metav1.PatchOptions{})
		must(t, err)
	}
	first.stop()

	second := p.reign("pod-b")
	if second.term.Token <= first.term.Token {
		t.Fatalf("the tokens are %v and %v", first.term.Token, second.term.Token)
	}
	for _, deed := range p.stampables("old") {
		if err := deed.do(second.ctx, second); err != nil {
			t.Errorf("%s in the second term: %v", deed.name, err)
		}
		err := deed.do(first.ctx, first)
		if !fencing.IsStale(err) {
			t.Errorf("%s in the first term, after the second one's: %v, want it refused", deed.name, err)
			continue
		}
		for _, name := range []string{p.namespace + "/" + leaseName, second.term.Token.String() + " pod-b_2", first.term.Token.String() + " pod-a_1", `pod "pod-a"`} {
			if !strings.Contains(err.Error(), name) {
				t.Errorf("the refusal does not name %s: %v", name, err)
			}
		}
	}
}

// What a stamp is not asked for, or cannot be put on.
func TestFence_ByTermAloneLetsThroughWhatCannotBeStamped(t *testing.T) {
	t.Parallel()
	p := newPaddock(t, shared.get(t))
	p.fence.Mode = fencing.ByTerm
	p.enforce()
	first := p.reign("pod-a")
	_, err := first.AppsV1().Deployments(p.namespace).Create(first.ctx, p.deployment("subject"), metav1.CreateOptions{})
	must(t, err)
	first.stop()
	second := p.reign("pod-b")
	apply := appsv1apply.Deployment("subject", p.namespace).WithLabels(map[string]string{"applied": "true"})
	_, err = second.AppsV1().Deployments(p.namespace).Apply(second.ctx, apply, metav1.ApplyOptions{FieldManager: "test", Force: true})
	must(t, err)

	passes := map[string]bool{
		"create": false, "update": false, "patch": false, "server-side apply": false,
		"update of status": false, "patch of status": false, "update of scale": true, "patch of scale": true,
		"delete": true, "create again": true, "deletecollection": true,
	}
	for _, deed := range p.deeds("subject")[1:] {
		if err := deed.do(first.ctx, first); (err == nil) != passes[deed.name] || err != nil && !fencing.IsStale(err) {
			t.Errorf("%s in the first term: %v, want it let through: %v", deed.name, err, passes[deed.name])
		}
	}
}

func TestFence_ByTermWantsAStamp(t *testing.T) {
	t.Parallel()
	p := newPaddock(t, shared.get(t))
	p.fence.Mode = fencing.ByTerm
	p.enforce()
	leader := p.reign("pod-a")
	bare := p.pod("pod-a")
	_, err := leader.CoreV1().ConfigMaps(p.namespace).Create(leader.ctx, p.configMap("a"), metav1.CreateOptions{})
	must(t, err)
	ctx, cancel := within()
	defer cancel()
	if _, err := bare.CoreV1().ConfigMaps(p.namespace).Create(ctx, p.configMap("b"), metav1.CreateOptions{}); !fencing.IsStale(err) || !strings.Contains(err.Error(), "carries no token") {
		t.Errorf("a creation without a stamp: %v", err)
	}
	if err := p.stampables("a")[0].do(ctx, bare); !fencing.IsStale(err) {
		t.Errorf("an update that takes the stamp away: %v", err)
	}
	// This client does not say of which term it is, and has read the newest stamp.
	if err := p.stampables("a")[1].do(ctx, bare); err != nil {
		t.Errorf("an update with the stamp that was read: %v", err)
	}
	if _, err := p.admin().CoreV1().ConfigMaps(p.namespace).Create(ctx, p.configMap("c"), metav1.CreateOptions{}); err != nil {
		t.Errorf("an administrator's creation: %v", err)
	}
	// What is no stamp is overwritten by one.
	patch := []byte(`{"metadata":{"annotations":{"` + fencing.AnnotationKey(leader.term.Lease) + `":"nonsense"}}}`)
	_, err = p.admin().CoreV1().ConfigMaps(p.namespace).Patch(ctx, "a", types.MergePatchType, patch, metav1.PatchOptions{})
	must(t, err)
	if err := p.stampables("a")[0].do(leader.ctx, leader); err != nil {
		t.Errorf("an update of an object whose stamp was spoilt: %v", err)
	}
}

// A write that keeps what stands in the stamp's place is let through, whatever it is;
// that there is nothing is not kept.
func TestFence_ByTermTakesNothingForAStamp(t *testing.T) {
	t.Parallel()
	for _, mode := range []fencing.Mode{fencing.ByTerm, fencing.ByPod | fencing.ByTerm} {
		p := newPaddock(t, shared.get(t))
		p.fence.Mode = mode
		p.enforce()
		leader := p.reign("pod-a")
		_, err := leader.CoreV1().ConfigMaps(p.namespace).Create(leader.ctx, p.configMap("first"), metav1.CreateOptions{})
		must(t, err) // and so the API server knows
		bare := p.pod("pod-a").CoreV1().ConfigMaps(p.namespace)
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
		noToken := func(deed string, err error) {
			if !fencing.IsStale(err) || !strings.Contains(err.Error(), "carries no token") {
				t.Errorf("mode %d: %s: %v, want it refused because it carries no token", mode, deed, err)
			}
		}
		for _, stamp := range []string{absent, "", "\n", "nonsense"} {
			_, err := bare.Create(ctx, object(stamp), metav1.CreateOptions{})
			noToken(fmt.Sprintf("a creation with the stamp %q", stamp), err)
		}
		for _, update := range []struct{ stored, written string }{
			{absent, absent}, {absent, ""}, {absent, "\n"}, {"", absent}, {"", "\n"}, {"\n", absent}, {"nonsense", absent}, {"nonsense", "others"}, {"1", absent},
			{"", ""}, {"\n", "\n"}, {"nonsense", "nonsense"}, {"1", "1"},
		} {
			_, err := admin.Create(ctx, object(update.stored), metav1.CreateOptions{})
			must(t, err)
			_, err = bare.Update(ctx, object(update.written), metav1.UpdateOptions{})
			deed := fmt.Sprintf("an update of the stamp %q to %q", update.stored, update.written)
			if update.stored == absent || update.stored != update.written {
				noToken(deed, err)
			} else if err != nil {
				t.Errorf("mode %d: %s: %v", mode, deed, err)
			}
			must(t, admin.Delete(ctx, "object", metav1.DeleteOptions{}))
		}
	}
}

func TestFence_BothModesRefuseWhatEitherDoes(t *testing.T) {
	t.Parallel()
	p := newPaddock(t, shared.get(t))
	p.fence.Mode = fencing.ByPod | fencing.ByTerm
	p.enforce()
	first := p.reign("pod-a")
	_, err := first.CoreV1().ConfigMaps(p.namespace).Create(first.ctx, p.configMap("touch"), metav1.CreateOptions{})
	must(t, err)
	first.stop()
	// The same pod leads again: only by the term it is known which of its writes are
	// stale.
	second := p.reign("pod-a")
	must(t, p.stampables("touch")[0].do(second.ctx, second))
	if err := p.stampables("touch")[0].do(first.ctx, first); !fencing.IsStale(err) || !strings.Contains(err.Error(), "in the later term") {
		t.Errorf("a write of the pod's earlier term: %v", err)
	}
	second.stop()
	third := p.reign("pod-b")
	must(t, p.stampables("touch")[0].do(third.ctx, third)) // and so the API server knows
	for _, deed := range p.deeds("subject") {
		if err := deed.do(second.ctx, second); !fencing.IsStale(err) {
			t.Errorf("%s of another pod than the holder: %v", deed.name, err)
		}
		if err := deed.do(third.ctx, third); err != nil {
			t.Errorf("%s of the holder: %v", deed.name, err)
		}
	}
}

// In their place one Fence of both kinds would compare nothing without the Lease.
func TestFence_TwoOfOneLeaseKeepTheStampWithoutTheLease(t *testing.T) {
	t.Parallel()
	p := newPaddock(t, shared.get(t))
	p.fence.OpenWithoutLease = true
	p.enforce()
	p.fence.OpenWithoutLease, p.fence.Mode, p.fence.Name = false, fencing.ByTerm, p.namespace+".terms"
	p.enforce()
	first := p.reign("pod-a")
	_, err := first.CoreV1().ConfigMaps(p.namespace).Create(first.ctx, p.configMap("touch"), metav1.CreateOptions{})
	must(t, err)
	first.stop()
	second := p.reign("pod-b")
	must(t, p.stampables("touch")[0].do(second.ctx, second))
	second.stop()
	ctx, cancel := within()
	defer cancel()
	must(t, p.admin().CoordinationV1().Leases(p.namespace).Delete(ctx, leaseName, metav1.DeleteOptions{}))
	// Until the API server has heard of that it refuses by pod: nobody holds it.
	awaitAnswer(t, func(context.Context) error {
		err := p.stampables("touch")[0].do(first.ctx, first)
		if fencing.IsStale(err) && strings.Contains(err.Error(), "in the later term") && !strings.Contains(err.Error(), "nobody holds it") {
			return nil
		}
		return fmt.Errorf("the first term writes without the Lease: %w", err)
	})
}
