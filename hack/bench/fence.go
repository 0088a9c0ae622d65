package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
)

const (
	fencedNamespace = "bench-fenced"
	openNamespace   = "bench-open"
	plainNamespace  = "bench-plain" // guarded by a policy that says next to nothing
	plainName       = "plainest policy"
	// writesPerRound is how many writes of each kind there are for each round that
	// is asked for: the policy costs little, and much else varies.
	writesPerRound = 60
)

// A fencingMode is one kind of Fence to measure.
type fencingMode struct {
	name string
	mode fencing.Mode
}

var fencingModes = []fencingMode{
	{"by pod", fencing.ByPod},
	{"by term", fencing.ByTerm},
	{"by pod and by term", fencing.ByPod | fencing.ByTerm},
}

// measureFence writes in turn, in random order, into a namespace with a Fence, into
// one without, and into one with the plainest policy that there can be: the same
// writer, the same object, the same patch.
func (b *bench) measureFence(ctx context.Context) (f figures, err error) {
	for _, namespace := range []string{fencedNamespace, openNamespace, plainNamespace} {
		if err := b.cluster.prepareNamespace(ctx, namespace); err != nil {
			return nil, err
		}
	}
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "leader"}, Spec: specOf("leader")}
	if _, err := b.cluster.plane.Admin().Clientset().CoordinationV1().Leases(fencedNamespace).Create(ctx, lease, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	client := b.cluster.client()
	defer client.close()
	if err := b.enforcePlainPolicy(ctx); err != nil {
		return nil, err
	}
	for _, m := range fencingModes {
		b.progress("fence: %s, %d writes of each kind", m.name, b.rounds*writesPerRound)
		samples, err := b.fencedWrites(ctx, client, m)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
		f = append(f, fenceFigures(m.name, samples)...)
	}
	return f, nil
}

func (c *cluster) prepareNamespace(ctx context.Context, name string) error {
	core := c.plane.Admin().Clientset().CoreV1()
	_, err := core.Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	_, err = core.ConfigMaps(name).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "object"}}, metav1.CreateOptions{})
	return err
}

// fencedWrites returns how long writes with a Fence and without took.
func (b *bench) fencedWrites(ctx context.Context, client *client, m fencingMode) (samples map[string][]float64, err error) {
	account := envtest.ServiceAccount{Namespace: fencedNamespace, Name: "operator"}
	fence := fencing.Fence{
		LeaseNamespace: fencedNamespace, LeaseName: "leader", ServiceAccount: account.Name, Mode: m.mode,
		Resources: []schema.GroupResource{{Resource: "configmaps"}}, Namespaces: []string{fencedNamespace},
	}
	remove, err := envtest.EnforceFence(ctx, fence, client.config)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, remove(context.WithoutCancel(ctx))) }()
	writer, err := kubernetes.NewForConfig(asPod(client.config, account, "leader"))
	if err != nil {
		return nil, err
	}
	namespaces := map[string]string{incumbent: fencedNamespace, limitName: openNamespace, plainName: plainNamespace}
	samples = map[string][]float64{}
	for n := range b.rounds * writesPerRound {
		names := []string{incumbent, limitName, plainName}
		rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		for _, name := range names {
			began := time.Now()
			if err := patchObject(ctx, writer, namespaces[name], fence, strconv.Itoa(n)); err != nil {
				return nil, err
			}
			samples[name] = append(samples[name], milliseconds(time.Since(began)))
		}
	}
	return samples, nil
}

// enforcePlainPolicy puts a policy into force that refuses one value, which nobody
// writes but to see whether it is in force.
func (b *bench) enforcePlainPolicy(ctx context.Context) error {
	const refused = "refused"
	admin := b.cluster.plane.Admin().Clientset()
	policies, name := admin.AdmissionregistrationV1(), metav1.ObjectMeta{Name: plainNamespace}
	policy := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: name, Spec: admissionv1.ValidatingAdmissionPolicySpec{
		MatchConstraints: &admissionv1.MatchResources{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: plainNamespace}},
			ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
				Operations: []admissionv1.OperationType{admissionv1.Update},
				Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
			}}},
		},
		Validations: []admissionv1.Validation{{Expression: "object.data.n != '" + refused + "'"}},
	}}
	if _, err := policies.ValidatingAdmissionPolicies().Create(ctx, policy, metav1.CreateOptions{}); err != nil {
		return err
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: name, Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: plainNamespace, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
	}}
	if _, err := policies.ValidatingAdmissionPolicyBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		return err
	}
	for began := time.Now(); time.Since(began) < patience; {
		probe := fencing.Fence{LeaseNamespace: fencedNamespace, LeaseName: "leader"}
		switch err := patchObject(ctx, admin, plainNamespace, probe, refused); {
		case apierrors.IsInvalid(err) && strings.Contains(err.Error(), plainNamespace):
			return nil
		case err != nil:
			return err
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("the policy %s is not in force after %v", plainNamespace, patience)
}

// asPod is a config that RBAC lets through.
func asPod(config *rest.Config, account envtest.ServiceAccount, pod string) *rest.Config {
	config = account.Pod(config, pod)
	config.Impersonate.Groups = []string{"system:masters"}
	return config
}

func patchObject(ctx context.Context, writer kubernetes.Interface, namespace string, fence fencing.Fence, n string) error {
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:"1 leader"}},"data":{"n":%q}}`,
		fencing.AnnotationKey(fence.LeaseNamespace+"/"+fence.LeaseName), n)
	_, err := writer.CoreV1().ConfigMaps(namespace).Patch(ctx, "object", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

func fenceFigures(mode string, samples map[string][]float64) (f figures) {
	group := fmt.Sprintf("guarded write, fenced %s; the limit is the same write without a Fence, %d of each", mode, len(samples[incumbent]))
	f.add(group, "median", "ms", each(samples, medianOf))
	f.add(group, "99 %", "ms", each(samples, p99Of))
	limit := summarize(samples[limitName]).Median
	f.add(group, "median, as multiple of the limit's", "", each(samples, func(s summary) float64 { return s.Median / limit }))
	f.wantAtMost(1.1)
	f.add(group, "the same under the plainest policy", "", map[string]float64{limitName: summarize(samples[plainName]).Median / limit})
	return f
}
