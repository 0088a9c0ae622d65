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

// A Health checks Electors.
type Health struct {
	reviewer kubernetes.Interface

	mu       sync.Mutex
	patients []*patient
}

// An Option says more about a Health.
type Option func(*Health)

// WithReview lets Ready ask the API server whether the rights suffice. Default:
// they are known from requests that were refused.
func WithReview(clientset kubernetes.Interface) Option {
	return func(h *Health) { h.reviewer = clientset }
}

// New makes a Health. Give its Option to each Elector.
func New(opts ...Option) *Health {
	h := &Health{}
	for _, option := range opts {
		option(h)
	}
	return h
}

// Option lets an Elector be checked.
func (h *Health) Option() leaderelection.Option {
	p := &patient{reviewer: h.reviewer}
	return leaderelection.WithTrace(leaderelection.Trace{
		Created: func(e *leaderelection.Elector) { h.admit(p, e) },
		Request: p.note,
	})
}

// admit takes in an Elector, in the place of an earlier one for the same Lease
// that does not run any more.
func (h *Health) admit(p *patient, e *leaderelection.Elector) {
	p.elector, p.config = e, e.Config()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.patients = slices.DeleteFunc(h.patients, func(other *patient) bool {
		return other.name() == p.name() && !other.elector.State().Running && other.elector.Stuck() == nil
	})
	h.patients = append(h.patients, p)
}

func (h *Health) all() []*patient {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.patients)
}

// Live returns an error if only a new process helps. See the package
// documentation.
func (h *Health) Live(r *http.Request) error {
	return h.check(r, (*patient).live)
}

// Ready returns an error that says why an Elector cannot take part. See the
// package documentation.
func (h *Health) Ready(r *http.Request) error {
	return h.check(r, (*patient).ready)
}

func (h *Health) check(r *http.Request, check func(*patient, context.Context) error) error {
	ctx := context.Background()
	if r != nil {
		ctx = r.Context()
	}
	var errs []error
	for _, p := range h.all() {
		if err := check(p, ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.name(), err))
		}
	}
	return errors.Join(errs...)
}

// Handler answers with 200 if check returns nil, and with 503 and the reason if it
// does not.
func Handler(check func(*http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if err := check(r); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = fmt.Fprintln(w, err) // who asked has gone
			return
		}
		_, _ = fmt.Fprintln(w, "ok")
	})
}

// A patient is one Elector.
type patient struct {
	elector  *leaderelection.Elector
	config   leaderelection.Config
	reviewer kubernetes.Interface

	mu     sync.Mutex
	denied map[string]error // by what the request was for
	review review
	exists bool // the Lease
}

func (p *patient) name() string {
	if !p.config.Enabled {
		return "election that is not enabled"
	}
	return "Lease " + p.config.LeaseNamespace + "/" + p.config.LeaseName
}

// note keeps the last refusal for want of a right, until a request of its kind
// succeeds.
func (p *patient) note(r leaderelection.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch r.Failure {
	case "", "conflict":
		if r.For != leaderelection.RequestRead { // who may do one of the writes may do all that come
			for _, write := range []string{leaderelection.RequestClaim, leaderelection.RequestRenew, leaderelection.RequestNominate} {
				delete(p.denied, write)
			}
		}
		delete(p.denied, r.For)
	case "forbidden", "unauthorized", "not_found":
		if r.For == leaderelection.RequestWatch {
			return
		}
		if p.denied == nil {
			p.denied = map[string]error{}
		}
		p.denied[r.For] = r.Err
		if soon := time.Now().Add(missingFor); p.review.until.After(soon) {
			p.review.until = soon // rights have changed since
		}
	}
}

// wake is how long a process that was frozen may take to find its feet.
const wake = 300 * time.Millisecond

// live asks twice: at the moment at which a frozen process wakes everything is late.
func (p *patient) live(ctx context.Context) error {
	err := p.stuck()
	if err == nil || errors.Is(err, leaderelection.ErrWorkStillRunning) {
		return err
	}
	if wait(ctx, wake) != nil {
		return err
	}
	return p.stuck()
}

// stuck asks the Elector, which does not even answer if it is stuck badly.
func (p *patient) stuck() error {
	answer := make(chan error, 1)
	go func() { answer <- p.elector.Stuck() }()
	timer := time.NewTimer(wake)
	defer timer.Stop()
	select {
	case err := <-answer:
		return err
	case <-timer.C:
		return errors.New("the elector is stuck: it does not answer")
	}
}

func (p *patient) ready(ctx context.Context) error {
	state := p.elector.State()
	if !state.Running {
		return errors.New("the elector does not run")
	}
	if !p.config.Enabled {
		return nil
	}
	contact := p.elector.LastContact()
	switch quiet := time.Since(contact); {
	case contact.IsZero():
		return p.because("nothing was heard of the Lease yet", state)
	case quiet > max(p.config.LeaseDuration, 3*p.config.RetryPeriod):
		return p.because(fmt.Sprintf("nothing was heard of the Lease for %v", quiet.Round(time.Second)), state)
	}
	return p.rights(ctx)
}

func (p *patient) because(what string, state leaderelection.State) error {
	if state.LastError != "" {
		return fmt.Errorf("%s: %s", what, state.LastError)
	}
	return errors.New(what)
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
