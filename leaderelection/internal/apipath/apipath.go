// Package apipath parses the paths of requests to the Kubernetes API.
//
// An API path is one of
//
//	/api/<version>/<rest>
//	/apis/<group>/<version>/<rest>
//
// where <rest> is
//
//	[watch/][namespaces/<namespace>/]<resource>[/<name>[/<subresource>]]
//
// [Parse] resolves it as the API server's RequestInfoFactory does, with two
// exceptions: a subresource keeps all of its segments, and a connection has the
// verb "connect".
//
// # Prefixes
//
// The API server may be behind a prefix, which is the path of rest.Config.Host.
// Rancher uses /k8s/clusters/c-1, for example. A RoundTripper does not know the
// prefix, and a prefix may itself have a segment "api" or "apis", or even be an
// API path: /apis/cluster.karmada.io/v1alpha1/clusters/c1/proxy.
//
// The API path begins at the first segment "api" or "apis" whose remainder is a
// complete API path: a version follows, <rest> has at most one segment after the
// name, and <rest> does not begin with another API path. If no remainder is
// complete, the API path begins at the first one that has a version, and its
// subresource has several segments.
//
// The tail of the path of a proxy of a pod, a service or a node is opaque.
// /api/v1/namespaces/n/services/s/proxy/apis/apps/v1/deployments is a connection
// to services/proxy, whatever the service is.
//
// # Ambiguity
//
// Three kinds of paths have a second reading, and Parse returns the first:
//
//   - An API server that is reached through the proxy of a pod, a service or a
//     node. Each request is a connection to that proxy.
//   - A prefix that ends in "/namespaces". Its next segment reads as a namespace.
//   - A subresource with several segments that end in a complete API path. The
//     path before it reads as a prefix.
package apipath

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/fields"
)

// Request describes a request to the Kubernetes API.
type Request struct {
	// IsResource reports whether the path names a resource. If it does not, only
	// Verb and UnderAPI are set.
	IsResource bool

	// UnderAPI reports whether the path has a segment "api" or "apis". Discovery
	// requests are under the API and name no resource. So are paths that Parse does
	// not understand.
	UnderAPI bool

	// Verb is get, list, watch, create, update, patch, delete, deletecollection or
	// connect. Without a resource it is the method in lower case. It is empty if a
	// resource has no verb for the method.
	Verb string

	// Prefix is the path before the API path: "" or, for example, "/k8s/clusters/c1".
	Prefix string

	// Group is the API group. It is empty for the core group.
	Group string

	// Version is the version of the API group, such as "v1".
	Version string

	// Namespace is the namespace of the object. It is empty for objects without a
	// namespace. The namespace of a Namespace is its name, as for the API server.
	Namespace string

	// Resource is the plural name of the resource, such as "leases".
	Resource string

	// Name is the name of the object. A request for several objects has the name
	// that its field selector requires, if any.
	Name string

	// Subresource is what follows the name, such as "status" or "proxy/metrics".
	Subresource string
}

// IsConnect reports whether the request opens a connection: exec, attach,
// portforward or proxy.
func (r Request) IsConnect() bool { return r.Verb == "connect" }

// Parse returns the description of a request with this method and URL.
func Parse(method string, u *url.URL) Request {
	segments := split(u.Path)
	r := Request{
		Verb:     strings.ToLower(method),
		UnderAPI: slices.ContainsFunc(segments, isRoot),
	}
	for i := range segments {
		found, complete := parseRoot(segments[i:])
		if found.IsResource && (complete || !r.IsResource) {
			found.Prefix = u.Path[:segments[i].start]
			found.UnderAPI = true
			r = found
		}
		if complete {
			break
		}
	}
	if r.IsResource {
		r.Prefix = strings.TrimRight(r.Prefix, "/")
		r.setVerb(method, u)
	}
	return r
}

// A segment is a part of a path between slashes.
type segment struct {
	text  string
	start int // offset in the path
}

// split returns the segments of a path that are not empty.
func split(path string) []segment {
	var segments []segment
	for start := 0; start < len(path); {
		end := strings.IndexByte(path[start:], '/')
		if end < 0 {
			end = len(path) - start
		}
		if end > 0 {
			segments = append(segments, segment{path[start : start+end], start})
		}
		start += end + 1
	}
	return segments
}

