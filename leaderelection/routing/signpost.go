package routing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// requestTimeout bounds each request for a Pod, and so how long one that hangs keeps
// the next one waiting.
const requestTimeout = 5 * time.Second

// keep keeps the labels right until ctx is done.
func (t *term) keep(ctx context.Context) {
	t.note(ctx, t.set(ctx, nil)) // before anything else: requests wait for it
	for ctx.Err() == nil {
		t.note(ctx, t.round(ctx))
		wait(ctx, pace(t.failures, rand.N(20*time.Second)))
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
func (t *term) round(ctx context.Context) error {
	labelled, err := t.labelled(ctx)
	return errors.Join(err, t.set(ctx, t.ownIn(labelled)), t.clear(ctx, labelled))
}

// note tells of the first of several failures.
func (t *term) note(ctx context.Context, err error) {
	switch {
	case err == nil:
		t.failures = 0
	case ctx.Err() != nil || errors.Is(err, leaderelection.ErrNotLeading):
	default:
		if t.failures++; t.failures == 1 {
			t.logger.Info("The leader's label is not right yet", "err", err)
		}
	}
}

// labelled are the Pods that have the label.
func (t *term) labelled(ctx context.Context) ([]corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	list, err := t.pods.List(ctx, metav1.ListOptions{LabelSelector: t.label.Key + "=" + t.label.Value})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// isOwn reports whether a Pod is this process's.
func (t *term) isOwn(pod *corev1.Pod) bool {
	return pod.Name == t.label.PodName && (t.uid == "" || t.uid == string(pod.UID))
}

// ownIn is this process's Pod, nil if it is not there.
func (t *term) ownIn(pods []corev1.Pod) *corev1.Pod {
	for i := range pods {
		if t.isOwn(&pods[i]) {
			return &pods[i]
		}
	}
	return nil
}

// look fetches this process's Pod: to patch nothing needs no other right than to
// set the label does.
func (t *term) look(ctx context.Context) (*corev1.Pod, error) {
	pod, err := t.change(ctx, t.label.PodName, []byte("{}"))
	if err != nil {
		return nil, err
	}
	if !t.isOwn(pod) {
		return nil, fmt.Errorf("Pod %q is another one than this process's: its UID is %s, not %s", t.label.PodName, pod.UID, t.uid) //nolint:staticcheck // a Pod is written so
	}
	return pod, nil
}

// set labels this process's Pod as it was seen last; nil: it is looked at first. A
// patch that is carried out after the label was taken away finds another version.
func (t *term) set(ctx context.Context, seen *corev1.Pod) (err error) {
	const tries = 5 // others write to it as well, the kubelet above all
	for range tries {
		if seen == nil {
			if seen, err = t.look(ctx); err != nil {
				return err
			}
		}
		t.uid, t.may = string(seen.UID), true
		if err := t.foreign(seen); err != nil && !t.mine {
			t.spare = true
			return err
		}
		t.mine, t.spare = true, false
		if seen.Labels[t.label.Key] == t.label.Value && seen.Annotations[t.label.Key+"-term"] == t.token {
			return nil
		}
		// The annotation makes each term's patch a change: a late look of an earlier
		// leader cannot take the label away from one who leads again.
		_, err = t.change(ctx, t.label.PodName, t.patch(seen.UID, seen.ResourceVersion, t.label.Value, t.token))
		if !apierrors.IsConflict(err) {
			return err
		}
		seen = nil
	}
	return err
}

// foreign returns an error if a Pod has the label and no leader has set it: each sets
// the annotation in the same request. A ReplicaSet whose selector has the label would
// lose the Pod without it.
func (t *term) foreign(pod *corev1.Pod) error {
	value, labelled := pod.Labels[t.label.Key]
	if _, set := pod.Annotations[t.label.Key+"-term"]; set || !labelled {
		return nil
	}
	return fmt.Errorf("Pod %q has the label %s=%s, perhaps from its template, and no annotation %s-term, so no leader has set it: it stays; "+ //nolint:staticcheck // a Pod is written so
		"choose another Key, or take the label away by hand", pod.Name, t.label.Key, value, t.label.Key)
}

// clear takes the label that a leader has set away from all other Pods, as they were
// when it looked.
func (t *term) clear(ctx context.Context, labelled []corev1.Pod) error {
	var errs []error
	for i := range labelled {
		pod := &labelled[i]
		if t.isOwn(pod) {
			continue
		}
		if err := t.foreign(pod); err != nil {
			errs = append(errs, err)
			continue
		}
		_, err := t.change(ctx, pod.Name, t.patch(pod.UID, pod.ResourceVersion, nil, nil))
		if err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// change patches a Pod if we lead: a process that was frozen may have a successor
// whose label it must not take away.
func (t *term) change(ctx context.Context, name string, patch []byte) (*corev1.Pod, error) {
	if !t.elector.IsLeader() {
		return nil, leaderelection.ErrNotLeading
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return t.pods.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
}

// takeAway takes the label away from this process's Pod. A failure is no reason to
// leave it there as long as the Lease is renewed.
func (t *term) takeAway() {
	if t.spare {
		return
	}
	last, end := t.last()
	defer end()
	// Always a change, so that a patch that set the label and is late finds another version.
	patch := t.patch(types.UID(t.uid), "", nil, t.token+"-over")
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		attempt, cancel := context.WithTimeout(last, max(time.Second, t.patience()/4))
		_, err := t.pods.Patch(attempt, t.label.PodName, types.MergePatchType, patch, metav1.PatchOptions{})
		cancel()
		if err == nil || isGone(err) {
			return
		}
		if apierrors.IsForbidden(err) && !t.may || !wait(last, pause) {
			t.logger.Info("The leader's label stays until the next leader takes it away", "err", err)
			return
		}
	}
}

// isGone reports whether the API server says that there is no such Pod any more,
// though perhaps another one of its name.
func isGone(err error) bool {
	var status apierrors.APIStatus
	if apierrors.IsNotFound(err) || !apierrors.IsInvalid(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return apierrors.IsNotFound(err)
	}
	// A UID cannot be changed. An admission policy may call something invalid, too.
	return slices.ContainsFunc(status.Status().Details.Causes, func(c metav1.StatusCause) bool { return c.Field == "metadata.uid" })
}

// patch sets label and term, or takes them away if they are nil; of the Pod with
// that UID and version only, as far as they are given.
func (t *term) patch(uid types.UID, version string, label, term any) []byte {
	metadata := map[string]any{
		"labels":      map[string]any{t.label.Key: label},
		"annotations": map[string]any{t.label.Key + "-term": term},
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
