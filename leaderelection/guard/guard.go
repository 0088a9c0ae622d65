package guard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/apipath"
)

// ErrWriteRefused is returned for a write that does not belong to the current term.
// The error also wraps the reason. If the context of the write is done, the reason
// includes its cause, which is a sentinel error of leaderelection after a term.
var ErrWriteRefused = errors.New("guard: the write was refused")

// Why a write is refused.
var (
	errNoLeadership = errors.New("the guard has no Elector, create the Elector before the guard")
	errNoTerm       = errors.New("its context carries no term, use the context that was passed to the leader's work")
	errTermOver     = errors.New("the term of its context has ended")
	errOtherTerm    = errors.New("its context belongs to an earlier term")
	errUncertain    = errors.New("leadership is not certain any more")
)

// Leadership reports the current term. *leaderelection.Elector implements it.
type Leadership interface {
	// Term returns the term in which this process leads. It returns false if
	// leadership is not certain.
	Term() (leaderelection.Term, bool)
}

// Check returns nil if a write with ctx may be sent: ctx carries the term in which
// leadership leads, and is not done. Otherwise it returns an error that wraps
// ErrWriteRefused. A nil leadership refuses every write.
func Check(ctx context.Context, leadership Leadership) error {
	if reason := refusal(ctx, leadership); reason != nil {
		return fmt.Errorf("%w: %w", ErrWriteRefused, reason)
	}
	return nil
}

// refusal returns the reason why a write with ctx must not be sent, or nil. It
// checks the context and the clock. The context alone does not suffice: a frozen
// process may resume before its contexts are cancelled. The clock alone does not
// suffice either: a goroutine of an earlier term may run while the process leads
// again.
func refusal(ctx context.Context, leadership Leadership) error {
	if isNil(leadership) {
		return errNoLeadership
	}
	term, ok := leaderelection.TermFromContext(ctx)
	if !ok {
		return errNoTerm
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", errTermOver, context.Cause(ctx))
	}
	switch current, leads := leadership.Term(); {
	case !leads:
		return errUncertain
	case current != term:
		return errOtherTerm
	}
	return nil
}

// isNil also reports a nil *Elector, which manager.ElectorOf returns for a Manager
// without leader election.
func isNil(leadership Leadership) bool {
	v := reflect.ValueOf(leadership)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}

// exemptGroups are the API groups whose writes are never refused.
var exemptGroups = map[string]bool{
	"coordination.k8s.io":   true,
	"events.k8s.io":         true,
	"authentication.k8s.io": true,
	"authorization.k8s.io":  true,
}

// Exempt reports whether writes of a resource are never refused. The resource is a
// plural name, such as "events".
func Exempt(group, resource string) bool {
	return exemptGroups[group] || group == "" && resource == "events"
}

// Transport returns a RoundTripper that sends a request through next only if it is
// no write, or if Check permits a write with the context of the request. A nil
// leadership refuses every write.
func Transport(leadership Leadership, next http.RoundTripper) http.RoundTripper {
	return transport{leadership, next}
}

type transport struct {
	leadership Leadership
	next       http.RoundTripper
}

// WrappedRoundTripper returns next. client-go uses it to reach the lowest transport.
func (t transport) WrappedRoundTripper() http.RoundTripper { return t.next }

// RoundTrip sends a request or refuses it.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if isWrite(r) {
		if err := Check(r.Context(), t.leadership); err != nil {
			if r.Body != nil {
				_ = r.Body.Close() // a RoundTripper must close the body; nothing was read
			}
			return nil, fmt.Errorf("%s %s: %w", r.Method, r.URL.Path, err)
		}
	}
	return t.next.RoundTrip(r)
}

// isWrite reports whether a request may change something that is not exempt.
func isWrite(r *http.Request) bool {
	request := apipath.Parse(r.Method, r.URL)
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return request.IsConnect() && !strings.HasPrefix(request.Subresource, "proxy")
	}
	return !Exempt(request.Group, request.Resource)
}