func join(segments []segment) string {
	texts := make([]string, len(segments))
	for i, s := range segments {
		texts[i] = s.text
	}
	return strings.Join(texts, "/")
}

var (
	// standardVersion matches the versions that most APIs have, such as v1,
	// v1beta2 and v1api20200601.
	standardVersion = regexp.MustCompile(`^v[1-9][a-z0-9]*$`)
	// customVersion matches the versions that a custom resource may have besides.
	customVersion = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)
)

// root returns the group, the version and the rest of an API path. The group of a
// custom resource has a dot, so a custom version needs such a group. No group and no
// version is named "api" or "apis".
func root(segments []segment) (group, version string, rest []segment, ok bool) {
	switch {
	case len(segments) > 2 && segments[0].text == "api":
		version = segments[1].text
		return "", version, segments[2:], standardVersion.MatchString(version)
	case len(segments) > 3 && segments[0].text == "apis":
		group, version = segments[1].text, segments[2].text
		ok = standardVersion.MatchString(version) || strings.Contains(group, ".") && customVersion.MatchString(version)
		return group, version, segments[3:], ok && !isRoot(segments[1]) && !isRoot(segments[2])
	}
	return "", "", nil, false
}

func isRoot(s segment) bool { return s.text == "api" || s.text == "apis" }

// parseRoot parses an API path without its verb. It reports whether the path is
// complete, so that no API path needs to be looked for further behind.
func parseRoot(segments []segment) (r Request, complete bool) {
	var rest []segment
	var ok bool
	if r.Group, r.Version, rest, ok = root(segments); !ok {
		return Request{}, false
	}
	r.IsResource = true
	if rest[0].text == "watch" && len(rest) > 1 {
		r.Verb, rest = "watch", rest[1:]
	}
	if rest[0].text == "namespaces" && len(rest) > 1 {
		r.Namespace = rest[1].text
		if len(rest) > 2 && rest[2].text != "status" && rest[2].text != "finalize" {
			rest = rest[2:]
		}
	}
	r.Resource = rest[0].text
	if len(rest) > 1 {
		r.Name = rest[1].text
	}
	if len(rest) > 2 {
		r.Subresource = join(rest[2:])
	}
	if _, _, _, another := root(rest); another {
		return r, false
	}
	return r, len(rest) <= 3 || r.isCoreProxy()
}

func (r Request) isCoreProxy() bool {
	return r.Group == "" && r.subresourceRoot() == "proxy" && slices.Contains([]string{"pods", "services", "nodes"}, r.Resource)
}

func (r Request) subresourceRoot() string {
	first, _, _ := strings.Cut(r.Subresource, "/")
	return first
}

// setVerb sets the verb of a request for a resource, and the name that a field
// selector requires.
func (r *Request) setVerb(method string, u *url.URL) {
	watchPath := r.Verb == "watch"
	if slices.Contains([]string{"exec", "attach", "portforward", "proxy"}, r.subresourceRoot()) {
		r.Verb = "connect"
		return
	}
	switch method {
	case http.MethodGet, http.MethodHead:
		r.Verb = "get"
	case http.MethodPost:
		r.Verb = "create"
	case http.MethodPut:
		r.Verb = "update"
	case http.MethodPatch:
		r.Verb = "patch"
	case http.MethodDelete:
		r.Verb = "delete"
	default:
		r.Verb = ""
	}
	if r.Verb == "get" && watchPath {
		r.Verb = "watch"
	}
	if r.Name != "" || r.Verb != "get" && r.Verb != "delete" && r.Verb != "watch" {
		return
	}
	query := u.Query()
	switch {
	case r.Verb == "delete":
		r.Verb = "deletecollection"
	case r.Verb == "watch" || isTrue(query["watch"]):
		r.Verb = "watch"
	default:
		r.Verb = "list"
	}
	if selector, err := fields.ParseSelector(query.Get("fieldSelector")); err == nil {
		r.Name, _ = selector.RequiresExactMatch("metadata.name")
	}
}

// isTrue converts a query parameter to a boolean as the API server does: only
// "false" and "0" are false.
func isTrue(values []string) bool {
	return len(values) > 0 && values[0] != "0" && !strings.EqualFold(values[0], "false")
}
