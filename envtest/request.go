package envtest

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// Request describes a request of a client, for predicates that choose what a
// fault hits. A request outside of /api and /apis has a Verb (the method in small
// letters) and a Path, and nothing else.
type Request struct {
	// Verb is get, list, watch, create, update, patch, delete or deletecollection.
	Verb string
	// Path is the URL's, without the query.
	Path string
	// Group is the API group, "" for the core group.
	Group string
	// Resource is the plural, such as "leases".
	Resource string
	// Subresource is such as "status", mostly "".
	Subresource string
	// Namespace and Name say which object is meant. A list or a watch has the
	// name that its field selector asks for, if any; a create that of its object.
	Namespace, Name string
	// Object is what a create or an update carries, if it is of a type that
	// client-go knows, else nil. Do not change it.
	Object runtime.Object
	// Lease is the Object if it is one.
	Lease *coordinationv1.Lease
}

// String is the verb and the path.
func (r Request) String() string { return r.Verb + " " + r.Path }

// Reads is true of get, list and watch.
func Reads(r Request) bool { return slices.Contains([]string{"get", "list", "watch"}, r.Verb) }

// Writes is true of every request that may change something.
func Writes(r Request) bool {
	return slices.Contains([]string{"create", "update", "patch", "delete", "deletecollection"}, r.Verb)
}

// Claims is true of writes of a Lease that name this holder: its claims and its
// renewals.
func Claims(identity string) func(Request) bool {
	return func(r Request) bool { return r.Lease != nil && holder(r.Lease) == identity }
}

// Releases is true of writes of a Lease that name no holder.
func Releases(r Request) bool { return r.Lease != nil && holder(r.Lease) == "" }

// Any is true.
func Any(Request) bool { return true }

func holder(lease *coordinationv1.Lease) string {
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

func describe(h *http.Request) Request {
	r := Request{Path: h.URL.Path, Verb: strings.ToLower(h.Method)}
	if !r.parsePath() {
		return r
	}
	r.parseVerb(h.Method, h.URL.Query())
	r.Object = decodeBody(h)
	r.Lease, _ = r.Object.(*coordinationv1.Lease)
	if object, ok := r.Object.(metav1.Object); ok && r.Name == "" {
		r.Name = object.GetName()
	}
	return r
}

// parsePath fills in what the path says, and answers false if it is not about
// objects.
func (r *Request) parsePath() bool {
	rest := strings.Split(strings.Trim(r.Path, "/"), "/")
	switch {
	case rest[0] == "api" && len(rest) > 2:
		rest = rest[2:]
	case rest[0] == "apis" && len(rest) > 3:
		r.Group, rest = rest[1], rest[3:]
	default:
		return false
	}
	// .../namespaces/x/leases/y is about a Lease, .../namespaces/x about a namespace.
	if rest[0] == "namespaces" && len(rest) > 1 {
		r.Namespace = rest[1]
		if within := len(rest) > 2 && rest[2] != "status" && rest[2] != "finalize"; within {
			rest = rest[2:]
		}
	}
	r.Resource = rest[0]
	if len(rest) > 1 {
		r.Name = rest[1]
	}
	if len(rest) > 2 {
		r.Subresource = strings.Join(rest[2:], "/")
	}
	return true
}

func (r *Request) parseVerb(method string, query url.Values) {
	one, watch := r.Name != "", query.Get("watch")
	switch {
	case method == http.MethodPost:
		r.Verb = "create"
	case method == http.MethodPut:
		r.Verb = "update"
	case method == http.MethodGet && (watch == "true" || watch == "1"):
		r.Verb = "watch"
	case method == http.MethodGet && !one:
		r.Verb = "list"
	case method == http.MethodDelete && !one:
		r.Verb = "deletecollection"
	}
	if !one && r.Verb != "create" {
		if selector, err := fields.ParseSelector(query.Get("fieldSelector")); err == nil {
			r.Name, _ = selector.RequiresExactMatch("metadata.name")
		}
	}
}

// decodeBody needs a body that can be had again, as all of client-go's can.
func decodeBody(h *http.Request) runtime.Object {
	if h.GetBody == nil || h.Method != http.MethodPost && h.Method != http.MethodPut {
		return nil
	}
	body, err := h.GetBody()
	if err != nil {
		return nil
	}
	content, err := io.ReadAll(body)
	if err != nil {
		return nil
	}
	object, _, err := scheme.Codecs.UniversalDeserializer().Decode(content, nil, nil)
	if err != nil {
		return nil
	}
	return object
}
