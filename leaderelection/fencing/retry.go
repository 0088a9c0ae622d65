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

// A TermConfirmer finds out whether a term continues. *leaderelection.Elector
// implements TermConfirmer.
type TermConfirmer interface {
	// Confirm reads the Lease once and reports whether the given term continues. If the
	// Lease shows that the term is over, Confirm also ends the term in this process.
	Confirm(ctx context.Context, term leaderelection.Term) (bool, error)
}

// A refused write is sent again for at most lagLimit, which is the time that an API
// server may need to observe a new leader. The pause between two attempts grows from
// firstWait to lastWait.
const (
	lagLimit  = time.Second
	firstWait = 2 * time.Millisecond
	lastWait  = 50 * time.Millisecond
)

// RetryTransport returns a RoundTripper that retries refused writes. If a Fence refuses
// a write whose term continues, the RoundTripper sends the write again. Pass the Elector
// as confirmer:
//
//	cfg.Wrap(fencing.StampTransport) // with Fences ByTerm
//	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
//		return fencing.RetryTransport(elector, next)
//	})
//
// When a write is refused, confirmer reads the Lease once. If the term of the request's
// context continues, the API server has not observed the new leader yet. In this case
// the RoundTripper repeats the write for up to a second. If the term has ended, the
// caller receives the refusal. The caller also receives the refusal if the Lease cannot
// be read, or if the write lacks a token.
//
// Do not use RetryTransport for the Elector's own client. RetryTransport is optional.
// Without RetryTransport, the caller receives each refusal at once, and controllers
// retry. If confirmer is nil, all requests fail.
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

// WrappedRoundTripper returns the RoundTripper that t wraps. client-go calls this method
// to find the innermost RoundTripper.
func (t retryTransport) WrappedRoundTripper() http.RoundTripper { return t.next }

// RoundTrip sends a request. If the API server refuses a write because it has not
// observed the new leader yet, RoundTrip sends the write again.
func (t retryTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.confirmer == nil { // fail at the first request, because the first refusal may come much later
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

// send sends r with the given body. It returns the response. If the response is an
// error, send also returns the text of the response.
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

// pause waits for d. It returns false if ctx is done before d has passed.
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

// These strings identify a refusal in the body of a response. JSON and protobuf contain
// them unchanged. The API server adds refusalMark to each refusal. noToken, laterTerm
// and boundStamp are parts of the messages of a Fence's policy.
const (
	refusalMark = "ValidatingAdmissionPolicy '" + policyPrefix
	noToken     = "the write carries no token"
	laterTerm   = "the object was written in the later term "
	boundStamp  = "a binding must carry no token, for it would be put on the pod"

	// inapplicable is the complete message of the API server if it cannot apply a JSON
	// patch to the stored object.
	inapplicable = "the server rejected our request due to an error in our request"
)

// isRefusal reports whether text, the body of a response, is the refusal of a write by
// a Fence.
func isRefusal(text string) bool { return strings.Contains(text, refusalMark) }

// isLag reports whether the API server may have refused a write because it has not
// observed the new leader yet. A refusal that is caused by a stamp does not count,
// because such a refusal does not depend on the holder that the API server has
// observed.
func isLag(text string) bool {
	return isRefusal(text) && !strings.Contains(text, noToken) && !strings.Contains(text, laterTerm) && !strings.Contains(text, boundStamp)
}

// isInapplicable reports whether the API server could not apply a JSON patch to the
// stored object.
func isInapplicable(response *http.Response, text string) bool {
	return response.StatusCode == http.StatusUnprocessableEntity && strings.Contains(text, inapplicable)
}
