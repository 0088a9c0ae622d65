package fencing

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/apipath"
)

const annotationPrefix = "fencing.incumbent.haproxy-template-ic.github.io/"

// maxAnnotationName is the number of characters that an annotation's key may have after
// the slash.
const maxAnnotationName = 63

// AnnotationKey returns the key of the annotation that StampTransport sets on each
// object that it writes. The annotation contains the fencing token of the term in which
// the object was written. lease is "namespace/name", as in Term.Lease. Each Lease has
// its own annotation, because leaders of several Leases may write the same object.
func AnnotationKey(lease string) string {
	name := strings.Replace(lease, "/", ".", 1)
	if len(name) > maxAnnotationName {
		sum := sha256.Sum256([]byte(name))
		name = name[:maxAnnotationName-9] + "-" + hex.EncodeToString(sum[:4])
	}
	return annotationPrefix + name
}

// A stamp is the annotation that identifies the term in which an object was written.
type stamp struct{ key, value string }

// stampOf returns the stamp of a term. The value of the stamp is the token and the
// leader's identity. The policy does not compare the identity, but the message of a
// refusal contains it.
func stampOf(term leaderelection.Term) stamp {
	return stamp{AnnotationKey(term.Lease), term.Token.String() + " " + term.Identity}
}

// StampTransport returns a RoundTripper for Fences whose mode is ByTerm. It stamps each
// written object with the term of the request's context. Use it in the configuration of
// any client of client-go or controller-runtime:
//
//	cfg.Wrap(fencing.StampTransport)
//
// These writes are stamped: create, update, all kinds of patch, server-side apply, and
// updates and patches of a status, an approval and the finalizers of a Namespace. In
// each term, the first patch or apply of an object changes the object's stamp, even if
// it changes no other field.
//
// These requests are sent unchanged:
//
//   - reads,
//   - writes that cannot carry a stamp: deletions, bindings, server-side apply of a
//     status, and writes of other subresources,
//   - writes of Leases and Events, and reviews such as TokenReview,
//   - all writes in a term without a Lease,
//   - requests without a segment "api" or "apis" in their path.
//
// A write whose path has such a segment, but names no resource, fails with
// ErrNotStampable. The path may begin with a prefix, such as that of a proxy in front
// of the API server.
//
// The body must be JSON, YAML, or protobuf of a kind in client-go's scheme. Use
// server-side apply with force. Without force, there is a conflict over the
// annotation if the program also writes the object under another field manager. The
// same conflict occurs if the program also writes the object, or only its status, by
// create, update or patch.
func StampTransport(next http.RoundTripper) http.RoundTripper { return stampTransport{next} }

type stampTransport struct{ next http.RoundTripper }

// WrappedRoundTripper returns the RoundTripper that s wraps. client-go calls this method
// to find the innermost RoundTripper.
func (s stampTransport) WrappedRoundTripper() http.RoundTripper { return s.next }

// RoundTrip sends a request. If the request is a write that can carry a stamp,
// RoundTrip first adds the stamp.
func (s stampTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if !isWrite(r) {
		return s.next.RoundTrip(r)
	}
	request := apipath.Parse(r.Method, r.URL)
	unclear := request.UnderAPI && !request.IsResource
	if !unclear && !isStampable(request, r) {
		return s.next.RoundTrip(r)
	}
	term, ok := leaderelection.TermFromContext(r.Context())
	switch {
	case !ok:
		closeBody(r)
		return nil, fmt.Errorf("%w: %s %s", ErrNoTerm, r.Method, r.URL.Path)
	case term.Lease == "":
		return s.next.RoundTrip(r)
	case unclear:
		closeBody(r)
		return nil, fmt.Errorf("%w: %s %s: its path names no resource, send it through another client", ErrNotStampable, r.Method, r.URL.Path)
	}
	body, err := takeBody(r)
	if err != nil {
		return nil, err
	}
	forms, err := stampOf(term).into(r.Header.Get("Content-Type"), body)
	if err != nil {
		return nil, fmt.Errorf("%w: %s %s: %w", ErrNotStampable, r.Method, r.URL.Path, err)
	}
	return s.sendOneOf(r, forms)
}

// sendOneOf sends r with the first body in forms. If the API server cannot apply this
// body, sendOneOf sends r with the next body, and so on. It returns the last response.
// sendOneOf tries all bodies, because the API server does not report why it could not
// apply a body.
func (s stampTransport) sendOneOf(r *http.Request, forms [][]byte) (*http.Response, error) {
	for _, body := range forms[:len(forms)-1] {
		response, err := s.next.RoundTrip(withBody(r, body))
		if err != nil {
			return nil, err
		}
		text, err := peek(response)
		if err != nil {
			return nil, err
		}
		if !isInapplicable(response, text) {
			return response, nil
		}
	}
	return s.next.RoundTrip(withBody(r, forms[len(forms)-1]))
}

// isWrite reports whether r has a method with which clients send objects: POST, PUT or
// PATCH. Only such a request can carry a stamp.
func isWrite(r *http.Request) bool {
	return r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch
}

// isStampable reports whether the request writes the annotations of an object. For most
// kinds, a write of the status also writes the annotations. The other kinds ignore
// annotations in a write of the status. A server-side apply of a status is not
// stampable, because the field managers of the status and of the object would conflict
// over the annotation.
func isStampable(request apipath.Request, r *http.Request) bool {
	resource := schema.GroupResource{Group: request.Group, Resource: request.Resource}
	if !request.IsResource || isExempt(resource) || resource == (schema.GroupResource{Resource: "bindings"}) {
		return false
	}
	switch request.Subresource {
	case "":
		return true
	case "status", "approval", "finalize":
		return r.Method != http.MethodPost && !isApply(r)
	default:
		return false
	}
}
