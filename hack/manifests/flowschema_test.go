package manifests

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
)

// The FlowSchema must match the service account, the namespace and the verb of every
// request that an Elector sends for the Lease.
func TestFlowSchema_IsForEachRequestForTheLease(t *testing.T) {
	schema := only[flowcontrolv1.FlowSchema](t, "flowschema.yaml", "FlowSchema")
	level := only[flowcontrolv1.PriorityLevelConfiguration](t, "flowschema.yaml", "PriorityLevelConfiguration")
	if schema.Spec.PriorityLevelConfiguration.Name != level.Name {
		t.Errorf("the FlowSchema's priority level is %q, the file has %q", schema.Spec.PriorityLevelConfiguration.Name, level.Name)
	}
	var verbs []string
	for _, r := range uses.Rights() {
		if r.Resource == "leases" {
			verbs = append(verbs, r.Verb)
		}
	}
	slices.Sort(verbs)
	account := only[corev1.ServiceAccount](t, "deployment.yaml", "ServiceAccount")
	want := []flowcontrolv1.PolicyRulesWithSubjects{{
		Subjects: []flowcontrolv1.Subject{{
			Kind:           flowcontrolv1.SubjectKindServiceAccount,
			ServiceAccount: &flowcontrolv1.ServiceAccountSubject{Namespace: account.Namespace, Name: account.Name},
		}},
		ResourceRules: []flowcontrolv1.ResourcePolicyRule{{
			APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: verbs, Namespaces: []string{uses.LeaseNamespace},
		}},
	}}
	for i := range schema.Spec.Rules {
		for j := range schema.Spec.Rules[i].ResourceRules {
			slices.Sort(schema.Spec.Rules[i].ResourceRules[j].Verbs)
		}
	}
	if diff := cmp.Diff(want, schema.Spec.Rules); diff != "" {
		t.Errorf("-rights +FlowSchema:\n%s", diff)
	}
}

// The API server in this test has 16 seats, which means that it processes at most 16
// requests at the same time. Two hundred service accounts send writes that occupy the
// seats. Each of these writes takes five seconds, because the API server calls a slow
// webhook. Therefore the load does not depend on the speed of the machine.
func TestFlowSchema_AnElectionSurvivesAFloodOnlyWithIt(t *testing.T) {
	c := newCluster(t, envtest.Options{APIServerFlags: []string{"--max-requests-inflight=8", "--max-mutating-requests-inflight=8"}})
	hook := newSlowHook(t, c)
	account := c.ServiceAccount(t, "my-app", "my-namespace", rights.Rules(uses.Rights(), "my-namespace")...)

	t.Run("without", func(t *testing.T) {
		e := campaign(t, c, account, "pod-1")
		<-e.started
		stop := flood(t, c, hook)
		defer stop()
		select {
		case cause := <-e.ended:
			t.Logf("as expected the term ended: %v", cause)
		case <-time.After(2 * time.Minute):
			t.Error("the term survived without the FlowSchema: the flood is too weak to test it")
		}
	})
	t.Run("with", func(t *testing.T) {
		for _, object := range documents(t, "flowschema.yaml") {
			if created := c.apply(t, object); created.GetKind() == "FlowSchema" {
				awaitSchema(t, account.Pod(c.Admin().Config(), "pod-1"), string(created.GetUID()))
			}
		}
		e := campaign(t, c, account, "pod-1")
		<-e.started
		stop := flood(t, c, hook)
		defer stop()
		select {
		case cause := <-e.ended:
			t.Errorf("the term ended: %v", cause)
		case <-time.After(2 * timing.LeaseDuration):
		}
		// During the flood, one candidate must claim the Lease that the first leader has
		// released. Another candidate must create the Lease after the test has deleted
		// it.
		successor := campaign(t, c, account, "pod-2")
		e.stop()
		successor.awaitTerm(t)
		successor.stop()
		if err := c.Admin().Clientset().CoordinationV1().Leases(uses.LeaseNamespace).Delete(t.Context(), uses.LeaseName, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		campaign(t, c, account, "pod-3").awaitTerm(t)
	})
}

// timing contains the durations of the election. With these durations, a leader trusts
// the Lease for 9.5 s after each renewal.
var timing = leaderelection.Config{LeaseDuration: 12 * time.Second, RenewDeadline: 9 * time.Second, RetryPeriod: 500 * time.Millisecond}

type election struct {
	started chan struct{}
	ended   chan error
	stop    func()
}

func (e *election) awaitTerm(t *testing.T) {
	t.Helper()
	select {
	case <-e.started:
	case <-time.After(timing.LeaseDuration):
		t.Fatalf("the candidate does not lead within %v", timing.LeaseDuration)
	}
}

// campaign runs an Elector in the role of the given Pod. The Elector runs until the
// function stop is called or the test ends.
func campaign(t *testing.T, c *cluster, account envtest.ServiceAccount, pod string) *election {
	t.Helper()
	e := &election{started: make(chan struct{}, 100), ended: make(chan error, 100)}
	config := timing
	config.Enabled, config.ReleaseOnCancel, config.Identity = true, true, pod
	config.LeaseNamespace, config.LeaseName = uses.LeaseNamespace, uses.LeaseName
	client := c.Client(pod, envtest.AsPod(account, pod))
	elector, err := leaderelection.New(&config, client.Clientset(), leaderelection.Callbacks{OnStartedLeading: func(ctx context.Context) {
		e.started <- struct{}{}
		<-ctx.Done()
		e.ended <- context.Cause(ctx)
	}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- elector.Run(ctx) }()
	e.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		client.Close()
	})
	t.Cleanup(e.stop)
	return e
}

