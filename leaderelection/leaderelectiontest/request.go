package leaderelectiontest

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
)

// Request describes a request, for predicates that choose whom a fault hits.
type Request struct {
	// Client is the name of the client that sent it.
	Client string
	// Verb is get, list, watch, create, update, patch or delete.
	Verb string
	// Namespace and Name say which Lease is meant. A list or a watch has the
	// name that its field selector asks for, if any.
	Namespace, Name string
	// Lease is the object that a create or an update carries. Do not change it.
	Lease *coordinationv1.Lease
	// Sent is when the client sent it.
	Sent time.Time

	query       url.Values
	body        []byte
	contentType string
	protobuf    bool // the reply had better be
}

func (r *Request) key() types.NamespacedName {
	return types.NamespacedName{Namespace: r.Namespace, Name: r.Name}
}

func (r *Request) by() author { return author{r.Client, r.Verb} }

const leasesPrefix = "/apis/coordination.k8s.io/v1/"

// parseRequest reads an HTTP request, as far as faults and rights need it.
func parseRequest(client string, h *http.Request) (*Request, error) {
	r := &Request{Client: client, Sent: time.Now(), query: h.URL.Query(), contentType: h.Header.Get("Content-Type"), protobuf: acceptsProtobuf(h.Header)}
	if h.Body != nil {
		var err error
		r.body, err = io.ReadAll(h.Body)
		_ = h.Body.Close()
		if err != nil {
			return nil, err
		}
	}
	if err := r.parsePath(h.URL.Path); err != nil {
		return r, err
	}
	if err := r.parseVerb(h.Method); err != nil {
		return r, err
	}
	return r, r.parseLease()
}

func (r *Request) parsePath(path string) error {
	rest, ok := strings.CutPrefix(path, leasesPrefix)
	parts := strings.Split(rest, "/")
	switch {
	case !ok:
	case len(parts) == 1 && parts[0] == "leases":
		return nil
	case len(parts) == 3 && parts[0] == "namespaces" && parts[2] == "leases":
		r.Namespace = parts[1]
		return nil
	case len(parts) == 4 && parts[0] == "namespaces" && parts[2] == "leases":
		r.Namespace, r.Name = parts[1], parts[3]
		return nil
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound,
		Message: "the server could not find the requested resource (leaderelectiontest serves Leases only, not " + path + ")",
	}}
}

func (r *Request) parseVerb(method string) error {
	onObject := r.Name != ""
	switch {
	case method == http.MethodGet && onObject:
		r.Verb = "get"
	case method == http.MethodGet:
		r.Verb = "list"
		if watch := r.query.Get("watch"); watch == "true" || watch == "1" {
			r.Verb = "watch"
		}
		if selector, err := fields.ParseSelector(r.query.Get("fieldSelector")); err == nil {
			r.Name, _ = selector.RequiresExactMatch("metadata.name")
		}
	case method == http.MethodPost && !onObject:
		r.Verb = "create"
	case method == http.MethodPut && onObject:
		r.Verb = "update"
	case method == http.MethodPatch && onObject:
		r.Verb = "patch"
	case method == http.MethodDelete && onObject:
		r.Verb = "delete"
	default:
		return apierrors.NewMethodNotSupported(leaseResource, method)
	}
	if r.query.Get("dryRun") != "" {
		return apierrors.NewBadRequest("leaderelectiontest does not serve dry runs")
	}
	return nil
}

// parseLease decodes the object of a create or an update, JSON or protobuf.
func (r *Request) parseLease() error {
	if r.Verb != "create" && r.Verb != "update" {
		return nil
	}
	object, _, err := scheme.Codecs.UniversalDeserializer().Decode(r.body, nil, nil)
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	lease, ok := object.(*coordinationv1.Lease)
	if !ok {
		return apierrors.NewBadRequest("not a Lease of coordination.k8s.io/v1")
	}
	if r.Verb == "create" {
		r.Name = lease.Name
	}
	if lease.Name != r.Name {
		return apierrors.NewBadRequest("the name of the object (" + lease.Name + ") does not match the name on the URL (" + r.Name + ")")
	}
	if lease.Namespace != "" && lease.Namespace != r.Namespace {
		return apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	lease.TypeMeta = metav1.TypeMeta{}
	r.Lease = lease
	return nil
}
