package health

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/registry"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/safetext"
)

// Health provides a liveness check and a readiness check for Electors. Create a Health
// with New.
type Health struct {
	reviewer kubernetes.Interface
	electors registry.Registry[*rightsCheck]
}

// A checkedElector is one Elector that a Health checks.
type checkedElector = registry.Snapshot[*rightsCheck]

// An Option configures a Health.
type Option func(*Health)

// WithReview makes Ready ask the API server whether the process has the necessary rights.
// Without this option, Ready reports a missing right only after the API server has
// refused a request.
func WithReview(clientset kubernetes.Interface) Option {
	return func(h *Health) { h.reviewer = clientset }
}

// New returns a Health. For each Elector, pass the result of Option to leaderelection.New.
func New(opts ...Option) *Health {
	h := &Health{}
	for _, option := range opts {
		option(h)
	}
	return h
}

// Option returns an option for leaderelection.New. The option adds the created Elector
// to the Electors that h checks. The option may be passed to several Electors.
func (h *Health) Option() leaderelection.Option {
	return h.electors.Option(func(e *registry.Entry[*rightsCheck]) leaderelection.Trace {
		e.Data = &rightsCheck{config: e.Config, reviewer: h.reviewer}
		return leaderelection.Trace{RunStarted: e.Data.reset, Request: e.Data.recordRequest}
	})
}

// Live is the liveness check. It returns an error only if the process must be
// restarted. The package documentation lists the cases.
func (h *Health) Live(r *http.Request) error { return h.check(r, live) }

// Ready is the readiness check. It returns an error if an Elector cannot take part in
// its election. The package documentation lists the conditions.
func (h *Health) Ready(r *http.Request) error { return h.check(r, ready) }

func (h *Health) check(r *http.Request, check func(context.Context, checkedElector) error) error {
	ctx := context.Background()
	if r != nil {
		ctx = r.Context()
	}
	var errs []error
	for _, e := range h.electors.All() {
		if err := check(ctx, e); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", e.Name, err))
		}
	}
	return errors.Join(errs...)
}

// Handler returns a handler that calls check. If check returns nil, the
// handler answers with status 200. If check returns an error, the handler answers with
// status 503 and the text of the error.
func Handler(check func(*http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if err := check(r); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = fmt.Fprintln(w, safetext.Escape(err.Error(), safetext.IsUnsafeInLines)) // a write fails only if the client has disconnected
			return
		}
		_, _ = fmt.Fprintln(w, "ok")
	})
}

// resumeTime is how long a process may need to catch up after it was suspended.
const resumeTime = 300 * time.Millisecond

// live is the liveness check of one Elector. It repeats a failed check after
// resumeTime, because a process that was suspended needs time to catch up.
func live(ctx context.Context, e checkedElector) error {
	if e.Stuck == nil || errors.Is(e.Stuck, leaderelection.ErrWorkStillRunning) {
		return e.Stuck
	}
	if wait(ctx, resumeTime) != nil {
		return e.Stuck
	}
	return e.Read().Stuck
}

// ready is the readiness check of one Elector.
func ready(ctx context.Context, e checkedElector) error {
	switch {
	case e.Replaced:
		return nil
	case e.RunError != nil:
		return fmt.Errorf("the elector has stopped: %w", e.RunError)
	case errors.Is(e.Stuck, registry.ErrNoAnswer):
		return e.Stuck
	case !e.Running:
		return errors.New("the elector is not running")
	case !e.Config.Enabled:
		return nil
	}
	limit := max(e.Config.LeaseDuration, 3*e.Config.RetryPeriod)
	switch silence := time.Since(e.LastContact); {
	case e.LastContact.IsZero():
		return withLastError("the API server has not answered about the Lease yet", e.State)
	case silence > limit:
		return withLastError(fmt.Sprintf("the API server has not answered about the Lease for %v", silence.Round(time.Second)), e.State)
	}
	if failing := time.Since(e.FailingSince); !e.FailingSince.IsZero() && failing > limit && !takesPart(e) {
		return withLastError(fmt.Sprintf("requests for the Lease have failed for %v", failing.Round(time.Second)), e.State)
	}
	return e.Data.check(ctx, e.State.Leader, followsAnother(e))
}

// takesPart reports whether the Elector takes part in the election although requests
// fail. It does if it leads, because its renewals succeed. It also does if another
// candidate leads, because it then needs no requests that write.
func takesPart(e checkedElector) bool { return e.Leading || followsAnother(e) }

// followsAnother reports whether another candidate leads.
func followsAnother(e checkedElector) bool {
	return e.State.Leader != "" && e.State.Leader != e.Config.Identity
}

// withLastError returns an error whose text begins with the parameter problem. If the
// requests of the Elector fail, the text also contains their error.
func withLastError(problem string, state leaderelection.State) error {
	if state.LastError != "" {
		return fmt.Errorf("%s: %s", problem, state.LastError)
	}
	return errors.New(problem)
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
