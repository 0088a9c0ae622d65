package leaderelectiontest_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// describe calls f, which sends an HTTP request. It returns the
// Request that a Network creates from this HTTP request.
func describe(t *testing.T, contentType string, f func(context.Context, kubernetes.Interface)) leaderelectiontest.Request {
	t.Helper()
	network := leaderelectiontest.NewNetwork()
	cut := network.Cut(leaderelectiontest.Refuse)
	config := network.Wrap(&rest.Config{Host: "http://nowhere.invalid"})
	config.ContentType = contentType
	f(t.Context(), kubernetes.NewForConfigOrDie(config))
	return cut.Await(t)
}

func leaseNamed(name, holder string) *coordinationv1.Lease {
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ns"},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &holder},
	}
}

func TestRequest_HasTheVerbAndTheObjectThatTheAPIServerSees(t *testing.T) {
	const leases = "/apis/coordination.k8s.io/v1/namespaces/ns/leases"
	about := leaderelectiontest.Request{Path: leases, Group: "coordination.k8s.io", Resource: "leases", Namespace: "ns"}
	with := func(verb, name string) leaderelectiontest.Request {
		r := about
		r.Verb, r.Name = verb, name
		if name != "" && verb != "watch" && verb != "create" {
			r.Path += "/" + name
		}
		return r
	}
	for name, test := range map[string]struct {
		send func(context.Context, kubernetes.Interface)
		want leaderelectiontest.Request
	}{
		"get": {func(ctx context.Context, c kubernetes.Interface) {
			_, _ = c.CoordinationV1().Leases("ns").Get(ctx, "x", metav1.GetOptions{})
		}, with("get", "x")},
		"list": {func(ctx context.Context, c kubernetes.Interface) {
			_, _ = c.CoordinationV1().Leases("ns").List(ctx, metav1.ListOptions{})
		}, with("list", "")},
		"watch of one": {func(ctx context.Context, c kubernetes.Interface) {
			_, _ = c.CoordinationV1().Leases("ns").Watch(ctx, metav1.SingleObject(metav1.ObjectMeta{Name: "x"}))
		}, with("watch", "x")},
		"create": {func(ctx context.Context, c kubernetes.Interface) {
			_, _ = c.CoordinationV1().Leases("ns").Create(ctx, leaseNamed("x", "me"), metav1.CreateOptions{})
		}, with("create", "x")},
		"update": {func(ctx context.Context, c kubernetes.Interface) {
			_, _ = c.CoordinationV1().Leases("ns").Update(ctx, leaseNamed("x", "me"), metav1.UpdateOptions{})
		}, with("update", "x")},
		"patch": {func(ctx context.Context, c kubernetes.Interface) {
			_, _ = c.CoordinationV1().Leases("ns").Patch(ctx, "x", types.MergePatchType, []byte("{}"), metav1.PatchOptions{})
		}, with("patch", "x")},
		"delete": {func(ctx context.Context, c kubernetes.Interface) {
			_ = c.CoordinationV1().Leases("ns").Delete(ctx, "x", metav1.DeleteOptions{})
		}, with("delete", "x")},
		"deletecollection": {func(ctx context.Context, c kubernetes.Interface) {
			_ = c.CoordinationV1().Leases("ns").DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
		}, with("deletecollection", "")},
		"a namespace": {func(ctx context.Context, c kubernetes.Interface) {
			_, _ = c.CoreV1().Namespaces().Get(ctx, "ns", metav1.GetOptions{})
		}, leaderelectiontest.Request{Verb: "get", Path: "/api/v1/namespaces/ns", Resource: "namespaces", Namespace: "ns", Name: "ns"}},
		"a subresource": {func(ctx context.Context, c kubernetes.Interface) {
			_, _ = c.CoreV1().Pods("ns").UpdateStatus(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}}, metav1.UpdateOptions{})
		}, leaderelectiontest.Request{
			Verb: "update", Path: "/api/v1/namespaces/ns/pods/p/status", Resource: "pods", Subresource: "status", Namespace: "ns", Name: "p",
		}},
		"discovery": {func(_ context.Context, c kubernetes.Interface) {
			_, _ = c.Discovery().ServerVersion()
		}, leaderelectiontest.Request{Verb: "get", Path: "/version"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := describe(t, "", test.send)
			if diff := cmp.Diff(test.want, got, ignoreObject); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRequest_ClaimsAndReleasesDiffer(t *testing.T) {
	for _, contentType := range []string{"application/json", "application/vnd.kubernetes.protobuf"} {
		for holder, claims := range map[string]bool{"pod-1": true, "": false} {
			r := describe(t, contentType, func(ctx context.Context, c kubernetes.Interface) {
				_, _ = c.CoordinationV1().Leases("ns").Update(ctx, leaseNamed("x", holder), metav1.UpdateOptions{})
			})
			if leaderelectiontest.Claims("pod-1")(r) != claims || leaderelectiontest.Releases(r) == claims {
				t.Errorf("%s, holder %q: claims %v, releases %v", contentType, holder, leaderelectiontest.Claims("pod-1")(r), leaderelectiontest.Releases(r))
			}
			if !leaderelectiontest.Writes(r) || leaderelectiontest.Reads(r) {
				t.Errorf("%s: an update counts as a read", contentType)
			}
		}
	}
}

func TestRequest_WithoutGetBodyHasNoObject(t *testing.T) {
	network := leaderelectiontest.NewNetwork()
	cut := network.Cut(leaderelectiontest.Refuse)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://nowhere.invalid/api/v1/pods", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Body, request.GetBody = http.NoBody, nil
	_, _ = network.RoundTripper(http.DefaultTransport).RoundTrip(request)
	if r := cut.Await(t); r.Object != nil || r.Verb != "create" {
		t.Errorf("got %v with %v", r, r.Object)
	}
}

func TestServer_ServesLeasesBehindAPathPrefix(t *testing.T) {
	bubble(t, func(t *testing.T, server *leaderelectiontest.Server) {
		config := server.Client("pod-1").Config()
		config.Host += "/api/clusters/c1"
		leases := kubernetes.NewForConfigOrDie(config).CoordinationV1().Leases("default")
		if _, err := leases.Create(t.Context(), lease("pod-1"), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		stored, err := leases.Get(t.Context(), "app", metav1.GetOptions{})
		if err != nil || leaderelectiontest.Holder(stored) != "pod-1" {
			t.Errorf("got %v, %v", stored, err)
		}
		claims := server.Client("pod-1").Network().Count(leaderelectiontest.Claims("pod-1"))
		if claims != 1 || server.Count("pod-1", "create") != 1 || server.Count("pod-1", "get") != 1 {
			t.Errorf("counted %d claims, want 1", claims)
		}
	})
}
