package manager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// routeTimeout bounds each request for a Pod, and so how long one that hangs keeps
// the next one waiting.
const routeTimeout = 5 * time.Second

// begin labels the Pod for the term of ctx. The label is taken away when the term
// or the Manager begins to end, and when end is called, which waits for that.
func (r *route) begin(ctx context.Context, stopping <-chan struct{}) (end func()) {
	if r == nil {
		return func() {}
	}
	working, cancel := context.WithCancel(ctx)
	watch := begin(func() error {
		select {
		case <-stopping:
			cancel()
		case <-working.Done():
		}
		return nil
	})
	t := begin(func() error {
		defer cancel()
		term, _ := leaderelection.TermFromContext(ctx)
		r.keep(working, term.Token.String())
		r.takeAway(ctx, term.Token.String())
		return nil
	})
	return func() { cancel(); <-watch.done; <-t.done }
}

// keep keeps the labels right until ctx is done.
func (r *route) keep(ctx context.Context, term string) {
	r.note(ctx, r.set(ctx, nil, term)) // before anything else: requests wait for it
	for ctx.Err() == nil {
		r.note(ctx, r.round(ctx, term))
		wait(ctx, pace(r.failures, rand.N(20*time.Second)))
	}
}

// pace is how long after a round the next one begins, if so many have failed.
func pace(failures int, jitter time.Duration) time.Duration {
	leisure := 10*time.Second + jitter
	if failures == 0 {
		return leisure
	}
	return min(leisure, time.Second<<min(failures-1, 5))
}

// round puts right what it finds wrong. What fails in it keeps nothing else from
// being tried.
func (r *route) round(ctx context.Context, term string) error {
	labelled, err := r.labelled(ctx)
	return errors.Join(err, r.set(ctx, r.ownIn(labelled), term), r.clear(ctx, labelled))
}

// note tells of the first of several failures.
func (r *route) note(ctx context.Context, err error) {
	switch {
	case err == nil:
		r.failures = 0
	case ctx.Err() != nil || errors.Is(err, leaderelection.ErrNotLeading):
	default:
		if r.failures++; r.failures == 1 {
			r.logger.Info("The leader's label is not right yet", "err", err)
		}
	}
}

// labelled are the Pods that have the label.
func (r *route) labelled(ctx context.Context) ([]corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, routeTimeout)
	defer cancel()
	list, err := r.pods.List(ctx, metav1.ListOptions{LabelSelector: r.Key + "=" + r.Value})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// isOwn reports whether a Pod is this process's.
func (r *route) isOwn(pod *corev1.Pod) bool {
	return pod.Name == r.PodName && (r.PodUID == "" || r.PodUID == string(pod.UID))
}

// ownIn is this process's Pod, nil if it is not there.
func (r *route) ownIn(pods []corev1.Pod) *corev1.Pod {
	for i := range pods {
		if r.isOwn(&pods[i]) {
			return &pods[i]
		}
	}
	return nil
}

// look fetches this process's Pod: to patch nothing needs no other right than to
// set the label does.
func (r *route) look(ctx context.Context) (*corev1.Pod, error) {
	pod, err := r.change(ctx, r.PodName, []byte("{}"))
	if err != nil {
		return nil, err
	}
	if !r.isOwn(pod) {
		return nil, fmt.Errorf("Pod %q is another one than this process's: its UID is %s, not %s", r.PodName, pod.UID, r.PodUID) //nolint:staticcheck // a Pod is written so
	}
	return pod, nil
}

// set labels this process's Pod as it was seen last; nil: it is looked at first. A
// patch that is carried out after the label was taken away finds another version.
func (r *route) set(ctx context.Context, seen *corev1.Pod, term string) (err error) {
	const tries = 5 // others write to it as well, the kubelet above all
	for range tries {
		if seen == nil {
			if seen, err = r.look(ctx); err != nil {
				return err
			}
		}
		r.PodUID = string(seen.UID)
		if seen.Labels[r.Key] == r.Value && seen.Annotations[r.Key+"-term"] == term {
			return nil
		}
		// The annotation makes each term's patch a change: a late look of an earlier
		// leader cannot take the label away from one who leads again.
		_, err = r.change(ctx, r.PodName, r.patch(seen.UID, seen.ResourceVersion, r.Value, term))
		if !apierrors.IsConflict(err) {
			return err
		}
		seen = nil
	}
	return err
}

