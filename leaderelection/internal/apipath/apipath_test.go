package apipath_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/apipath"
)

// result formats r as one line: "verb group/version namespace resource name
// subresource". Empty fields are written as "-".
func result(r apipath.Request) string {
	if !r.IsResource {
		if r.UnderAPI {
			return "no resource of the API"
		}
		return "no resource"
	}
	fields := []string{r.Verb, r.Group + "/" + r.Version, r.Namespace, r.Resource, r.Name, r.Subresource}
	for i, field := range fields {
		if field == "" {
			fields[i] = "-"
		}
	}
	return strings.Join(fields, " ")
}

func parse(t *testing.T, method, rawURL string) apipath.Request {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	return apipath.Parse(method, u)
}

func TestParse_ResolvesAPIPaths(t *testing.T) {
	for _, tc := range []struct{ method, path, want string }{
		{"GET", "/api/v1/namespaces/ns/pods", "list /v1 ns pods - -"},
		{"GET", "/api/v1/namespaces/ns/pods/", "list /v1 ns pods - -"},
		{"HEAD", "/api/v1/namespaces/ns/pods", "list /v1 ns pods - -"},
		{"GET", "/api/v1/pods", "list /v1 - pods - -"},
		{"GET", "/api/v1/namespaces/ns/pods?watch=true", "watch /v1 ns pods - -"},
		{"GET", "/api/v1/namespaces/ns/pods?watch=1", "watch /v1 ns pods - -"},
		{"GET", "/api/v1/namespaces/ns/pods?watch", "watch /v1 ns pods - -"},
		{"GET", "/api/v1/namespaces/ns/pods?watch=0", "list /v1 ns pods - -"},
		{"GET", "/api/v1/namespaces/ns/pods?watch=False", "list /v1 ns pods - -"},
		{"GET", "/api/v1/namespaces/ns/pods?fieldSelector=metadata.name%3Dp", "list /v1 ns pods p -"},
		{"GET", "/api/v1/namespaces/ns/pods?watch=true&fieldSelector=metadata.name%3Dp", "watch /v1 ns pods p -"},
		{"GET", "/api/v1/namespaces/ns/pods?fieldSelector=metadata.name%21%3Dp", "list /v1 ns pods - -"},
		{"GET", "/api/v1/namespaces/ns/pods?fieldSelector=%3D%3D%3D", "list /v1 ns pods - -"},
		{"GET", "/api/v1/namespaces/ns/pods/p", "get /v1 ns pods p -"},
		{"GET", "/api/v1/namespaces/ns/pods/p?watch=true", "get /v1 ns pods p -"},
		{"HEAD", "/api/v1/namespaces/ns/pods/p", "get /v1 ns pods p -"},
		{"GET", "/api/v1/namespaces/ns/pods/p/log", "get /v1 ns pods p log"},
		{"POST", "/api/v1/namespaces/ns/pods", "create /v1 ns pods - -"},
		{"POST", "/api/v1/namespaces/ns/pods?fieldSelector=metadata.name%3Dp", "create /v1 ns pods - -"},
		{"POST", "/api/v1/namespaces/ns/pods/p/eviction", "create /v1 ns pods p eviction"},
		{"PUT", "/apis/apps/v1/namespaces/ns/deployments/d", "update apps/v1 ns deployments d -"},
		{"PUT", "/apis/apps/v1/namespaces/ns/deployments/d/status", "update apps/v1 ns deployments d status"},
		{"PATCH", "/apis/apps/v1/namespaces/ns/deployments/d/scale", "patch apps/v1 ns deployments d scale"},
		{"DELETE", "/apis/apps/v1/namespaces/ns/deployments/d", "delete apps/v1 ns deployments d -"},
		{"DELETE", "/apis/apps/v1/namespaces/ns/deployments", "deletecollection apps/v1 ns deployments - -"},
		{"DELETE", "/apis/apps/v1/namespaces/ns/deployments?fieldSelector=metadata.name%3Dd", "deletecollection apps/v1 ns deployments d -"},
		{"OPTIONS", "/api/v1/namespaces/ns/pods", "- /v1 ns pods - -"},
		{"PATCH", "/apis/example.com/v1/widgets/a", "patch example.com/v1 - widgets a -"},

		{"GET", "/api/v1/namespaces", "list /v1 - namespaces - -"},
		{"GET", "/api/v1/namespaces/ns", "get /v1 ns namespaces ns -"},
		{"DELETE", "/api/v1/namespaces/ns", "delete /v1 ns namespaces ns -"},
		{"PUT", "/api/v1/namespaces/ns/finalize", "update /v1 ns namespaces ns finalize"},
		{"PATCH", "/api/v1/namespaces/ns/status", "patch /v1 ns namespaces ns status"},

		{"GET", "/api/v1/namespaces/ns/pods/p/exec?command=ls", "connect /v1 ns pods p exec"},
		{"POST", "/api/v1/namespaces/ns/pods/p/exec", "connect /v1 ns pods p exec"},
		{"GET", "/api/v1/namespaces/ns/pods/p/attach", "connect /v1 ns pods p attach"},
		{"GET", "/api/v1/namespaces/ns/pods/p/portforward", "connect /v1 ns pods p portforward"},
		{"GET", "/api/v1/namespaces/ns/pods/p/proxy", "connect /v1 ns pods p proxy"},
		{"GET", "/api/v1/namespaces/ns/pods/p:8080/proxy/metrics", "connect /v1 ns pods p:8080 proxy/metrics"},
		{"GET", "/api/v1/nodes/n/proxy/configz", "connect /v1 - nodes n proxy/configz"},
		{"PUT", "/api/v1/namespaces/ns/services/s/proxy/apis/apps/v1/namespaces/x/deployments/d",
			"connect /v1 ns services s proxy/apis/apps/v1/namespaces/x/deployments/d"},
		{"POST", "/api/v1/namespaces/ns/services/http:prometheus:9090/proxy/api/v1/query",
			"connect /v1 ns services http:prometheus:9090 proxy/api/v1/query"},
		{"GET", "/apis/subresources.kubevirt.io/v1/namespaces/ns/virtualmachineinstances/vm/portforward/22/tcp",
			"connect subresources.kubevirt.io/v1 ns virtualmachineinstances vm portforward/22/tcp"},

		{"GET", "/api/v1/watch/pods", "watch /v1 - pods - -"},
		{"GET", "/api/v1/watch/namespaces/ns/pods", "watch /v1 ns pods - -"},
		{"GET", "/api/v1/watch/namespaces/ns/pods/p", "watch /v1 ns pods p -"},
		{"GET", "/apis/apps/v1/watch/namespaces/ns/deployments/d", "watch apps/v1 ns deployments d -"},
		{"DELETE", "/api/v1/watch/namespaces/ns/pods/p", "delete /v1 ns pods p -"},

		// Names that look like parts of an API path.
		{"POST", "/api/v1/namespaces/api/configmaps", "create /v1 api configmaps - -"},
		{"POST", "/api/v1/namespaces/apis/configmaps", "create /v1 apis configmaps - -"},
		{"GET", "/api/v1/namespaces/api", "get /v1 api namespaces api -"},
		{"GET", "/api/v1/namespaces/apis/pods/api/exec", "connect /v1 apis pods api exec"},
		{"PUT", "/api/v1/namespaces/ns/configmaps/apis", "update /v1 ns configmaps apis -"},
		{"PUT", "/apis/apps/v1/namespaces/apis/deployments/v1/status", "update apps/v1 apis deployments v1 status"},
		{"PUT", "/apis/example.com/v1/namespaces/api/apis/v1", "update example.com/v1 api apis v1 -"},
		{"POST", "/api/v1/namespaces/events/pods", "create /v1 events pods - -"},

		// Versions.
		{"PUT", "/apis/example.com/v1api20200601/widgets/a", "update example.com/v1api20200601 - widgets a -"},
		{"PUT", "/apis/example.com/first/widgets/a", "update example.com/first - widgets a -"},
		{"GET", "/apis/metrics.k8s.io/v1beta1/nodes", "list metrics.k8s.io/v1beta1 - nodes - -"},
		{"PUT", "/apis/example.com/v1/namespaces/ns/machines/a/console/setup", "update example.com/v1 ns machines a console/setup"},

		// Requests that name no resource.
		{"GET", "", "no resource"},
		{"GET", "/", "no resource"},
		{"HEAD", "/healthz", "no resource"},
		{"GET", "/openapi/v3", "no resource"},
		{"POST", "/somewhere/else", "no resource"},
		{"GET", "/api", "no resource of the API"},
		{"GET", "/apis", "no resource of the API"},
		{"GET", "/api/v1", "no resource of the API"},
		{"GET", "/apis/apps", "no resource of the API"},
		{"GET", "/apis/apps/v1", "no resource of the API"},
		{"GET", "/k8s/clusters/c1/apis/apps/v1", "no resource of the API"},
		{"POST", "/api/clusters/c1", "no resource of the API"},
	} {
		if got := result(parse(t, tc.method, "https://cluster"+tc.path)); got != tc.want {
			t.Errorf("%s %s: got %q, want %q", tc.method, tc.path, got, tc.want)
		}
	}
}

