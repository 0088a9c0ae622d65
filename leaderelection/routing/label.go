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
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/dispatch"
)

// requestTimeout is the timeout of each request that reads or writes Pods.
const requestTimeout = 5 * time.Second

// keepLabel keeps the label on this process's Pod and removes it from other Pods, until
// ctx is done.
func (t *termRouter) keepLabel(ctx context.Context) {
	t.logFailure(ctx, t.setLabel(ctx, nil)) // set the label before the first check, because clients wait for the label
	for ctx.Err() == nil {
		t.logFailure(ctx, t.checkLabels(ctx))
		wait(ctx, checkInterval(t.failures, rand.N(20*time.Second)))
	}
}

// checkInterval returns the time from one check to the next check. After a successful
// check, this time is 10 s plus jitter. After the first failed check, the time is 1 s.
// The time doubles with each further failure, but is at most 10 s plus jitter.
func checkInterval(failures int, jitter time.Duration) time.Duration {
	interval := 10*time.Second + jitter
	if failures == 0 {
		return interval
	}
	return min(interval, time.Second<<min(failures-1, 5))
}

// checkLabels checks and repairs the labels of all Pods. If one step fails, checkLabels
// continues with the next step.
func (t *termRouter) checkLabels(ctx context.Context) error {
	labelled, err := t.listLabelled(ctx)
	return errors.Join(err, t.setLabel(ctx, t.ownPod(labelled)), t.removeFromOthers(ctx, labelled))
}

// logFailure counts consecutive failures. It logs only the first failure of a series.
func (t *termRouter) logFailure(ctx context.Context, err error) {
	switch {
	case err == nil:
		t.failures = 0
	case ctx.Err() != nil || errors.Is(err, leaderelection.ErrNotLeading):
	default:
		if t.failures++; t.failures == 1 {
			t.logger.Info("Leader label is not up to date; retrying", "err", err)
		}
	}
}

