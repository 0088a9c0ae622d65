package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
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
	bystanderName   = "somebody else"
	fencedPod       = "leader"
	fencedObject    = "object"
	// writesPerRound is how many writes of each kind there are for each round that
	// is asked for: the policy costs little, and much else varies.
	writesPerRound = 100
)

// A fencedKind is one kind of object to write. The policy looks at the same few fields
// of each, so it costs the least object the most in proportion.
type fencedKind struct {
	name     string
	resource schema.GroupResource
	create   func(ctx context.Context, admin kubernetes.Interface, namespace string) error
	// change changes the object, and puts the stamp of a term on it.
	change func(ctx context.Context, writer kubernetes.Interface, namespace, annotation string, n int) error
}

var fencedKinds = []fencedKind{
	{
		"of a Deployment", schema.GroupResource{Group: "apps", Resource: "deployments"},
		func(ctx context.Context, admin kubernetes.Interface, namespace string) error {
			labels := map[string]string{"app": "web"}
			_, err := admin.AppsV1().Deployments(namespace).Create(ctx, &appsv1.Deployment{
				ObjectMeta: metav1.ObjectMeta{Name: fencedObject, Labels: labels},
				Spec: appsv1.DeploymentSpec{
					Selector: &metav1.LabelSelector{MatchLabels: labels},
					Template: corev1.PodTemplateSpec{
						ObjectMeta: metav1.ObjectMeta{Labels: labels},
						Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "web"}}},
					},
				},
			}, metav1.CreateOptions{})
			return err
		},
		func(ctx context.Context, writer kubernetes.Interface, namespace, annotation string, n int) error {
			patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:"1 leader"}},"spec":{"replicas":%d}}`, annotation, n)
			_, err := writer.AppsV1().Deployments(namespace).Patch(ctx, fencedObject, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
			return err
		},
	},
	{
		"of a ConfigMap of one number", schema.GroupResource{Resource: "configmaps"},
		func(ctx context.Context, admin kubernetes.Interface, namespace string) error {
			_, err := admin.CoreV1().ConfigMaps(namespace).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fencedObject}}, metav1.CreateOptions{})
			return err
		},
		func(ctx context.Context, writer kubernetes.Interface, namespace, annotation string, n int) error {
			patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:"1 leader"}},"data":{"n":"%d"}}`, annotation, n)
			_, err := writer.CoreV1().ConfigMaps(namespace).Patch(ctx, fencedObject, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
			return err
		},
	},
}

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
// writer, the same object, the same patch. Somebody whom the Fence does not govern
// writes where it is, too.
func (b *bench) measureFence(ctx context.Context) (f figures, err error) {
	for _, namespace := range []string{fencedNamespace, openNamespace, plainNamespace} {
		if err := b.cluster.prepareNamespace(ctx, namespace); err != nil {
			return nil, err
		}
	}
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "leader"}, Spec: specOf(fencedPod + "_5b1f0f4c-9c39-4a3c-8f0d-0a4d9e9f6c11")}
	if _, err := b.cluster.plane.Admin().Clientset().CoordinationV1().Leases(fencedNamespace).Create(ctx, lease, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	client := b.cluster.client()
	defer client.close()
	if err := b.enforcePlainPolicy(ctx); err != nil {
		return nil, err
	}
	for _, m := range fencingModes {
		b.progress("fence: %s, %d writes of each kind", m.name, len(fencedKinds)*b.rounds*writesPerRound)
		samples, err := b.fencedWrites(ctx, client, m)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
		for _, kind := range fencedKinds {
			f = append(f, fenceFigures(m.name, kind.name, samples[kind.name])...)
		}
	}
	return f, nil
}

func (c *cluster) prepareNamespace(ctx context.Context, name string) error {
	admin := c.plane.Admin().Clientset()
	_, err := admin.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	for _, kind := range fencedKinds {
		if err == nil {
			err = kind.create(ctx, admin, name)
		}
	}
	return err
}