// prefixes contains the prefixes that the tests put before an API path.
var prefixes = []string{
	"", "/k8s/clusters/c-m-abc", "/k8s/clusters/local", "/behind/a/proxy",
	"/api", "/apis", "/api/c1", "/apis/c1", "/api/gw/c1", "/apis/gw/c1", "/api/clusters/c1", "/apis/clusters/c1",
	"/api/v1/c1", "/api/v1/clusters", "/api/v1/clusters/c1", "/api/v1/clusters/c1/proxy", "/api/v3/x/y/z", "/v1", "/v1/api/v1",
	"/apis/gw", "/apis/gw.example.com", "/apis/gw.example.com/c1", "/apis/gw.example.com/clusters/c1",
	"/apis/cluster.karmada.io/v1alpha1/clusters/c1/proxy",
	"/apis/cluster.core.oam.dev/v1alpha1/clustergateways/c1/proxy",
	"/apis/gw.example.com/v1/namespaces/ns", "/apis/gw.example.com/v1/namespaces/ns/clusters/c1/proxy",
	"/api/v1/namespaces/ns", "/api/v1/namespaces/api/clusters/apis",
}

// requests contains requests without a prefix. If a prefix is added to the path, Parse
// must return the same result, except for the field Prefix.
var requests = []struct{ method, path string }{
	{"GET", "/api/v1/nodes"},
	{"GET", "/api/v1/namespaces"},
	{"GET", "/api/v1/namespaces/ns"},
	{"GET", "/api/v1/watch/pods"},
	{"GET", "/api/v1/namespaces/ns/pods/p/exec"},
	{"GET", "/api/v1/namespaces/ns/pods/p/proxy/apis/apps/v1/deployments"},
	{"POST", "/api/v1/namespaces/ns/configmaps"},
	{"POST", "/api/v1/namespaces/ns/events"},
	{"POST", "/api/v1/namespaces/api/configmaps"},
	{"PUT", "/api/v1/namespaces/ns/finalize"},
	{"POST", "/apis/authentication.k8s.io/v1/tokenreviews"},
	{"POST", "/apis/coordination.k8s.io/v1/namespaces/ns/leases"},
	{"PUT", "/apis/coordination.k8s.io/v1/namespaces/ns/leases/l"},
	{"PUT", "/apis/coordination.k8s.io/v1/namespaces/apis/leases/api"},
	{"GET", "/apis/coordination.k8s.io/v1/namespaces/ns/leases?watch=true&fieldSelector=metadata.name%3Dl"},
	{"PATCH", "/apis/apps/v1/namespaces/ns/deployments/d"},
	{"PATCH", "/apis/apps/v1/namespaces/apis/deployments/v1/scale"},
	{"DELETE", "/apis/example.com/v1/widgets"},
	{"PUT", "/apis/example.com/first/widgets/a"},
}