// listLabelled returns the Pods that have the label.
func (t *termRouter) listLabelled(ctx context.Context) ([]corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	list, err := dispatch.Call(ctx, &t.calls, func(ctx context.Context) (*corev1.PodList, error) {
		return t.pods.List(ctx, metav1.ListOptions{LabelSelector: t.label.Key + "=" + t.label.Value})
	}, nil)
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// isOwn reports whether this process runs in the Pod.
func (t *termRouter) isOwn(pod *corev1.Pod) bool {
	return pod.Name == t.label.PodName && (t.uid == "" || t.uid == string(pod.UID))
}

// ownPod returns the Pod of this process from a list of Pods. It returns nil if the list
// does not contain this Pod.
func (t *termRouter) ownPod(pods []corev1.Pod) *corev1.Pod {
	for i := range pods {
		if t.isOwn(&pods[i]) {
			return &pods[i]
		}
	}
	return nil
}

// readPod reads this process's Pod with an empty patch. Therefore the Router does not
// need the right to get Pods.
func (t *termRouter) readPod(ctx context.Context) (*corev1.Pod, error) {
	pod, err := t.patchPod(ctx, t.label.PodName, []byte("{}"))
	if err != nil {
		return nil, err
	}
	if !t.isOwn(pod) {
		return nil, fmt.Errorf("Pod %q is a later Pod of the same name: its UID is %s, want %s", t.label.PodName, pod.UID, t.uid) //nolint:staticcheck // Pod is a kind
	}
	return pod, nil
}

// setLabel sets the label on this process's Pod. If pod is nil, setLabel first reads the
// Pod. The patch contains the resourceVersion of the Pod. Therefore a late patch fails if
// the label was removed in the meantime.
func (t *termRouter) setLabel(ctx context.Context, pod *corev1.Pod) (err error) {
	const attempts = 5 // other clients, such as the kubelet, also write to the Pod and cause conflicts
	for range attempts {
		if pod == nil {
			if pod, err = t.readPod(ctx); err != nil {
				return err
			}
		}
		t.uid, t.mayPatch = string(pod.UID), true
		if err := t.checkForeign(pod); err != nil && !t.setByLeader {
			t.foreignLabel = true
			return err
		}
		t.setByLeader, t.foreignLabel = true, false
		if pod.Labels[t.label.Key] == t.label.Value && pod.Annotations[t.label.Key+"-term"] == t.token {
			return nil
		}
		// This patch always changes the Pod, because the annotation has a different value
		// in each term. Therefore another leader cannot remove the label if that leader
		// read the Pod before this patch.
		_, err = t.patchPod(ctx, t.label.PodName, t.labelPatch(pod.UID, pod.ResourceVersion, t.label.Value, t.token))
		if !apierrors.IsConflict(err) {
			return err
		}
		pod = nil
	}
	return err
}

// checkForeign returns an error if the Pod has the label without the annotation
// <key>-term. In this case, no leader set the label. The Router must keep the label,
// because a ReplicaSet that selects the label would lose the Pod.
func (t *termRouter) checkForeign(pod *corev1.Pod) error {
	value, labelled := pod.Labels[t.label.Key]
	if _, set := pod.Annotations[t.label.Key+"-term"]; set || !labelled {
		return nil
	}
	return fmt.Errorf("Pod %q has the label %s=%s without the annotation %s-term, perhaps from its template: the label stays; "+ //nolint:staticcheck // Pod is a kind
		"choose another Key, or remove the label by hand", pod.Name, t.label.Key, value, t.label.Key)
}

// removeFromOthers removes the label from all other Pods on which a leader set the label.
// The API server refuses the patch of a Pod that has changed since the Pods were listed.
func (t *termRouter) removeFromOthers(ctx context.Context, labelled []corev1.Pod) error {
	var errs []error
	for i := range labelled {
		pod := &labelled[i]
		if t.isOwn(pod) {
			continue
		}
		if err := t.checkForeign(pod); err != nil {
			errs = append(errs, err)
			continue
		}
		_, err := t.patchPod(ctx, pod.Name, t.labelPatch(pod.UID, pod.ResourceVersion, nil, nil))
		if err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// patchPod patches a Pod only if this process leads. Without this check, a process that
// resumes after a suspension could remove the label of the new leader.
func (t *termRouter) patchPod(ctx context.Context, name string, patch []byte) (*corev1.Pod, error) {
	if !t.elector.IsLeader() {
		return nil, leaderelection.ErrNotLeading
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return t.patch(ctx, name, patch)
}

// patch returns soon after ctx is done, even if the client ignores ctx.
func (t *termRouter) patch(ctx context.Context, name string, patch []byte) (*corev1.Pod, error) {
	return dispatch.Call(ctx, &t.calls, func(ctx context.Context) (*corev1.Pod, error) {
		return t.pods.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
	}, nil)
}

// removeLabel removes the label from this process's Pod. It retries until the context
// from removeContext is done.
func (t *termRouter) removeLabel() {
	if t.foreignLabel {
		return
	}
	ctx, stop := t.removeContext()
	defer stop()
	// This patch changes the annotation, and therefore the resourceVersion of the Pod. An
	// earlier patch that sets the label fails if it arrives after this patch.
	patch := t.labelPatch(types.UID(t.uid), "", nil, t.token+"-over")
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		attempt, cancel := context.WithTimeout(ctx, max(time.Second, t.removeTimeout()/4))
		_, err := t.patch(attempt, t.label.PodName, patch)
		cancel()
		if err == nil || isPodGone(err) {
			return
		}
		if apierrors.IsForbidden(err) && !t.mayPatch || !wait(ctx, pause) {
			t.logger.Info("Leader label stays until the next leader removes it", "err", err)
			return
		}
	}
}

// isPodGone reports whether err means that the Pod of this process no longer exists. A
// new Pod may have the same name.
func isPodGone(err error) bool {
	var status apierrors.APIStatus
	if apierrors.IsNotFound(err) || !apierrors.IsInvalid(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return apierrors.IsNotFound(err)
	}
	// The patch contains the UID of this process's Pod. If a new Pod has the same name,
	// the API server refuses the field metadata.uid. An error about another field comes
	// from an admission policy.
	return slices.ContainsFunc(status.Status().Details.Causes, func(c metav1.StatusCause) bool { return c.Field == "metadata.uid" })
}

// labelPatch returns a merge patch for the label and the annotation <key>-term. The
// parameters label and term contain the new values. The value nil removes the label or
// the annotation. The API server refuses the patch if the Pod has another UID or
// resourceVersion. The patch does not contain an empty uid or version.
func (t *termRouter) labelPatch(uid types.UID, version string, label, term any) []byte {
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
		panic("bug: " + err.Error()) // strings can always be marshalled
	}
	return body
}
