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
// [Parse] resolves an API path as the API server's RequestInfoFactory does, with two
// exceptions. The subresource contains all segments after the name. A request for exec, attach,
// portforward or proxy has the verb "connect".
//
// # Prefixes
//
// A path may have a prefix before the API path, because rest.Config.Host may have a
// path. For example, Rancher uses the prefix /k8s/clusters/c-1. Parse receives the
// whole path. Therefore Parse must find the start of the API path.
//
// An API path may begin at any segment "api" or "apis". From this segment on, the path
// must have one of the two forms above.
//
// An API path is plausible if it has at most one segment after the name, and if <rest>
// is not itself an API path. There is one exception. A path to the proxy of a pod, a
// service or a node is always plausible, even if many segments follow the word "proxy".
//
// Parse uses the first plausible API path, from left to right. If no API path is
// plausible, Parse uses the first API path.
//
// A prefix may itself look like an API path. An example is the path
//
//	/apis/cluster.karmada.io/v1alpha1/clusters/c1/proxy/api/v1/nodes
//
// The API path that begins at "apis" is not plausible, because four segments follow the
// name c1. Therefore Parse uses the API path /api/v1/nodes.
//
// # Ambiguity
//
// Three kinds of paths have two possible meanings. Each example shows the meaning that
// Parse returns, and then the other meaning:
//
//   - /api/v1/namespaces/n/services/s/proxy/apis/apps/v1/deployments. Parse returns a
//     connection to the proxy of the service s. If the service is an API server, the
//     path might also mean a list of the Deployments in this API server.
//   - /api/v1/namespaces/api/v1/nodes. Parse returns a request in the namespace "api".
//     The path might also mean a list of nodes, with the prefix /api/v1/namespaces.
//   - /apis/example.com/v1/widgets/w/a/b/api/v1/nodes. Parse returns a list of nodes,
//     with a prefix. The path might also mean a subresource of the widget w.
package apipath

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/fields"
)

// A Request describes a request to the Kubernetes API.
type Request struct {
	// IsResource is true if the path names a resource. If IsResource is false, only
	// Verb and UnderAPI are set.
	IsResource bool

	// UnderAPI is true if the path has a segment "api" or "apis". The field is also
	// true for discovery requests and for API paths that Parse does not understand.
	UnderAPI bool

	// Verb is get, list, watch, create, update, patch, delete, deletecollection or
	// connect. If the path names no resource, Verb is the method in lower case. If the
	// path names a resource and the method has no verb, Verb is empty. OPTIONS is such
	// a method.
	Verb string

	// Prefix is the part of the path before the API path, such as "/k8s/clusters/c1".
	// Prefix is "" if the path begins with the API path.
	Prefix string

	// Group is the API group. Group is empty for the core group.
	Group string

	// Version is the version of the API group, such as "v1".
	Version string

	// Namespace is the namespace of the object. If the object is a Namespace, the field
	// contains the name of this Namespace. For other objects without a namespace, the
	// field is empty.
	Namespace string

	// Resource is the plural name of the resource, such as "leases".
	Resource string

	// Name is the name of the object. If the path contains no name, Name is the name
	// that the field selector requires. Name is "" if the field selector requires no
	// name.
	Name string

	// Subresource is the part of the path after the name, such as "status" or
	// "proxy/metrics".
	Subresource string
}

// IsConnect reports whether the subresource is exec, attach, portforward or proxy.
func (r Request) IsConnect() bool { return r.Verb == "connect" }

// Parse returns a description of the request with this method and URL.
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

// A segment is a part of a path between two slashes.
type segment struct {
	text  string
	start int // the offset of text in the path
}

// split returns the segments of a path, without empty segments.
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
	parts := make([]string, len(segments))
	for i, s := range segments {
		parts[i] = s.text
	}
	return strings.Join(parts, "/")
}

var (
	// standardVersion matches versions such as v1, v1beta2 and v1api20200601, which
	// most APIs use.
	standardVersion = regexp.MustCompile(`^v[1-9][a-z0-9]*$`)
	// customVersion matches every version that a custom resource may have.
	customVersion = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)
)

// root splits an API path into the group, the version and the rest. ok is false if
// segments is not an API path. If the group contains a dot, the version may match
// customVersion, because the group may be that of a custom resource. Otherwise the
// version must match standardVersion. A group or a version must not be named "api" or
// "apis".
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

// parseRoot parses segments as an API path. complete is true if the API path is
// plausible, as defined in the package comment.
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

// setVerb sets r.Verb. If the path contains no name and the field selector requires a
// name, setVerb also sets r.Name.
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

// isTrue converts the values of a query parameter to a boolean, as the API server does.
// A missing parameter, "0" and "false" result in false.
func isTrue(values []string) bool {
	return len(values) > 0 && values[0] != "0" && !strings.EqualFold(values[0], "false")
}
