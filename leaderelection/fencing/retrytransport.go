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

// An Arbiter knows whether a term goes on. Electors do.
type Arbiter interface {
	// Confirm looks at the Lease once, and ends the term if that says so.
	Confirm(ctx context.Context, term leaderelection.Term) (bool, error)
}

// How long an API server may take to hear of its new leader, and how often it is
// asked meanwhile.
const (
	lagLimit  = time.Second
	firstWait = 2 * time.Millisecond
	lastWait  = 50 * time.Millisecond
)

// RetryTransport finds out what the refusal of a write means. The arbiter, which is
// the Elector, looks at the Lease once. If it says that the term of the request's
// context goes on, the API server has not heard of that yet, and the write is sent
// again for up to a second. If not, the refusal is returned, and the term has ended:
//
//	cfg.Wrap(fencing.StampTransport) // with Fences ByTerm
//	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
//		return fencing.RetryTransport(elector, next)
//	})
//
// It is not for the Elector's own client, nor needed: without it the refusal is
// returned at once, and controllers try again anyway. Without an arbiter all requests
// fail.
func RetryTransport(arbiter Arbiter, next http.RoundTripper) http.RoundTripper {
	if v := reflect.ValueOf(arbiter); v.Kind() == reflect.Pointer && v.IsNil() {
		arbiter = nil
	}
	return retryTransport{arbiter, next}
}

type retryTransport struct {
	arbiter Arbiter // nil: there is none
	next    http.RoundTripper
}

// WrappedRoundTripper lets client-go find the transport underneath.
func (t retryTransport) WrappedRoundTripper() http.RoundTripper { return t.next }

// RoundTrip sends a request, and sends it again if it was refused for lag.
func (t retryTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.arbiter == nil { // said at once, not when a write is refused for the first time
		closeBody(r)
		return nil, errors.New("fencing: the arbiter is nil: give RetryTransport the Elector, once it is made")
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
	goesOn, confirmErr := t.arbiter.Confirm(r.Context(), term)
	if confirmErr != nil || !goesOn {
		return response, nil // the refusal says more than why nothing is known of the Lease
	}
	began := time.Now()
	for wait := firstWait; isLag(refusal) && time.Since(began) < lagLimit; wait = min(2*wait, lastWait) {
		if !pause(r.Context(), wait) {
			return response, nil
		}
		if response, refusal, err = t.send(r, body); err != nil {
			return nil, err
		}
	}
	return response, nil
}

// send sends a request, and returns what is said of an error.
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

// pause returns false if ctx ended first.
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
