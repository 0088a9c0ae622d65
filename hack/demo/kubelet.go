package main

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// reportDelay is the time from the end of a process to the kubelet's report. On a real
// node, the median of 120 crashes was 0.62 s.
const reportDelay = 620 * time.Millisecond

// runPod creates a pod for a process that is about to start, and writes the status of the
// pod as a kubelet does. It returns the UID of the pod. There is no kubelet on a control
// plane that the demo started.
func (r *runner) runPod(identity string) (uid string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), waitTimeout)
	defer cancel()
	pod, err := r.cluster.Clientset.CoreV1().Pods(r.cluster.Namespace).Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: identity},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "demo", Image: "example.com/demo"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("creating the pod of %s: %w", identity, err)
	}
	return string(pod.UID), r.setContainer(ctx, identity, corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}})
}

func (r *runner) setContainer(ctx context.Context, identity string, state corev1.ContainerState) error {
	pods := r.cluster.Clientset.CoreV1().Pods(r.cluster.Namespace)
	pod, err := pods.Get(ctx, identity, metav1.GetOptions{})
	if err != nil {
		return err
	}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "demo", Image: "example.com/demo", ContainerID: "demo://" + identity, State: state}}
	_, err = pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	return err
}

// usePod sets the environment variables that name the pod of this process. Package manager
// uses proof of death if they are set.
func (s settings) usePod(identity string) error {
	for name, value := range map[string]string{"POD_NAMESPACE": s.Namespace, "POD_NAME": identity, "POD_UID": s.PodUID} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return nil
}

// crashWithProof kills the leader. Then it reports the end of the leader's container, as a
// kubelet does.
func (r *runner) crashWithProof(ctx context.Context) error {
	if err := lab.Sleep(ctx, 3*time.Second); err != nil { // the leader needs three seconds to learn its container
		return err
	}
	old, at, err := r.signalLeader(syscall.SIGKILL, "SIGKILL")
	if err != nil {
		return err
	}
	if err := r.awaitExit(ctx, old.Replica); err != nil {
		return err
	}
	if err := lab.Sleep(ctx, reportDelay); err != nil {
		return err
	}
	r.note("the kubelet reports that the container of %s has terminated", old.Replica)
	if err := r.setContainer(ctx, old.Replica, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ContainerID: "demo://" + old.Replica, ExitCode: 137, Reason: "Error", FinishedAt: metav1.NewTime(at),
	}}); err != nil {
		return err
	}
	if err := r.awaitSuccessor(ctx, "crash with proof of death", old, at); err != nil {
		return err
	}
	return r.start(column(old.Replica))
}
