package manager

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	eventsv1apply "k8s.io/client-go/applyconfigurations/events/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// leadership is a guard.Leadership whose Term method always returns the same values.
type leadership struct {
	term  leaderelection.Term
	leads bool
}

func (l leadership) Term() (leaderelection.Term, bool) { return l.term, l.leads }

// A countingClient is a client that counts the calls of its methods and sends nothing.
type countingClient struct {
	client.Client
	client.SubResourceClient
	calls *int
}

func (c countingClient) count() error { *c.calls++; return nil }

func (c countingClient) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return c.count()
}

func (c countingClient) Create(context.Context, client.Object, ...client.CreateOption) error {
	return c.count()
}

func (c countingClient) Update(context.Context, client.Object, ...client.UpdateOption) error {
	return c.count()
}

func (c countingClient) Patch(context.Context, client.Object, client.Patch, ...client.PatchOption) error {
	return c.count()
}

func (c countingClient) Apply(context.Context, runtime.ApplyConfiguration, ...client.ApplyOption) error {
	return c.count()
}

func (c countingClient) Delete(context.Context, client.Object, ...client.DeleteOption) error {
	return c.count()
}

func (c countingClient) DeleteAllOf(context.Context, client.Object, ...client.DeleteAllOfOption) error {
	return c.count()
}

func (c countingClient) SubResource(string) client.SubResourceClient { return countingSubResource{c} }

func (c countingClient) GroupVersionKindFor(obj runtime.Object) (schema.GroupVersionKind, error) {
	return apiutil.GVKForObject(obj, scheme.Scheme)
}

type countingSubResource struct{ countingClient }

func (c countingSubResource) Get(context.Context, client.Object, client.Object, ...client.SubResourceGetOption) error {
	return c.count()
}

func (c countingSubResource) Create(context.Context, client.Object, client.Object, ...client.SubResourceCreateOption) error {
	return c.count()
}

func (c countingSubResource) Update(context.Context, client.Object, ...client.SubResourceUpdateOption) error {
	return c.count()
}

func (c countingSubResource) Patch(context.Context, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
	return c.count()
}

func (c countingSubResource) Apply(context.Context, runtime.ApplyConfiguration, ...client.SubResourceApplyOption) error {
	return c.count()
}

// writes returns the methods of c that write an object, keyed by the name of the
// method. The map writer contains the methods that write the object itself. The map
// status contains the methods that write its subresource status.
func writes(c client.Client, obj client.Object, apply runtime.ApplyConfiguration) (writer, status map[string]func(context.Context) error) {
	patch := client.RawPatch("", nil)
	writer = map[string]func(context.Context) error{
		"Create":      func(ctx context.Context) error { return c.Create(ctx, obj) },
		"Update":      func(ctx context.Context) error { return c.Update(ctx, obj) },
		"Patch":       func(ctx context.Context) error { return c.Patch(ctx, obj, patch) },
		"Apply":       func(ctx context.Context) error { return c.Apply(ctx, apply) },
		"Delete":      func(ctx context.Context) error { return c.Delete(ctx, obj) },
		"DeleteAllOf": func(ctx context.Context) error { return c.DeleteAllOf(ctx, obj) },
	}
	s := c.Status()
	status = map[string]func(context.Context) error{
		"Create": func(ctx context.Context) error { return s.Create(ctx, obj, obj) },
		"Update": func(ctx context.Context) error { return s.Update(ctx, obj) },
		"Patch":  func(ctx context.Context) error { return s.Patch(ctx, obj, patch) },
		"Apply":  func(ctx context.Context) error { return s.Apply(ctx, apply) },
	}
	return writer, status
}

func TestGuardClient_EveryWriteIsRefusedWithoutATermAndPassesInIt(t *testing.T) {
	elector, ctx, _ := leadAlone(t)
	calls := 0
	c := GuardClient(elector, countingClient{calls: &calls})
	configMap := &corev1.ConfigMap{}
	configMap.Name = "settings"
	writer, status := writes(c, configMap, corev1apply.ConfigMap("settings", "default"))
	if n := reflect.TypeFor[client.Writer]().NumMethod(); n != len(writer) {
		t.Errorf("a client has %d methods that write, and %d are tested", n, len(writer))
	}
	if n := reflect.TypeFor[client.SubResourceWriter]().NumMethod(); n != len(status) {
		t.Errorf("a client of subresources has %d methods that write, and %d are tested", n, len(status))
	}
	for _, methods := range []map[string]func(context.Context) error{writer, status} {
		for name, write := range methods {
			calls = 0
			if err := write(t.Context()); !errors.Is(err, ErrWriteRefused) || !strings.Contains(err.Error(), "ConfigMap") || calls > 0 {
				t.Errorf("%s without a term: %v after %d requests, want ErrWriteRefused that names the object, and none", name, err, calls)
			}
			if err := write(ctx); err != nil || calls != 1 {
				t.Errorf("%s in the term: %v after %d requests, want nil and one", name, err, calls)
			}
		}
	}
}

