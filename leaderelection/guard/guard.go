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

// ErrWriteRefused is returned for a write that does not belong to the current term. The
// returned error also wraps the reason. If the context of the write is done, the error
// also wraps the cause of the context. After a term has ended, this cause is an error
// of package leaderelection, such as ErrOvertaken.
var ErrWriteRefused = errors.New("guard: the write was refused")

// The reasons for which Check refuses a write.
var (
	errNoLeadership = errors.New("the guard has no Elector, create the Elector before the guard")
	errNoTerm       = errors.New("its context carries no term, use the context that was passed to the leader's work")
	errTermOver     = errors.New("the term of its context has ended")
	errOtherTerm    = errors.New("its context belongs to an earlier term")
	errUncertain    = errors.New("leadership is not certain any more")
)

// Leadership reports the current term. *leaderelection.Elector implements
// Leadership.
type Leadership interface {
	// Term returns the term in which this process leads. It returns false if this
	// process does not lead, or if its leadership is not certain.
	Term() (leaderelection.Term, bool)
}

// Check returns nil if a write with ctx may be sent. A write may be sent if ctx is not
// done, and if ctx carries the term that leadership.Term returns. If the write must not
// be sent, Check returns an error that wraps ErrWriteRefused. If leadership is nil,
// Check refuses every write.
func Check(ctx context.Context, leadership Leadership) error {
	if reason := refusal(ctx, leadership); reason != nil {
		return fmt.Errorf("%w: %w", ErrWriteRefused, reason)
	}
	return nil
}

// refusal returns the reason why a write with ctx must not be sent, or nil. Checking
// ctx is not sufficient, because a frozen process may resume before ctx is cancelled.
// Checking the current term is not sufficient either, because a goroutine of an earlier
// term may still run.
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

// isNil reports whether leadership is nil or a nil pointer. manager.ElectorOf
// returns a nil *Elector for a Manager that does not use leader election.
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

// Exempt reports whether writes of a resource are never refused. The parameter resource
// is a plural name, such as "events".
func Exempt(group, resource string) bool {
	return exemptGroups[group] || group == "" && resource == "events"
}

// Transport returns a RoundTripper that refuses each write for which Check returns an
// error. It sends all other requests through next. Writes to exempt resources are
// not checked (see Exempt). If leadership is nil, all writes to resources that are not
// exempt are refused.
func Transport(leadership Leadership, next http.RoundTripper) http.RoundTripper {
	return transport{leadership, next}
}

type transport struct {
	leadership Leadership
	next       http.RoundTripper
}

// WrappedRoundTripper returns the RoundTripper that t wraps. client-go calls this
// method to find the innermost RoundTripper.
func (t transport) WrappedRoundTripper() http.RoundTripper { return t.next }

// RoundTrip sends r, or returns an error that wraps ErrWriteRefused.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if isWrite(r) {
		if err := Check(r.Context(), t.leadership); err != nil {
			if r.Body != nil {
				_ = r.Body.Close() // a RoundTripper must close the body even if it does not send r
			}
			return nil, fmt.Errorf("%s %s: %w", r.Method, r.URL.Path, err)
		}
	}
	return t.next.RoundTrip(r)
}

// isWrite reports whether r may change a resource that is not exempt. Exec, attach and
// portforward count as changes, even if their method is GET.
func isWrite(r *http.Request) bool {
	request := apipath.Parse(r.Method, r.URL)
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return request.IsConnect() && !strings.HasPrefix(request.Subresource, "proxy")
	}
	return !Exempt(request.Group, request.Resource)
}
