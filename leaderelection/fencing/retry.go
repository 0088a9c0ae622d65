package fencing

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// A TermConfirmer reports whether a term continues. *leaderelection.Elector
// implements it.
type TermConfirmer interface {
	// Confirm reads the Lease once. It returns false, and ends the term, if the Lease
	// belongs to another term.
	Confirm(ctx context.Context, term leaderelection.Term) (bool, error)
}

// The write is sent again for at most lagLimit, which is the time that an API server
// may need to observe its new leader. The pause between attempts grows from firstWait
// to lastWait.
const (
	lagLimit  = time.Second
	firstWait = 2 * time.Millisecond
	lastWait  = 50 * time.Millisecond
)

// RetryTransport returns a RoundTripper that handles refusals of a Fence. When a write
// is refused, confirmer, which is the Elector, reads the Lease once. If the term of the
// request's context continues, the API server has not observed the new leader yet, and
// the write is sent again for up to a second. Otherwise the refusal is returned, and
// the term has ended:
//
//	cfg.Wrap(fencing.StampTransport) // with Fences ByTerm
//	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
//		return fencing.RetryTransport(elector, next)
//	})
//
// Do not use it for the Elector's own client. It is optional: without it, refusals are
// returned at once, and controllers retry. With a nil confirmer all requests fail.
func RetryTransport(confirmer TermConfirmer, next http.RoundTripper) http.RoundTripper {
	if v := reflect.ValueOf(confirmer); v.Kind() == reflect.Pointer && v.IsNil() {
		confirmer = nil
	}
	return retryTransport{confirmer, next}
}

type retryTransport struct {
	confirmer TermConfirmer // nil: all requests fail
	next      http.RoundTripper
}

// WrappedRoundTripper returns next. client-go uses it to reach the lowest transport.
func (t retryTransport) WrappedRoundTripper() http.RoundTripper { return t.next }

// RoundTrip sends a request. It sends a write again if it was refused because of lag.
func (t retryTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.confirmer == nil { // reported by the first request, not by the first refusal
		closeBody(r)
		return nil, errors.New("fencing: the TermConfirmer of RetryTransport is nil, pass the Elector after it was created")
	}
	term, ok := leaderelection.TermFromContext(r.Context())
	if !ok || r.Method == http.MethodGet || r.Method == http.MethodHead {
		return t.next.RoundTrip(r)
	}
	body, err := takeBody(r)
	if err != nil {
		return nil, err
	}
	response, refusal, err := t.send(r, body)
	if err != nil || !isRefusal(refusal) || strings.Contains(refusal, noToken) {
		return response, err
	}
	continues, confirmErr := t.confirmer.Confirm(r.Context(), term)
	if confirmErr != nil || !continues {
		return response, nil // the refusal is more useful to the caller than confirmErr
	}
	start := time.Now()
	for wait := firstWait; isLag(refusal) && time.Since(start) < lagLimit; wait = min(2*wait, lastWait) {
		if !pause(r.Context(), wait) {
			return response, nil
		}
		if response, refusal, err = t.send(r, body); err != nil {
			return nil, err
		}
	}
	return response, nil
}

// send sends a request. For an error response it also returns the body.
func (t retryTransport) send(r *http.Request, body []byte) (*http.Response, string, error) {
	response, err := t.next.RoundTrip(withBody(r, body))
	if err != nil {
		return nil, "", err
	}
	text, err := peek(response)
	if err != nil {
		return nil, "", err
	}
	return response, text, nil
}

// pause waits for d. It returns false if ctx is done first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// The messages by which refusals are recognised. They are the same in JSON and in
// protobuf. The API server adds refusalMark, the policy of a Fence the other three.
const (
	refusalMark = "ValidatingAdmissionPolicy '" + policyPrefix
	noToken     = "the write carries no token"
	laterTerm   = "the object was written in the later term "
	boundStamp  = "a binding must carry no token, for it would be put on the pod"

	// inapplicable is the API server's whole message if a JSON patch does not fit the
	// object.
	inapplicable = "the server rejected our request due to an error in our request"
)

// isRefusal reports whether a message is the refusal of a Fence.
func isRefusal(text string) bool { return strings.Contains(text, refusalMark) }

// isLag reports whether a refusal may be due to an API server that has not observed
// its new leader yet. Refusals because of the written object are never due to lag.
func isLag(text string) bool {
	return isRefusal(text) && !strings.Contains(text, noToken) && !strings.Contains(text, laterTerm) && !strings.Contains(text, boundStamp)
}

// isInapplicable reports whether a JSON patch could not be applied to the object.
func isInapplicable(response *http.Response, text string) bool {
	return response.StatusCode == http.StatusUnprocessableEntity && strings.Contains(text, inapplicable)
}
