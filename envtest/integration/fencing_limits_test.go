package integration_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	admissionv1api "k8s.io/api/admission/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
)

// slowWebhook is an admission webhook that delays the updates of pod-a until
// the test permits them. The API server calls the webhook after it has
// evaluated the Fence.
type slowWebhook struct {
	heard   chan string   // receives the user name of each update
	waiting chan struct{} // receives a value for each update that waits
	goOn    chan struct{} // closed by the test to let the updates continue
}

func (h *slowWebhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var review admissionv1api.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	h.heard <- review.Request.UserInfo.Username
	if pod := review.Request.UserInfo.Extra["authentication.kubernetes.io/pod-name"]; len(pod) == 1 && pod[0] == "pod-a" {
		h.waiting <- struct{}{}
		select {
		case <-h.goOn:
		case <-r.Context().Done():
		}
	}
	review.Response = &admissionv1api.AdmissionResponse{UID: review.Request.UID, Allowed: true}
	_ = json.NewEncoder(w).Encode(review)
}

// installSlowWebhook starts a slowWebhook and registers it with the API server.
func (p *fencedCluster) installSlowWebhook() *slowWebhook {
	p.Helper()
	h := &slowWebhook{make(chan string, 1000), make(chan struct{}, 1), make(chan struct{})}
	server := httptest.NewTLSServer(h)
	p.Cleanup(server.Close)
	hooks := p.admin().AdmissionregistrationV1().ValidatingWebhookConfigurations()
	_, err := hooks.Create(p.Context(), &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: p.namespace},
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name: "slow.example.com", AdmissionReviewVersions: []string{"v1"},
			SideEffects: ptr.To(admissionv1.SideEffectClassNone), TimeoutSeconds: ptr.To(int32(30)),
			ClientConfig: admissionv1.WebhookClientConfig{
				URL: &server.URL, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
			},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: p.namespace}},
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Update},
				Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
			}},
		}},
	}, metav1.CreateOptions{})
	must(p.T, err)
	p.Cleanup(func() { must(p.T, hooks.Delete(context.Background(), p.namespace, metav1.DeleteOptions{})) })
	eventually(p.T, func(ctx context.Context) error {
		if err := p.write(ctx, p.admin(), `{"data":{"by":"pod-x"}}`); err != nil || len(h.heard) > 0 {
			return err
		}
		return errors.New("the webhook is not asked yet")
	})
	return h
}

// write patches the ConfigMap with the name x.
func (p *fencedCluster) write(ctx context.Context, client kubernetes.Interface, patch string) error {
	_, err := client.CoreV1().ConfigMaps(p.namespace).Patch(ctx, "x", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

// If an object has changed before a write is stored, the API server evaluates
// the Fence again. Therefore a late write of an earlier leader is refused only
// if the new leader's write has changed the object. A new stamp always changes
// the object.
func TestFence_WriteThatChangesNothingDoesNotRefuseLateWrites(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		mode   fencing.Mode
		patch  string
		refuse bool
	}{
		"by pod, nothing is changed":         {fencing.ByPod, `{"data":{"by":"pod-x"}}`, false},
		"by pod, something is changed":       {fencing.ByPod, `{"data":{"by":"pod-b"}}`, true},
		"of both kinds, nothing but a stamp": {fencing.ByPod | fencing.ByTerm, `{"data":{"by":"pod-x"}}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newFencedCluster(t, shared.get(t))
			_, err := p.admin().CoreV1().ConfigMaps(p.namespace).Create(t.Context(), p.configMap("x"), metav1.CreateOptions{})
			must(t, err)
			p.fence.Mode = test.mode
			p.enforce()
			h := p.installSlowWebhook()
			lead := func(pod string) (ctx context.Context, client kubernetes.Interface, stop func()) {
				if test.mode == fencing.ByPod {
					p.setHolder(pod)
					return t.Context(), p.pod(pod), func() {}
				}
				term := p.lead(pod)
				return term.ctx, term, term.stop
			}

			ctx, stale, stop := lead("pod-a")
			answer := make(chan error, 1)
			go func() { answer <- p.write(ctx, stale, `{"data":{"by":"pod-a, late"}}`) }()
			await(t, h.waiting, "pod-a's write has passed the Fence")
			stop()
			ctx, leader, _ := lead("pod-b")
			must(t, p.write(ctx, leader, test.patch))
			close(h.goOn)
			if err := <-answer; fencing.IsStale(err) != test.refuse || (err != nil) != test.refuse {
				t.Errorf("pod-b has written, and the reply to pod-a's late write is %v", err)
			}
		})
	}
}

// A pod of a StatefulSet that is deleted by force may continue to run next to a
// new pod with the same name. A Fence with mode ByPod accepts the writes of
// both pods until the token of the deleted pod becomes invalid.
func TestFence_ByPodAcceptsADeletedPodUntilItsTokenIsInvalid(t *testing.T) {
	t.Parallel()
	p := newFencedCluster(t, shared.get(t)).enforce()
	core := p.admin().CoreV1()
	_, err := core.ServiceAccounts(p.namespace).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "operator"}}, metav1.CreateOptions{})
	must(t, err)
	old := p.realPod("web-0")
	p.writeHolder("web-0_1")
	eventually(t, func(ctx context.Context) error { return p.touch(ctx, old) })
	must(t, core.Pods(p.namespace).Delete(t.Context(), "web-0", metav1.DeleteOptions{GracePeriodSeconds: ptr.To(int64(0))}))
	deleted := time.Now()
	fresh := p.realPod("web-0")
	p.writeHolder("web-0_2")
	must(t, p.touch(t.Context(), fresh))
	ctx, cancel := within()
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for ; err == nil; <-tick.C {
		if err = p.touch(ctx, old); ctx.Err() != nil {
			t.Fatalf("the token of a deleted pod is still valid after a minute: %v", err)
		}
	}
	t.Logf("the old pod was let through for %v", time.Since(deleted))
	if !apierrors.IsUnauthorized(err) {
		t.Errorf("the reply to the old pod's write is %v, want Unauthorized", err)
	}
	must(t, p.touch(ctx, fresh))
}
