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

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/hack/lab"
	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
)

const (
	fencedNamespace   = "bench-fenced"
	unfencedNamespace = "bench-unfenced"
	plainNamespace    = "bench-plain" // the namespace with a trivial policy
	plainName         = "plain policy"
	bystanderName     = "other writer"
	fencedPod         = "leader"
	fencedObject      = "object"
	// writesPerRound is the number of writes per round, for each kind of object and
	// each writer. The number is high, because a Fence slows down a write only a
	// little.
	writesPerRound = 100
)

// A fencedKind is a kind of object that the benchmark writes.
type fencedKind struct {
	name     string
	resource schema.GroupResource
	create   func(ctx context.Context, admin kubernetes.Interface, namespace string) error
	// change writes the number n into the object. It also sets the annotation with the
	// given key to the writer's term.
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

// A fencingMode is a mode of a Fence, together with its name in the results table.
type fencingMode struct {
	name string
	mode fencing.Mode
}

var fencingModes = []fencingMode{
	{"by pod", fencing.ByPod},
	{"by term", fencing.ByTerm},
	{"by pod and by term", fencing.ByPod | fencing.ByTerm},
}

// measureFence measures how much a Fence slows down writes. It sends the same writes to
// three namespaces. The first namespace has a Fence, the second has no policy, and the
// third has a trivial policy. A second writer, to whom the Fence does not apply, also
// writes to the first namespace.
func (b *bench) measureFence(ctx context.Context) (f figures, err error) {
	for _, namespace := range []string{fencedNamespace, unfencedNamespace, plainNamespace} {
		if err := b.prepareNamespace(ctx, namespace); err != nil {
			return nil, err
		}
	}
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "leader"}, Spec: specOf(fencedPod + "_5b1f0f4c-9c39-4a3c-8f0d-0a4d9e9f6c11")}
	if _, err := b.cluster.Clientset.CoordinationV1().Leases(fencedNamespace).Create(ctx, lease, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	client := newClient(b.cluster.Config)
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
			f = append(f, fenceFigures(m.name, kind.name, samples[kind.name], b.rounds*writesPerRound)...)
		}
	}
	return f, nil
}

func (b *bench) prepareNamespace(ctx context.Context, name string) error {
	admin := b.cluster.Clientset
	_, err := admin.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	for _, kind := range fencedKinds {
		if err == nil {
			err = kind.create(ctx, admin, name)
		}
	}
	return err
}

// fencedWrites measures the duration of each write in milliseconds. The outer key of
// the result is the name of the kind of object. The inner key is a key of the local map
// named writes.
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
	writer, err := kubernetes.NewForConfig(lab.AsPod(client.config, account.Namespace, account.Name, fencedPod))
	if err != nil {
		return nil, err
	}
	account.Name = "bystander"
	bystander, err := kubernetes.NewForConfig(lab.AsPod(client.config, account.Namespace, account.Name, "bystander"))
	if err != nil {
		return nil, err
	}
	writes := map[string]struct {
		writer    kubernetes.Interface
		namespace string
	}{
		incumbent: {writer, fencedNamespace}, bystanderName: {bystander, fencedNamespace},
		limitName: {writer, unfencedNamespace}, plainName: {writer, plainNamespace},
	}
	samples, n := map[string]map[string][]float64{}, 0
	for _, kind := range fencedKinds {
		samples[kind.name] = map[string][]float64{}
		for range b.rounds * writesPerRound {
			names := slices.Collect(maps.Keys(writes))
			rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
			for _, name := range names {
				n++ // each write must change the object
				began := time.Now()
				if err := kind.change(ctx, writes[name].writer, writes[name].namespace, fencing.AnnotationKey(fence.LeaseNamespace+"/"+fence.LeaseName), n); err != nil {
					return nil, err
				}
				samples[kind.name][name] = append(samples[kind.name][name], lab.Milliseconds(time.Since(began)))
			}
		}
	}
	return samples, nil
}

// enforcePlainPolicy creates a trivial policy and waits until the API server enforces
// the policy. The policy refuses only objects with the name "refused".
func (b *bench) enforcePlainPolicy(ctx context.Context) error {
	const refused = "refused"
	match := admissionv1.MatchResources{
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: plainNamespace}},
	}
	for _, kind := range fencedKinds {
		match.ResourceRules = append(match.ResourceRules, lab.Rule(kind.resource, admissionv1.Create, admissionv1.Update))
	}
	probe := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: refused}}
	return lab.EnforcePolicy(ctx, b.cluster.Clientset, plainNamespace, match,
		admissionv1.Validation{Expression: "object.metadata.name != '" + refused + "'"},
		func(ctx context.Context) (bool, error) {
			_, err := b.cluster.Clientset.CoreV1().ConfigMaps(plainNamespace).Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if apierrors.IsInvalid(err) && strings.Contains(err.Error(), plainNamespace) {
				return true, nil
			}
			return false, err
		})
}

func fenceFigures(mode, kind string, samples map[string][]float64, wanted int) (f figures) {
	group := fmt.Sprintf("write %s with a Fence %s; the limit is the same write without a Fence, %d of each", kind, mode, wanted)
	own := map[string][]float64{incumbent: samples[incumbent], limitName: samples[limitName]}
	f.addSamples(group, "median", "ms", own, wanted, medianOf)
	f.addSamples(group, "99 %", "ms", own, wanted, p99Of)
	limit := medianOrNaN(samples[limitName], wanted)
	multiple := func(s summary) float64 { return s.Median / limit }
	f.addSamples(group, "median, as multiple of the limit's", "", own, wanted, multiple)
	f.wantAtMost(1.1)
	f.addSamples(group, "the same of a writer to whom the Fence does not apply", "", map[string][]float64{incumbent: samples[bystanderName]}, wanted, multiple)
	f.addSamples(group, "the same under a trivial policy", "", map[string][]float64{limitName: samples[plainName]}, wanted, multiple)
	return f
}
