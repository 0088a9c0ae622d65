package apipath_test

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/apipath"
)

// path builds an API path from r.
func path(r apipath.Request) string {
	parts := []string{"/api", r.Version}
	if r.Group != "" {
		parts = []string{"/apis", r.Group, r.Version}
	}
	if r.Namespace != "" {
		parts = append(parts, "namespaces", r.Namespace)
	}
	for _, part := range []string{r.Resource, r.Name, r.Subresource} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return r.Prefix + strings.Join(parts, "/")
}

func FuzzParse_NeverPanics(f *testing.F) {
	for _, prefix := range prefixes {
		f.Add("GET", prefix+"/apis/apps/v1/namespaces/ns/deployments/d", "watch=1&fieldSelector=a%3Db")
	}
	f.Add("", "//", "%zz")
	f.Fuzz(func(t *testing.T, method, p, query string) {
		r := apipath.Parse(method, &url.URL{Path: p, RawQuery: query})
		if !strings.HasPrefix(p, r.Prefix) {
			t.Errorf("%q is no prefix of %q", r.Prefix, p)
		}
		if !r.IsResource && r != (apipath.Request{Verb: strings.ToLower(method), UnderAPI: r.UnderAPI}) {
			t.Errorf("the path %q names no resource, but is parsed as %+v", p, r)
		}
		if r.IsResource && (r.Resource == "" || r.Version == "" || r.Subresource != "" && r.Name == "") {
			t.Errorf("the path %q is parsed incompletely: %+v", p, r)
		}
	})
}

var (
	label     = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)
	subdomain = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	plural    = regexp.MustCompile(`^[a-z]+$`)
)

// FuzzParse_ReturnsWhatAPathWasBuiltFrom builds a path from a Request and passes the
// path to Parse. Parse must return an equal Request. Each path starts with one of the
// strings in prefixes.
func FuzzParse_ReturnsWhatAPathWasBuiltFrom(f *testing.F) {
	f.Add(uint(0), "apps", "v1", "ns", "deployments", "d", "status")
	f.Add(uint(7), "", "v1", "api", "pods", "apis", "exec")
	f.Add(uint(13), "example.com", "first", "apis", "widgets", "v1", "")
	f.Add(uint(20), "coordination.k8s.io", "v1", "", "leases", "", "")
	f.Fuzz(func(t *testing.T, n uint, group, version, namespace, resource, name, subresource string) {
		reserved := []string{"api", "apis", "watch", "namespaces", "status", "finalize"}
		version = strings.ToLower(version)
		switch {
		case group != "" && (!subdomain.MatchString(group) || !strings.Contains(group, ".") && group != "apps"),
			!label.MatchString(version) || version == "api" || version == "apis",
			!strings.Contains(group, ".") && !regexp.MustCompile(`^v[1-9][a-z0-9]*$`).MatchString(version),
			namespace != "" && !label.MatchString(namespace),
			!plural.MatchString(resource) || slices.Contains(reserved, resource),
			name != "" && !subdomain.MatchString(name),
			subresource != "" && (name == "" || !plural.MatchString(subresource)):
			t.Skip()
		}
		want := apipath.Request{
			IsResource: true, UnderAPI: true, Verb: "update", Prefix: prefixes[n%uint(len(prefixes))],
			Group: group, Version: version, Namespace: namespace, Resource: resource, Name: name, Subresource: subresource,
		}
		if slices.Contains([]string{"exec", "attach", "portforward", "proxy"}, subresource) {
			want.Verb = "connect"
		}
		got := apipath.Parse(http.MethodPut, &url.URL{Path: path(want)})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path(want), diff)
		}
	})
}
