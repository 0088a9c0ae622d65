package routing

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"sync"
	"time"

	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/dispatch"
)

// A Label describes the label that the leader's Pod gets. A Service selects this label.
type Label struct {
	// Key and Value are the key and the value of the label. Required. No other election
	// in the namespace may use the same Key and Value. A leader removes the label from
	// the Pods of all other leaders. Do not use a label of the Pod template, because the
	// Router never changes such a label.
	Key, Value string

	// PodNamespace and PodName identify the Pod of this process. Default: the environment
	// variables POD_NAMESPACE and POD_NAME.
	PodNamespace, PodName string

	// PodUID distinguishes this Pod from a later Pod with the same name, for example in a
	// StatefulSet. If PodNamespace and PodName have the values of POD_NAMESPACE and
	// POD_NAME, the default is the environment variable POD_UID. If PodUID is still
	// empty, the Router uses the UID of the Pod that it reads first.
	PodUID string

	// RemoveTimeout is how long the Router retries the removal of the label in an orderly
	// stop. During this time, the Elector renews the Lease. RemoveTimeout must be less
	// than leaderelection.Config.StopTimeout, because the Elector does not release the
	// Lease after StopTimeout. Default: five seconds, or half of StopTimeout if that is
	// less.
	RemoveTimeout time.Duration
}

// A Router keeps the label on the leader's Pod. Create a Router with New. All methods are safe
// for concurrent use.
type Router struct {
	label  Label // with the defaults filled in
	pods   typedcorev1.PodInterface
	calls  dispatch.Calls
	logger *slog.Logger

	mu    sync.Mutex
	terms map[*termRouter]bool // the terms in which the Router sends requests
	lease string               // the Lease of the first Elector, as namespace/name
}

// New returns a Router. If arguments are invalid, New returns one error that describes
// all problems. The clientset must be a client of the Pod's cluster. A nil logger means
// slog.Default().
func New(label Label, clientset kubernetes.Interface, logger *slog.Logger) (*Router, error) {
	r := &Router{label: label.withDefaults(os.Getenv), logger: logger, terms: map[*termRouter]bool{}}
	problems := r.label.problems()
	if v := reflect.ValueOf(clientset); clientset == nil || v.Kind() == reflect.Pointer && v.IsNil() {
		problems = append(problems, errors.New("clientset is nil: pass a kubernetes.Interface"))
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("routing: invalid label: %w", errors.Join(problems...))
	}
	if r.logger == nil {
		r.logger = slog.Default()
	}
	r.pods = clientset.CoreV1().Pods(r.label.PodNamespace)
	return r, nil
}

// Label returns the label that was passed to New, with the defaults filled in.
func (r *Router) Label() Label { return r.label }

// Option returns an option for leaderelection.New. With this option, the Router labels
// this process's Pod in each term of the Elector. The option may be passed to several
// Electors only if they campaign for the same Lease one after the other. Create one
// Router, with its own label, for each Lease. If Electors use the option for different
// Leases, the Router logs an error.
func (r *Router) Option() leaderelection.Option {
	return leaderelection.WithCallbackMiddleware(r.wrap)
}

// checkLease logs an error if e campaigns for another Lease than an earlier Elector.
func (r *Router) checkLease(e *leaderelection.Elector) {
	lease := e.Config().LeaseNamespace + "/" + e.Config().LeaseName
	r.mu.Lock()
	r.lease = cmp.Or(r.lease, lease)
	first := r.lease
	r.mu.Unlock()
	if first != lease {
		r.logger.Error("One Router is used for several Leases; create one Router, with its own label, for each Lease", "first", first, "other", lease)
	}
}

// Withdraw removes the label for the rest of the current term. If this process does not
// lead, Withdraw has no effect. Withdraw does not wait for the removal. Call Withdraw
// before you stop the process. The process then still leads and finishes its requests,
// but gets no new requests. In the next term, the Router sets the label again.
func (r *Router) Withdraw() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for t := range r.terms {
		t.withdraw()
	}
}

// withDefaults returns the label with the defaults filled in. getenv returns
// the value of an environment variable.
func (l Label) withDefaults(getenv func(string) string) Label {
	namespace, name := getenv("POD_NAMESPACE"), getenv("POD_NAME")
	l.PodNamespace, l.PodName = cmp.Or(l.PodNamespace, namespace), cmp.Or(l.PodName, name)
	if l.PodNamespace == namespace && l.PodName == name {
		l.PodUID = cmp.Or(l.PodUID, getenv("POD_UID"))
	}
	return l
}

// problems returns one error for each problem with the fields of the label.
func (l Label) problems() (errs []error) {
	for _, msg := range utilvalidation.IsQualifiedName(l.Key + "-term") {
		errs = append(errs, fmt.Errorf("Key (%q) must be valid for a label and, with \"-term\" appended, for an annotation: %s", l.Key, msg)) //nolint:staticcheck // Key is a field
	}
	for _, msg := range utilvalidation.IsValidLabelValue(l.Value) {
		errs = append(errs, fmt.Errorf("Value (%q) must be valid for a label: %s", l.Value, msg)) //nolint:staticcheck // Value is a field
	}
	if l.Value == "" {
		errs = append(errs, errors.New(`Value ("") must not be empty: use "true", for example`)) //nolint:staticcheck // Value is a field
	}
	errs = append(errs, l.podProblems()...)
	if l.RemoveTimeout < 0 {
		errs = append(errs, fmt.Errorf("RemoveTimeout (%v) must not be negative: use 0 for the default", l.RemoveTimeout))
	}
	return errs
}

// podProblems returns the problems with PodName and PodNamespace.
func (l Label) podProblems() (errs []error) {
	const remedy = "set POD_NAME and POD_NAMESPACE, from the downward API"
	if l.PodName == "" || l.PodNamespace == "" {
		return []error{errors.New("the name of this process's Pod is unknown: " + remedy)}
	}
	for _, msg := range utilvalidation.IsDNS1123Subdomain(l.PodName) {
		errs = append(errs, fmt.Errorf("PodName (%q) must be the name of a Pod: %s; %s", l.PodName, msg, remedy))
	}
	for _, msg := range utilvalidation.IsDNS1123Label(l.PodNamespace) {
		errs = append(errs, fmt.Errorf("PodNamespace (%q) must be the name of a namespace: %s; %s", l.PodNamespace, msg, remedy))
	}
	return errs
}
