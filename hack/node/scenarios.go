//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"time"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// A scenario is something that happens to the operators of a side, or to the node.
type scenario struct {
	name     string
	replicas int32
	// share divides the number of repetitions: the flag -n is for the scenarios with share 1.
	share int
	// before and after are called once for all sides, before and after run. They are nil
	// if the scenario concerns only one side.
	before, after func(ctx context.Context, n *node) error
	// run injects the fault into a side and waits until it has had its effect. leader is
	// the work of the current leader.
	run func(ctx context.Context, s *side, leader work) error
}

var scenarios = []scenario{
	{name: "rollout", replicas: 3, share: 2, run: restart},
	{name: "sigkill", replicas: 3, share: 1, run: crash(syscall.SIGKILL)},
	{name: "exit1", replicas: 3, share: 1, run: crash(exitSignal)},
	{name: "oom", replicas: 3, share: 1, run: crash(memorySignal)},
	{name: "evict", replicas: 3, share: 4, run: evictLeader},
	{name: "drain", replicas: 3, share: 4, run: drain},
	{name: "delete", replicas: 3, share: 4, run: deleteLeader(nil)},
	{name: "force-delete", replicas: 3, share: 4, run: deleteLeader(new(int64))},
	{name: "liveness", replicas: 3, share: 8, run: crash(unhealthyCall)},
	{name: "sigstop", replicas: 3, share: 8, run: freeze},
	{name: "kubelet-stopped", replicas: 3, share: 8, before: stopKubelet, run: crash(syscall.SIGKILL), after: continueKubelet},
	{name: "node-loss", replicas: 3, share: 20, before: loseNode, run: awaitPodGC, after: recoverNode},
	{name: "single-sigkill", replicas: 1, share: 2, run: crash(syscall.SIGKILL)},
	{name: "single-exit1", replicas: 1, share: 2, run: crash(exitSignal)},
	{name: "single-oom", replicas: 1, share: 2, run: crash(memorySignal)},
	{name: "single-rollout", replicas: 1, share: 4, run: restart},
}

// crash sends a signal to the leader.
func crash(signal syscall.Signal) func(context.Context, *side, work) error {
	return func(ctx context.Context, s *side, leader work) error {
		if err := s.signal(leader, signal); err != nil {
			return err
		}
		return s.awaitSuccessor(ctx, leader)
	}
}

// freeze stops the leader's process until another one works, and for a moment more.
func freeze(ctx context.Context, s *side, leader work) error {
	if err := s.signal(leader, syscall.SIGSTOP); err != nil {
		return err
	}
	return errors.Join(s.awaitSuccessor(ctx, leader), lab.Sleep(ctx, time.Second), s.signal(leader, syscall.SIGCONT))
}

func (s *side) patchDeployment(ctx context.Context, patch string) error {
	_, err := s.node.clientset.AppsV1().Deployments(s.election).Patch(ctx, s.election, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

// restart is kubectl rollout restart.
func restart(ctx context.Context, s *side, leader work) error {
	err := s.patchDeployment(ctx, fmt.Sprintf(
		`{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`, time.Now().Format(time.RFC3339Nano)))
	if err != nil {
		return err
	}
	return s.awaitSuccessor(ctx, leader)
}

func deleteLeader(grace *int64) func(context.Context, *side, work) error {
	return func(ctx context.Context, s *side, leader work) error {
		err := s.node.clientset.CoreV1().Pods(s.election).Delete(ctx, leader.process.Pod, metav1.DeleteOptions{GracePeriodSeconds: grace})
		if err != nil {
			return err
		}
		return s.awaitSuccessor(ctx, leader)
	}
}

func evictLeader(ctx context.Context, s *side, leader work) error {
	if err := s.evict(ctx, leader.process.Pod); err != nil {
		return err
	}
	return s.awaitSuccessor(ctx, leader)
}

// evict evicts a Pod. It tries again while the PodDisruptionBudget does not allow it.
func (s *side) evict(ctx context.Context, pod string) error {
	for {
		err := s.node.clientset.PolicyV1().Evictions(s.election).Evict(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: s.election, Name: pod}})
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case !apierrors.IsTooManyRequests(err):
			return err
		}
		if err := lab.Sleep(ctx, time.Second); err != nil {
			return err
		}
	}
}

// drain evicts all Pods of the side at the same time, as kubectl drain does. The node
// stays schedulable, because there is no other node for the new Pods.
func drain(ctx context.Context, s *side, leader work) error {
	pods, err := s.pods(ctx)
	if err != nil {
		return err
	}
	failures := make(chan error)
	for _, pod := range pods {
		go func() { failures <- s.evict(ctx, pod.Name) }()
	}
	for range pods {
		err = errors.Join(err, <-failures)
	}
	return errors.Join(err, s.awaitSuccessor(ctx, leader))
}

func (n *node) signalKubelet(signal syscall.Signal) error {
	pid, err := n.find(func(_ string, args []string) bool { return filepath.Base(args[0]) == "kubelet" })
	if err != nil {
		return fmt.Errorf("kubelet: %w", err)
	}
	return syscall.Kill(pid, signal)
}

func stopKubelet(_ context.Context, n *node) error     { return n.signalKubelet(syscall.SIGSTOP) }
func continueKubelet(_ context.Context, n *node) error { return n.signalKubelet(syscall.SIGCONT) }

// loseNode stops the kubelet and deletes the Node object. Then the garbage collector of
// Pods marks the Pods of the node as failed and deletes them, while their processes run.
func loseNode(ctx context.Context, n *node) error {
	return errors.Join(stopKubelet(ctx, n), n.clientset.CoreV1().Nodes().Delete(ctx, nodeName, metav1.DeleteOptions{}))
}

// awaitPodGC waits until the Pod of the leader is gone, and for ten seconds more. The
// leader's process still runs.
func awaitPodGC(ctx context.Context, s *side, leader work) error {
	const timeout = 3 * time.Minute
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("%s: the Pod %s exists %v after its node", s.election, leader.process.Pod, timeout))
	defer cancel()
	for {
		_, err := s.node.clientset.CoreV1().Pods(s.election).Get(ctx, leader.process.Pod, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return lab.Sleep(ctx, 10*time.Second)
		}
		if err := lab.Sleep(ctx, time.Second); err != nil {
			return err
		}
	}
}

// recoverNode restarts the kubelet, because only a new kubelet registers its node.
func recoverNode(ctx context.Context, n *node) error {
	if err := n.signalKubelet(syscall.SIGKILL); err != nil {
		return err
	}
	return n.awaitReady(ctx)
}
