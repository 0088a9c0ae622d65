package fencing

import (
	"fmt"
	"net/http"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/apipath"
)

// StampTransport stamps each object that is written through it with the term that
// the context of the request carries, for Fences ByTerm. It goes into the
// configuration of any client of client-go or controller-runtime:
//
//	cfg.Wrap(fencing.StampTransport)
//
// Objects are stamped in creations, updates, patches of every kind and server-side
// apply, and in updates and patches of their status, their approval and, of
// namespaces, the list of their finalizers. A patch or an apply that would change
// nothing else changes the stamp, once in each term. Deletions, bindings, server-side
// apply of a status and writes of other subresources cannot carry a stamp and are
// sent as they are; so are reads, Leases, Events and reviews of tokens and access,
// everything in a term without a Lease, and what has neither api nor apis in its path.
// A write with one of these in whose path no resource is found is refused with
// ErrNotStampable. The API server may be behind a path of its own.
//
// Bodies are understood in JSON, and in protobuf if client-go knows the kind.
// Server-side apply without force conflicts over the annotation if the program
// writes the object under several field managers, or with creations, updates or
// patches as well, be it of its status alone, which own fields apart from it: apply
// with force.
func StampTransport(next http.RoundTripper) http.RoundTripper { return stampTransport{next} }

type stampTransport struct{ next http.RoundTripper }

// WrappedRoundTripper lets client-go find the transport underneath.
func (s stampTransport) WrappedRoundTripper() http.RoundTripper { return s.next }

// RoundTrip sends a request, with a stamp if it can carry one.
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
		return nil, fmt.Errorf("%w: %s %s: no resource is found in its path: write what is none through another client", ErrNotStampable, r.Method, r.URL.Path)
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

// sendOneOf sends the first form that the API server can apply, or else the last.
// That it cannot apply one is all that it says, whatever the reason is.
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

// isWrite reports whether a request is one of those that can carry a stamp.
func isWrite(r *http.Request) bool {
	return r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch
}

// isStampable reports whether the annotations of an object are written. They are
// written with the status of most kinds too. Other kinds ignore them there. A
// server-side apply of a status would conflict with the object's own field manager
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