// A slowHook is an admission webhook for ConfigMaps that waits for five seconds before
// each answer.
type slowHook struct {
	busy   atomic.Int64
	closed chan struct{}
}

func newSlowHook(t *testing.T, c *cluster) *slowHook {
	t.Helper()
	hook := &slowHook{closed: make(chan struct{})}
	server := httptest.NewTLSServer(hook)
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(hook.closed) })
	rule := registrationv1.RuleWithOperations{
		Operations: []registrationv1.OperationType{registrationv1.Create},
		Rule:       registrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
	}
	_, err := c.Admin().Clientset().AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(t.Context(), &registrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "slow"},
		Webhooks: []registrationv1.ValidatingWebhook{{
			Name: "slow.example.com", TimeoutSeconds: ptr.To(int32(10)), FailurePolicy: ptr.To(registrationv1.Ignore),
			SideEffects: ptr.To(registrationv1.SideEffectClassNone), AdmissionReviewVersions: []string{"v1"},
			Rules: []registrationv1.RuleWithOperations{rule},
			ClientConfig: registrationv1.WebhookClientConfig{
				URL:      ptr.To(server.URL),
				CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
			},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return hook
}

// ServeHTTP waits for five seconds and then allows the request.
func (h *slowHook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var review admissionv1.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil || review.Request == nil {
		http.Error(w, "not an AdmissionReview", http.StatusBadRequest)
		return
	}
	h.busy.Add(1)
	defer h.busy.Add(-1)
	select {
	case <-time.After(5 * time.Second):
	case <-h.closed:
	case <-r.Context().Done():
	}
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
	review.Request = nil
	_ = json.NewEncoder(w).Encode(review)
}

// flood starts 200 service accounts that write continuously until stop is
// called. It returns when the API server processes at least four of these writes at the
// same time.
func flood(t *testing.T, c *cluster, hook *slowHook) (stop func()) {
	t.Helper()
	namespace := c.Namespace(t)
	meta := metav1.ObjectMeta{Name: "tenants", Namespace: namespace}
	rbac := c.Admin().Clientset().RbacV1()
	_, err := rbac.Roles(namespace).Create(t.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"create"}},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = rbac.RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:serviceaccounts:" + namespace}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var writers sync.WaitGroup
	for i := range 200 {
		tenant := envtest.ServiceAccount{Namespace: namespace, Name: fmt.Sprintf("tenant-%d", i)}
		config := tenant.Pod(c.Admin().Config(), "")
		config.QPS = -1
		clientset, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			writers.Go(func() {
				for ctx.Err() == nil {
					_, err := clientset.CoreV1().ConfigMaps(namespace).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "x-"}},
						metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
					if err != nil && ctx.Err() == nil { // the API server refused the write because its queues are full
						select {
						case <-ctx.Done():
						case <-time.After(time.Second):
						}
					}
				}
			})
		}
	}
	stop = func() { cancel(); writers.Wait() }
	for deadline := time.Now().Add(time.Minute); hook.busy.Load() < 4; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			stop()
			t.Fatalf("%d writes of the flood hold seats after a minute, want 4", hook.busy.Load())
		}
	}
	return stop
}

// awaitSchema waits until the API server applies the FlowSchema with the given UID to
// requests for the Lease.
func awaitSchema(t *testing.T, config *rest.Config, uid string) {
	t.Helper()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	url := config.Host + "/apis/coordination.k8s.io/v1/namespaces/" + uses.LeaseNamespace + "/leases/" + uses.LeaseName
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		reply, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		reply.Body.Close()
		switch {
		case reply.Header.Get("X-Kubernetes-Pf-Flowschema-Uid") == uid:
			return
		case time.Now().After(deadline):
			t.Fatalf("the FlowSchema is not in force after a minute: %v", reply.Header)
		}
	}
}
