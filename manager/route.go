package manager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// A LeaderLabel is the label that a Service finds the leader's Pod by.
type LeaderLabel struct {
	// Key and Value are the label's. They must be of this election alone: from all
	// other Pods of the namespace that have it, it is taken away. Required.
	Key, Value string

	// PodNamespace and PodName are this process's Pod. Default: POD_NAMESPACE and
	// POD_NAME.
	PodNamespace, PodName string
}

// WithLeaderLabel labels the Pod of the leader, so that a Service can select it: set
// once the Lease was won, taken away when the Manager begins to stop and before the
// Lease is released. What dead leaders left is taken away by the next one. It needs
// the rights to list and patch Pods; without them the election works all the same.
//
// A Service sends requests to whom it last knew to be the leader: the label is a
// signpost, and no proof. Default: no label.
func WithLeaderLabel(label LeaderLabel) Option {
	return func(o *options) { o.label = &label }
}

// routeTimeout bounds each request for a Pod.
const routeTimeout = 10 * time.Second

// A route keeps the label. A nil one does nothing.
type route struct {
	LeaderLabel
	pods   typedcorev1.PodInterface
	logger logr.Logger
	config leaderelection.Config
}

func newRoute(label *LeaderLabel, client *electionClient, config leaderelection.Config, logger logr.Logger) (*route, error) {
	if label == nil {
		return nil, nil
	}
	r := &route{LeaderLabel: *label, logger: logger.WithName("leader-label"), config: config}
	if r.PodName == "" {
		r.PodName = os.Getenv("POD_NAME")
	}
	if r.PodNamespace == "" {
		r.PodNamespace = os.Getenv("POD_NAMESPACE")
	}
	var errs []error
	for _, msg := range utilvalidation.IsQualifiedName(r.Key + "-term") {
		errs = append(errs, fmt.Errorf("WithLeaderLabel: %q is no key for a label and, with \"-term\", for an annotation: %s", r.Key, msg))
	}
	for _, msg := range utilvalidation.IsValidLabelValue(r.Value) {
		errs = append(errs, fmt.Errorf("WithLeaderLabel: %q is no value for a label: %s", r.Value, msg))
	}
	if r.PodName == "" || r.PodNamespace == "" {
		errs = append(errs, errors.New("WithLeaderLabel: this process's Pod is not known: set POD_NAME and POD_NAMESPACE"))
	}
	r.pods = client.CoreV1().Pods(r.PodNamespace)
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("manager: the options are refused: %w", err)
	}
	return r, nil
}

// begin labels the Pod for the term of ctx. The label is taken away when the term
// or the Manager begins to end, and when end is called, which waits for that.
func (r *route) begin(ctx context.Context, stopping <-chan struct{}) (end func()) {
	if r == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	t := begin(func() error {
		r.keep(ctx, stopping)
		return nil
	})
	return func() { cancel(); <-t.done }
}

func (r *route) keep(ctx context.Context, stopping <-chan struct{}) {
	term, _ := leaderelection.TermFromContext(ctx)
	working, cancel := context.WithCancel(ctx)
	defer cancel()
	stopWatching := begin(func() error {
		select {
		case <-stopping:
			cancel()
		case <-working.Done():
		}
		return nil
	})
	defer func() { cancel(); <-stopWatching.done }()

	// The annotation makes each term's patch a change: a late look of an earlier
	// leader cannot take the label away from one who leads again.
	own := r.patch("", r.Value, term.Token.String())
	r.insist(working, "set", func(ctx context.Context) error {
		_, err := r.pods.Patch(ctx, r.PodName, types.MergePatchType, own, metav1.PatchOptions{})
		return err
	})
	r.insist(working, "take away from others", r.clear)
	<-working.Done()

	// After a loss the process has no more than Margin to go.
	last, cancelLast := context.WithTimeout(context.WithoutCancel(ctx), min(2*time.Second, r.config.Margin()/4))
	defer cancelLast()
	if _, err := r.pods.Patch(last, r.PodName, types.MergePatchType, r.patch("", nil, nil), metav1.PatchOptions{}); err != nil {
		r.logger.Info("The leader's label stays until the next leader takes it away", "err", err)
	}
}

// insist tries until it succeeds or ctx ends.
func (r *route) insist(ctx context.Context, what string, try func(context.Context) error) {
	for told := false; ctx.Err() == nil; {
		attempt, cancel := context.WithTimeout(ctx, routeTimeout)
		err := try(attempt)
		cancel()
		if err == nil {
			return
		}
		if !told && ctx.Err() == nil && !apierrors.IsConflict(err) {
			told = true
			r.logger.Info("The leader's label could not be changed yet", "attempt", what, "err", err)
		}
		timer := time.NewTimer(time.Second)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// clear takes the label away from all other Pods, as they were when it looked.
func (r *route) clear(ctx context.Context) error {
	labelled, err := r.pods.List(ctx, metav1.ListOptions{LabelSelector: r.Key + "=" + r.Value})
	if err != nil {
		return err
	}
	var errs []error
	for _, pod := range labelled.Items {
		if pod.Name == r.PodName {
			continue
		}
		_, err := r.pods.Patch(ctx, pod.Name, types.MergePatchType, r.patch(pod.ResourceVersion, nil, nil), metav1.PatchOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// patch sets label and term, or takes them away if they are nil; of a Pod of that
// version only, if one is given.
func (r *route) patch(version string, label, term any) []byte {
	metadata := map[string]any{
		"labels":      map[string]any{r.Key: label},
		"annotations": map[string]any{r.Key + "-term": term},
	}
	if version != "" {
		metadata["resourceVersion"] = version
	}
	body, err := json.Marshal(map[string]any{"metadata": metadata})
	if err != nil {
		panic("bug: " + err.Error()) // there are only strings in it
	}
	return body
}
