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

// Request describes a request, for predicates that choose which requests a fault hits.
// A request for a path outside of /api and /apis has only a Client, a Verb (the
// HTTP method in lower case), a Path and the time Sent.
type Request struct {
	// Client is the name of the [Client] that sent the request. It is empty for
	// a [Network] that was made by [NewNetwork].
	Client string
	// Verb is get, list, watch, create, update, patch, delete or
	// deletecollection.
	Verb string
	// Path is the path of the URL, without the query.
	Path string
	// Group is the API group, "" for the core group.
	Group string
	// Resource is the plural name of the resource, such as "leases".
	Resource string
	// Subresource is the name of the subresource, such as "status", or "".
	Subresource string
	// Namespace and Name name the object. A list or a watch has the name that
	// its field selector requires, if any. A create has the name of its object.
	Namespace, Name string
	// Object is the object that a create or an update carries, if client-go
	// knows its type, else nil. Do not change it.
	Object runtime.Object
	// Lease is the Object if that is a Lease, else nil. Do not change it.
	Lease *coordinationv1.Lease
	// Sent is when the client sent the request.
	Sent time.Time
}

// String returns the verb and the path.
func (r Request) String() string { return r.Verb + " " + r.Path }

// Any matches every request.
func Any(Request) bool { return true }

// Reads matches get, list and watch.
func Reads(r Request) bool { return slices.Contains([]string{"get", "list", "watch"}, r.Verb) }

// Writes matches every request that may change an object.
func Writes(r Request) bool {
	return slices.Contains([]string{"create", "update", "patch", "delete", "deletecollection"}, r.Verb)
}

// Claims matches the writes of a Lease that name this holder: its claims and
// its renewals.
func Claims(identity string) func(Request) bool {
	return func(r Request) bool { return r.Lease != nil && Holder(r.Lease) == identity }
}

// Releases matches the writes of a Lease that name no holder.
func Releases(r Request) bool { return r.Lease != nil && Holder(r.Lease) == "" }

// readRequest reads what predicates need from an HTTP request.
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

// copyOfObject decodes the body, JSON or protobuf, if the request can provide a
// second copy of it, as the requests of client-go can.
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
