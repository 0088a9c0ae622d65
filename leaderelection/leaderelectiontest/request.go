package leaderelectiontest

import (
	"io"
	"net/http"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/apipath"
)

// Request describes a request. Functions such as [Claims] use a Request to
// choose which requests a fault hits. If the path is outside of /api and /apis,
// only Client, Verb, Path and Sent are set, and Verb is the HTTP method in
// lower case.
type Request struct {
	// Client is the name of the [Client] that sent the request. It is empty if
	// the request was sent through a [Network] that [NewNetwork] created.
	Client string
	// Verb is get, list, watch, create, update, patch, delete or
	// deletecollection.
	Verb string
	// Path is the path of the URL, without the query.
	Path string
	// Group is the API group. It is "" for the core group.
	Group string
	// Resource is the plural name of the resource, such as "leases".
	Resource string
	// Subresource is the name of the subresource, such as "status". It is "" if
	// the request has no subresource.
	Subresource string
	// Namespace and Name identify the object. For a create, Name is the name of
	// the new object. For a list or a watch, Name is the name in the field
	// selector, or "" if the field selector contains no name.
	Namespace, Name string
	// Object is the object in the body of a create or an update. It is nil for
	// all other verbs. It is also nil if the type of the object is unknown
	// to client-go. Do not modify Object.
	Object runtime.Object
	// Lease is the value of Object if Object contains a Lease. In all other cases,
	// Lease is nil. Do not modify Lease.
	Lease *coordinationv1.Lease
	// Sent is when the client sent the request.
	Sent time.Time
}

// String returns the verb and the path.
func (r Request) String() string { return r.Verb + " " + r.Path }

// Any matches every request.
func Any(Request) bool { return true }

// Reads matches requests with the verb get, list or watch.
func Reads(r Request) bool { return slices.Contains([]string{"get", "list", "watch"}, r.Verb) }

// Writes matches every request that may change an object.
func Writes(r Request) bool {
	return slices.Contains([]string{"create", "update", "patch", "delete", "deletecollection"}, r.Verb)
}

// Claims returns a function that matches each create or update of a Lease whose
// holder is identity. A candidate with this identity sends such requests to
// claim and to renew the Lease.
func Claims(identity string) func(Request) bool {
	return func(r Request) bool { return r.Lease != nil && Holder(r.Lease) == identity }
}

// Releases matches each create or update of a Lease without a holder.
func Releases(r Request) bool { return r.Lease != nil && Holder(r.Lease) == "" }

// readRequest returns the Request that describes an HTTP request.
func readRequest(client string, h *http.Request) Request {
	path := apipath.Parse(h.Method, h.URL)
	r := Request{
		Client: client, Verb: path.Verb, Path: h.URL.Path, Sent: time.Now(),
		Group: path.Group, Resource: path.Resource, Subresource: path.Subresource,
		Namespace: path.Namespace, Name: path.Name,
	}
	if r.Resource == "" || r.Verb != "create" && r.Verb != "update" {
		return r
	}
	r.Object = copyOfObject(h)
	if r.Lease, _ = r.Object.(*coordinationv1.Lease); r.Lease != nil {
		r.Lease.TypeMeta = metav1.TypeMeta{}
	}
	if object, ok := r.Object.(metav1.Object); ok && r.Name == "" {
		r.Name = object.GetName()
	}
	return r
}

// copyOfObject decodes the object in the body of a request, from JSON or
// protobuf. It reads a copy of the body from GetBody, which client-go provides.
// It returns nil if GetBody is nil or if the body cannot be decoded.
func copyOfObject(h *http.Request) runtime.Object {
	if h.GetBody == nil {
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
