package health

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// Health provides a liveness check and a readiness check for Electors. Create a Health
// with New.
type Health struct {
	reviewer kubernetes.Interface

	mu      sync.Mutex
	checked []*checkedElector
}

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
// to the Electors that h checks.
func (h *Health) Option() leaderelection.Option {
	return leaderelection.WithTraceFor(func(e *leaderelection.Elector) leaderelection.Trace {
		c := &checkedElector{reviewer: h.reviewer}
		h.add(c, e)
		return leaderelection.Trace{Request: c.recordRequest}
	})
}

// add adds the Elector e to the checked Electors. It removes stopped Electors of the
// same Lease, unless they are stuck.
func (h *Health) add(c *checkedElector, e *leaderelection.Elector) {
	c.elector, c.config = e, e.Config()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checked = slices.DeleteFunc(h.checked, func(other *checkedElector) bool {
		return other.name() == c.name() && !other.elector.State().Running && other.elector.Stuck() == nil
	})
	h.checked = append(h.checked, c)
}

func (h *Health) all() []*checkedElector {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.checked)
}

// Live is the liveness check. It returns an error only if the process must be
// restarted. The package documentation lists the cases.
func (h *Health) Live(r *http.Request) error {
	return h.check(r, (*checkedElector).live)
}

// Ready is the readiness check. It returns an error if an Elector cannot take part in
// its election. The package documentation lists the conditions.
func (h *Health) Ready(r *http.Request) error {
	return h.check(r, (*checkedElector).ready)
}

func (h *Health) check(r *http.Request, check func(*checkedElector, context.Context) error) error {
	ctx := context.Background()
	if r != nil {
		ctx = r.Context()
	}
	var errs []error
	for _, c := range h.all() {
		if err := check(c, ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.name(), err))
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
			_, _ = fmt.Fprintln(w, err) // a write fails only if the client has disconnected
			return
		}
		_, _ = fmt.Fprintln(w, "ok")
	})
}

// A checkedElector is one Elector that a Health checks.
type checkedElector struct {
	elector  *leaderelection.Elector
	config   leaderelection.Config
	reviewer kubernetes.Interface

	mu     sync.Mutex
	denied map[string]error // the latest refusal of each kind of request; the key is Request.For
	review review
	exists bool // true if a holder of the Lease was observed
}

func (c *checkedElector) name() string {
	if !c.config.Enabled {
		return "election that is not enabled"
	}
	return "Lease " + c.config.LeaseNamespace + "/" + c.config.LeaseName
}

// recordRequest stores the error of a refused request. A successful read removes the
// stored error of reads. A successful write removes the stored errors of all writes.
func (c *checkedElector) recordRequest(r leaderelection.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r.Failure {
	case "", "conflict":
		if r.For != leaderelection.RequestRead { // a successful write shows that the process has the right to write
			for _, write := range []string{leaderelection.RequestClaim, leaderelection.RequestRenew, leaderelection.RequestNominate} {
				delete(c.denied, write)
			}
		}
		delete(c.denied, r.For)
	case "forbidden", "unauthorized", "not_found":
		if r.For == leaderelection.RequestWatch {
			return
		}
		if c.denied == nil {
			c.denied = map[string]error{}
		}
		c.denied[r.For] = r.Err
		if soon := time.Now().Add(missingFor); c.review.until.After(soon) {
			c.review.until = soon // the refusal shows that the rights have changed since the review
		}
	}
}

// resumeTime is how long a process may need to catch up after it was suspended.
const resumeTime = 300 * time.Millisecond

// live is the liveness check of one Elector. It repeats a failed check after
// resumeTime, because a process that was suspended needs time to catch up.
func (c *checkedElector) live(ctx context.Context) error {
	err := c.stuck()
	if err == nil || errors.Is(err, leaderelection.ErrWorkStillRunning) {
		return err
	}
	if wait(ctx, resumeTime) != nil {
		return err
	}
	return c.stuck()
}

// stuck returns the error of Elector.Stuck. If Elector.Stuck does not return within
// resumeTime, stuck returns a different error.
func (c *checkedElector) stuck() error {
	answer := make(chan error, 1)
	go func() { answer <- c.elector.Stuck() }()
	timer := time.NewTimer(resumeTime)
	defer timer.Stop()
	select {
	case err := <-answer:
		return err
	case <-timer.C:
		return errors.New("the elector is stuck: Stuck does not return")
	}
}

func (c *checkedElector) ready(ctx context.Context) error {
	state := c.elector.State()
	if !state.Running {
		return errors.New("the elector is not running")
	}
	if !c.config.Enabled {
		return nil
	}
	contact := c.elector.LastContact()
	switch silence := time.Since(contact); {
	case contact.IsZero():
		return withLastError("the API server has not answered about the Lease yet", state)
	case silence > max(c.config.LeaseDuration, 3*c.config.RetryPeriod):
		return withLastError(fmt.Sprintf("the API server has not answered about the Lease for %v", silence.Round(time.Second)), state)
	}
	return c.rights(ctx)
}

// withLastError returns an error whose text begins with the parameter problem. If the
// last request of the Elector failed, the text also contains the error of that request.
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