// clear takes the label away from all other Pods, as they were when it looked.
func (r *route) clear(ctx context.Context, labelled []corev1.Pod) error {
	var errs []error
	for i := range labelled {
		pod := &labelled[i]
		if r.isOwn(pod) {
			continue
		}
		_, err := r.change(ctx, pod.Name, r.patch(pod.UID, pod.ResourceVersion, nil, nil))
		if err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// change patches a Pod if we lead: a process that was frozen may have a successor
// whose label it must not take away.
func (r *route) change(ctx context.Context, name string, patch []byte) (*corev1.Pod, error) {
	if !r.lease.IsLeader() {
		return nil, leaderelection.ErrNotLeading
	}
	ctx, cancel := context.WithTimeout(ctx, routeTimeout)
	defer cancel()
	return r.pods.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
}

// takeAway takes the label away from this process's Pod. A failure is no reason to
// leave it there as long as the Lease is renewed.
func (r *route) takeAway(ctx context.Context, term string) {
	last, end := r.last(ctx)
	defer end()
	// Always a change, so that a patch that set the label and is late finds another version.
	patch := r.patch(types.UID(r.PodUID), "", nil, term+"-over")
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		attempt, cancel := context.WithTimeout(last, max(time.Second, r.patience/4))
		_, err := r.pods.Patch(attempt, r.PodName, types.MergePatchType, patch, metav1.PatchOptions{})
		cancel()
		if err == nil || isGone(err) {
			return
		}
		if apierrors.IsForbidden(err) || !wait(last, pause) {
			r.logger.Info("The leader's label stays until the next leader takes it away", "err", err)
			return
		}
	}
}

// isGone reports whether the API server says that there is no such Pod any more,
// though perhaps another one of its name.
func isGone(err error) bool {
	return apierrors.IsNotFound(err) || apierrors.IsInvalid(err) // a UID cannot be changed
}

// last is a context for what remains to be done when the work of a term ends. It
// lasts for as long as there is patience, or for a moment after the Lease was lost.
func (r *route) last(term context.Context) (context.Context, func()) {
	last, cancel := context.WithTimeout(context.WithoutCancel(term), r.patience)
	watch := begin(func() error {
		defer cancel()
		select {
		case <-term.Done():
		case <-last.Done():
			return nil
		}
		for !isLoss(context.Cause(term)) && r.isHeld() && wait(last, r.config.Margin()/16) {
			continue // nothing tells of a loss that comes after the end
		}
		wait(last, lossPatience(r.config))
		return nil
	})
	return last, func() { cancel(); <-watch.done }
}

// isHeld reports whether the Lease is still ours, as far as can be told when the
// term has ended and the Lease is renewed until all has stopped.
func (r *route) isHeld() bool {
	return r.lease.GetLeader() == r.config.Identity && time.Since(r.lease.LastContact()) < r.config.Window()
}

// isLoss reports whether a term that ended for cause was lost.
func isLoss(cause error) bool {
	return !errors.Is(cause, leaderelection.ErrCancelled) && !errors.Is(cause, leaderelection.ErrSteppedDown)
}

// wait waits for d, and reports whether ctx is live then.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// patch sets label and term, or takes them away if they are nil; of the Pod with
// that UID and version only, as far as they are given.
func (r *route) patch(uid types.UID, version string, label, term any) []byte {
	metadata := map[string]any{
		"labels":      map[string]any{r.Key: label},
		"annotations": map[string]any{r.Key + "-term": term},
	}
	if uid != "" {
		metadata["uid"] = uid
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
