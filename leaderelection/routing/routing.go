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
)

// A Label is the label that a Service finds the leader's Pod by.
type Label struct {
	// Key and Value are the label's. They must be of this election alone: from all
	// other Pods of the namespace that a leader has given it, it is taken away. A key
	// that Pods have from their template does not do; nothing is done to those. Required.
	Key, Value string

	// PodNamespace and PodName are this process's Pod. Default: POD_NAMESPACE and
	// POD_NAME.
	PodNamespace, PodName string

	// PodUID tells this Pod from one of the same name that comes after it, as in a
	// StatefulSet. Default: POD_UID if the Pod is the one of POD_NAMESPACE and
	// POD_NAME, else the UID that the Pod is first seen with.
	PodUID string

	// Patience is how long an orderly stop goes on trying to take the label away when
	// that fails: while it does, the Lease goes on being renewed. It must be less than
	// leaderelection.Config.StopTimeout, or else that runs out and nothing is released.
	// Default: five seconds, or half of StopTimeout if that is less.
	Patience time.Duration
}

// A Router keeps the label where the leader is. Make it with New. All its methods may
// be called from any goroutine at any time.
type Router struct {
	label  Label // completed
	pods   typedcorev1.PodInterface
	logger *slog.Logger

	mu    sync.Mutex
	posts []*post // one for each Elector
}

// New makes a Router. It returns one error that names everything that is wrong with
// its arguments. The clientset leads to the cluster that the Pod is in; a nil logger
// means slog.Default().
func New(label Label, clientset kubernetes.Interface, logger *slog.Logger) (*Router, error) {
	r := &Router{label: label.completed(os.Getenv), logger: logger}
	problems := r.label.problems()
	if v := reflect.ValueOf(clientset); clientset == nil || v.Kind() == reflect.Pointer && v.IsNil() {
		problems = append(problems, errors.New("the clientset is nil: give a kubernetes.Interface"))
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("routing: the label is refused: %w", errors.Join(problems...))
	}
	if r.logger == nil {
		r.logger = slog.Default()
	}
	r.pods = clientset.CoreV1().Pods(r.label.PodNamespace)
	return r, nil
}

// Label is what New was given, with what the environment says of the Pod.
func (r *Router) Label() Label { return r.label }

// Option has the Router label this process's Pod whenever the Elector leads. Each term
// does so, also of a Run after the first.
func (r *Router) Option() leaderelection.Option {
	return leaderelection.WithCallbackMiddleware(r.wrap)
}

// Withdraw takes the label away for the rest of the term, if there is one, and does
// not wait for that: a process that is about to stop finishes what it has begun, still
// leading, and is sent nothing new. The next term sets the label again.
func (r *Router) Withdraw() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.posts {
		if p.current != nil {
			p.current.withdraw()
		}
	}
}

// completed is the label with what the environment says of the Pod.
func (l Label) completed(getenv func(string) string) Label {
	namespace, name := getenv("POD_NAMESPACE"), getenv("POD_NAME")
	l.PodNamespace, l.PodName = cmp.Or(l.PodNamespace, namespace), cmp.Or(l.PodName, name)
	if l.PodNamespace == namespace && l.PodName == name {
		l.PodUID = cmp.Or(l.PodUID, getenv("POD_UID"))
	}
	return l
}

// problems names everything that is wrong with a label.
func (l Label) problems() (errs []error) {
	for _, msg := range utilvalidation.IsQualifiedName(l.Key + "-term") {
		errs = append(errs, fmt.Errorf("%q is no key for a label and, with \"-term\", for an annotation: %s", l.Key, msg))
	}
	for _, msg := range utilvalidation.IsValidLabelValue(l.Value) {
		errs = append(errs, fmt.Errorf("%q is no value for a label: %s", l.Value, msg))
	}
	if l.Value == "" {
		errs = append(errs, errors.New(`Value ("") must not be empty: "true" will do`)) //nolint:staticcheck // it is a field's name
	}
	errs = append(errs, l.podProblems()...)
	if l.Patience < 0 {
		errs = append(errs, fmt.Errorf("Patience (%v) must not be negative: 0 means the default", l.Patience)) //nolint:staticcheck // it is a field's name
	}
	return errs
}

// podProblems names what is wrong with the Pod.
func (l Label) podProblems() (errs []error) {
	const remedy = "set POD_NAME and POD_NAMESPACE, from the downward API"
	if l.PodName == "" || l.PodNamespace == "" {
		return []error{errors.New("this process's Pod is not known: " + remedy)}
	}
	for _, msg := range utilvalidation.IsDNS1123Subdomain(l.PodName) {
		errs = append(errs, fmt.Errorf("PodName (%q) is no name of a Pod: %s; %s", l.PodName, msg, remedy))
	}
	for _, msg := range utilvalidation.IsDNS1123Label(l.PodNamespace) {
		errs = append(errs, fmt.Errorf("PodNamespace (%q) is no name of a namespace: %s; %s", l.PodNamespace, msg, remedy))
	}
	return errs
}