// fencedWrites returns how long writes of each kind of object took, with a Fence and
// without.
func (b *bench) fencedWrites(ctx context.Context, client *client, m fencingMode) (samples map[string]map[string][]float64, err error) {
	account := envtest.ServiceAccount{Namespace: fencedNamespace, Name: "operator"}
	fence := fencing.Fence{
		LeaseNamespace: fencedNamespace, LeaseName: "leader", ServiceAccount: account.Name, Mode: m.mode, Namespaces: []string{fencedNamespace},
	}
	for _, kind := range fencedKinds {
		fence.Resources = append(fence.Resources, kind.resource)
	}
	remove, err := envtest.EnforceFence(ctx, fence, client.config)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, remove(context.WithoutCancel(ctx))) }()
	writer, err := kubernetes.NewForConfig(asPod(client.config, account, fencedPod))
	if err != nil {
		return nil, err
	}
	account.Name = "bystander"
	bystander, err := kubernetes.NewForConfig(asPod(client.config, account, "bystander"))
	if err != nil {
		return nil, err
	}
	writes := map[string]struct {
		writer    kubernetes.Interface
		namespace string
	}{
		incumbent: {writer, fencedNamespace}, bystanderName: {bystander, fencedNamespace},
		limitName: {writer, openNamespace}, plainName: {writer, plainNamespace},
	}
	samples, n := map[string]map[string][]float64{}, 0
	for _, kind := range fencedKinds {
		samples[kind.name] = map[string][]float64{}
		for range b.rounds * writesPerRound {
			names := slices.Collect(maps.Keys(writes))
			rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
			for _, name := range names {
				n++ // each write is a change
				began := time.Now()
				if err := kind.change(ctx, writes[name].writer, writes[name].namespace, fencing.AnnotationKey(fence.LeaseNamespace+"/"+fence.LeaseName), n); err != nil {
					return nil, err
				}
				samples[kind.name][name] = append(samples[kind.name][name], milliseconds(time.Since(began)))
			}
		}
	}
	return samples, nil
}

// enforcePlainPolicy puts a policy into force that refuses one name, which nobody
// writes but to see whether it is in force.
func (b *bench) enforcePlainPolicy(ctx context.Context) error {
	const refused = "refused"
	admin := b.cluster.plane.Admin().Clientset()
	policies, name := admin.AdmissionregistrationV1(), metav1.ObjectMeta{Name: plainNamespace}
	policy := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: name, Spec: admissionv1.ValidatingAdmissionPolicySpec{
		MatchConstraints: &admissionv1.MatchResources{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: plainNamespace}},
		},
		Validations: []admissionv1.Validation{{Expression: "object.metadata.name != '" + refused + "'"}},
	}}
	for _, kind := range fencedKinds {
		policy.Spec.MatchConstraints.ResourceRules = append(policy.Spec.MatchConstraints.ResourceRules, admissionv1.NamedRuleWithOperations{
			RuleWithOperations: admissionv1.RuleWithOperations{
				Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
				Rule:       admissionv1.Rule{APIGroups: []string{kind.resource.Group}, APIVersions: []string{"v1"}, Resources: []string{kind.resource.Resource}},
			},
		})
	}
	if _, err := policies.ValidatingAdmissionPolicies().Create(ctx, policy, metav1.CreateOptions{}); err != nil {
		return err
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: name, Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: plainNamespace, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
	}}
	if _, err := policies.ValidatingAdmissionPolicyBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		return err
	}
	probe := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: refused}}
	for began := time.Now(); time.Since(began) < patience; {
		_, err := admin.CoreV1().ConfigMaps(plainNamespace).Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		switch {
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

func fenceFigures(mode, kind string, samples map[string][]float64) (f figures) {
	group := fmt.Sprintf("guarded write %s, fenced %s; the limit is the same write without a Fence, %d of each", kind, mode, len(samples[incumbent]))
	own := map[string][]float64{incumbent: samples[incumbent], limitName: samples[limitName]}
	f.add(group, "median", "ms", each(own, medianOf))
	f.add(group, "99 %", "ms", each(own, p99Of))
	limit := summarize(samples[limitName]).Median
	multiple := func(name string) float64 { return summarize(samples[name]).Median / limit }
	f.add(group, "median, as multiple of the limit's", "", map[string]float64{limitName: 1, incumbent: multiple(incumbent)})
	f.wantAtMost(1.1)
	f.add(group, "the same of a writer who is not fenced off", "", map[string]float64{incumbent: multiple(bystanderName)})
	f.add(group, "the same under the plainest policy", "", map[string]float64{limitName: multiple(plainName)})
	return f
}