func TestParse_FindsTheAPIPathBehindAPrefix(t *testing.T) {
	for _, prefix := range prefixes {
		for _, request := range requests {
			want := parse(t, request.method, "https://cluster"+request.path)
			if !want.IsResource || want.Prefix != "" {
				t.Fatalf("%s %s: got %+v, want a resource without a prefix", request.method, request.path, want)
			}
			want.Prefix = prefix
			got := parse(t, request.method, "https://cluster"+prefix+request.path)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s %s behind %s (-want +got):\n%s", request.method, request.path, prefix, diff)
			}
		}
	}
}

func TestParse_ReturnsTheFirstReadingOfAnAmbiguousPath(t *testing.T) {
	for _, tc := range []struct{ path, prefix, want string }{
		{"/api/v1/namespaces/ns/services/s/proxy/apis/coordination.k8s.io/v1/namespaces/ns/leases/l", "",
			"connect /v1 ns services s proxy/apis/coordination.k8s.io/v1/namespaces/ns/leases/l"},
		{"/api/v1/namespaces/api/v1/nodes", "", "update /v1 api v1 nodes -"},
		{"/apis/example.com/v1/namespaces/ns/machines/a/api/v1/pods", "/apis/example.com/v1/namespaces/ns/machines/a", "update /v1 - pods - -"},
	} {
		r := parse(t, http.MethodPut, "https://cluster"+tc.path)
		if got := result(r); got != tc.want || r.Prefix != tc.prefix {
			t.Errorf("%s: got %q behind %q, want %q behind %q", tc.path, got, r.Prefix, tc.want, tc.prefix)
		}
	}
}

func TestParse_IgnoresEmptySegments(t *testing.T) {
	r := parse(t, http.MethodGet, "https://cluster//k8s//c1//api/v1//namespaces/ns/pods/p//exec/")
	if got, want := result(r), "connect /v1 ns pods p exec"; got != want || r.Prefix != "//k8s//c1" {
		t.Errorf("got %q behind %q, want %q", got, r.Prefix, want)
	}
}
