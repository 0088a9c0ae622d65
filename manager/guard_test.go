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

// A leadership answers what a test wants.
type leadership struct {
	term  leaderelection.Term
	leads bool
}

func (l leadership) Term() (leaderelection.Term, bool) { return l.term, l.leads }

func TestGuard_OnlyTheLiveTermMayWrite(t *testing.T) {
	elector, ctx, stop := leadAlone(t)
	term, _ := elector.Term()
	later := term
	later.Token++
	over, cancel := context.WithCancelCause(ctx)
	cancel(leaderelection.ErrOvertaken)

	for _, tc := range []struct {
		name       string
		ctx        context.Context
		leadership Leadership
		want       error
	}{
		{"the term's own", ctx, elector, nil},
		{"a context without a term", t.Context(), elector, errNoTerm},
		{"a context that was cancelled", over, elector, leaderelection.ErrOvertaken},
		{"left over from an earlier term", context.WithoutCancel(ctx), leadership{later, true}, errOtherTerm},
		{"leadership that is not certain any more", ctx, leadership{}, errUncertain},
	} {
		err := mayWrite(tc.ctx, tc.leadership)
		if !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
	stop()
	if err := mayWrite(ctx, elector); !errors.Is(err, errTermOver) || !errors.Is(err, leaderelection.ErrCancelled) {
		t.Errorf("after the term: %v, want that it is over because it was cancelled", err)
	}
	if err := mayWrite(context.WithoutCancel(ctx), elector); !errors.Is(err, errUncertain) {
		t.Errorf("after the term, with a context that does not know it: %v, want errUncertain", err)
	}
}

// A countingClient counts what reaches it.
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

// writes are all methods of a client that write, by their names.
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

func TestGuardClient_ReadsElectionsEventsAndReviewsPass(t *testing.T) {
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

// A closer notes that it was closed.
type closer struct {
	*strings.Reader
	closed bool
}

func (c *closer) Close() error { c.closed = true; return nil }

func TestGuardTransport_WhatIsAWrite(t *testing.T) {
	elector, term, _ := leadAlone(t)
	guard := GuardTransport(elector, roundTripperFunc(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK}, nil
	}))
	for _, tc := range []struct {
		method, path string
		refused      bool
	}{
		{"GET", "/api/v1/namespaces/default/pods", false},
		{"GET", "/api/v1/namespaces/default/pods/a/log", false},
		{"HEAD", "/healthz", false},
		{"POST", "/api/v1/namespaces/default/configmaps", true},
		{"PUT", "/apis/apps/v1/namespaces/default/deployments/a/status", true},
		{"PATCH", "/apis/example.com/v1/widgets/a", true},
		{"DELETE", "/api/v1/namespaces/default", true},
		{"PUT", "/api/v1/namespaces/default/finalize", true},
		{"POST", "/api/v1/namespaces/default/pods/a/eviction", true},
		{"POST", "/api/v1/namespaces/default/pods/a/exec", true},
		{"GET", "/api/v1/namespaces/default/pods/a/exec", true},
		{"POST", "/somewhere/else", true},
		{"PUT", "/apis/coordination.k8s.io/v1/namespaces/default/leases/a", false},
		{"POST", "/behind/a/proxy/apis/coordination.k8s.io/v1/namespaces/default/leases", false},
		{"POST", "/api/v1/namespaces/default/events", false},
		{"POST", "/api/v1/namespaces/events/pods", true},
		{"PATCH", "/apis/events.k8s.io/v1/namespaces/default/events/a", false},
		{"POST", "/apis/example.com/v1/namespaces/default/events", true},
		{"POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", false},
	} {
		body := &closer{Reader: strings.NewReader("{}")}
		request := func(ctx context.Context) *http.Request {
			r, err := http.NewRequestWithContext(ctx, tc.method, "https://cluster"+tc.path, body)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		_, err := guard.RoundTrip(request(t.Context()))
		if errors.Is(err, ErrWriteRefused) != tc.refused || (err != nil) != tc.refused || body.closed != tc.refused {
			t.Errorf("%s %s without a term: %v, want it refused: %v; its body was closed: %v", tc.method, tc.path, err, tc.refused, body.closed)
		}
		if _, err := guard.RoundTrip(request(term)); err != nil {
			t.Errorf("%s %s in the term: %v", tc.method, tc.path, err)
		}
	}
}