func TestGuardClient_ReadsLeasesEventsAndReviewsPass(t *testing.T) {
	calls := 0
	c := GuardClient(leadership{}, countingClient{calls: &calls})
	passed := map[string]error{
		"get":                        c.Get(t.Context(), client.ObjectKey{}, &corev1.Pod{}),
		"get a subresource":          c.SubResource("scale").Get(t.Context(), &corev1.Pod{}, &corev1.Pod{}),
		"Lease":                      c.Update(t.Context(), &coordinationv1.Lease{}),
		"Event":                      c.Create(t.Context(), &corev1.Event{}),
		"Event of events.k8s.io":     c.Patch(t.Context(), &eventsv1.Event{}, client.RawPatch("", nil)),
		"apply Event":                c.Apply(t.Context(), eventsv1apply.Event("e", "default")),
		"apply unstructured Lease":   c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(unstructuredOf("coordination.k8s.io/v1", "Lease"))),
		"unstructured access review": c.Create(t.Context(), unstructuredOf("authorization.k8s.io/v1", "SelfSubjectAccessReview")),
		"unstructured token review":  c.Create(t.Context(), unstructuredOf("authentication.k8s.io/v1", "TokenReview")),
	}
	for what, err := range passed {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if calls != len(passed) {
		t.Errorf("%d calls reached the client, want %d", calls, len(passed))
	}
}

func unstructuredOf(version, kind string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetAPIVersion(version)
	u.SetKind(kind)
	return u
}

type roundTripperFunc func(*http.Request) (*http.Response, error)

func (f roundTripperFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestGuardTransport_RefusesWritesBehindAnyPrefix(t *testing.T) {
	elector, term, _ := leadAlone(t)
	transport := GuardTransport(elector, roundTripperFunc(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK}, nil
	}))
	for _, prefix := range []string{"", "/k8s/clusters/c-m-abc", "/api/clusters/c1", "/apis/gw/c1"} {
		for _, tc := range []struct {
			method, path string
			refused      bool
		}{
			{"PUT", "/apis/coordination.k8s.io/v1/namespaces/ns/leases/l", false},
			{"POST", "/api/v1/namespaces/ns/events", false},
			{"GET", "/api/v1/namespaces/ns/pods/p/exec", true},
			{"POST", "/api/v1/namespaces/ns/configmaps", true},
			{"PATCH", "/apis/apps/v1/namespaces/ns/deployments/d", true},
		} {
			request := func(ctx context.Context) *http.Request {
				r, err := http.NewRequestWithContext(ctx, tc.method, "https://cluster"+prefix+tc.path, nil)
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			if _, err := transport.RoundTrip(request(t.Context())); errors.Is(err, ErrWriteRefused) != tc.refused || (err != nil) != tc.refused {
				t.Errorf("%s %s without a term: %v, want it refused: %v", tc.method, prefix+tc.path, err, tc.refused)
			}
			if _, err := transport.RoundTrip(request(term)); err != nil {
				t.Errorf("%s %s in the term: %v", tc.method, prefix+tc.path, err)
			}
		}
	}
}

func TestGuard_RefusesWritesWithoutAnElector(t *testing.T) {
	_, term, _ := leadAlone(t)
	elector := ElectorOf(nil) // nil, because the Manager is nil
	calls := 0
	c := GuardClient(elector, countingClient{calls: &calls})
	if err := c.Create(term, &corev1.ConfigMap{}); !errors.Is(err, ErrWriteRefused) || calls > 0 {
		t.Errorf("a write: %v after %d requests, want ErrWriteRefused and none", err, calls)
	}
	if err := c.Update(term, &coordinationv1.Lease{}); err != nil || calls != 1 {
		t.Errorf("a write of a Lease: %v after %d requests, want nil and one", err, calls)
	}
	r, err := http.NewRequestWithContext(term, http.MethodPost, "https://cluster/api/v1/namespaces/ns/configmaps", nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := GuardTransport(elector, roundTripperFunc(func(*http.Request) (*http.Response, error) {
		t.Error("the write was sent")
		return &http.Response{StatusCode: http.StatusOK}, nil
	}))
	if _, err := transport.RoundTrip(r); !errors.Is(err, ErrWriteRefused) {
		t.Errorf("a request: %v, want ErrWriteRefused", err)
	}
}
