package integration_test

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
)

// testStart is at least one second before the start of this process, according to the
// package leaderelection. The containers of the tests run since then.
var testStart = time.Now().Add(-2 * time.Second)

// A podCandidate is a candidate in a pod. The test plays its kubelet.
type podCandidate struct {
	*candidate
	pod      string
	previous chan string // receives TermStarted.Previous of each term
}

// inPod adds a candidate in a container of a pod, and creates the pod if it does not exist.
// The candidate has exactly the rights that it needs with the given uses.
func (s *testCluster) inPod(name, pod string, uses rights.Uses) *podCandidate {
	s.Helper()
	pods := s.cp.Admin().Clientset().CoreV1().Pods(s.namespace)
	present, err := pods.Get(s.Context(), pod, metav1.GetOptions{})
	if err != nil {
		present = s.newPod(pod)
	}
	c := &podCandidate{pod: pod, previous: make(chan string, 10)}
	c.candidate = s.newCandidate(name, envtest.AsUser(s.cp.User(s, "proof-"+name, s.namespace, rights.Rules(uses.Rights(), s.namespace)...)))
	s.withElector(c.candidate, leaderelection.WithProofOfDeath(s.namespace, pod, present.UID, ""), leaderelection.WithTrace(leaderelection.Trace{
		TermStarted: func(started leaderelection.TermStarted) { c.previous <- started.Previous },
	}))
	return c
}

// idle makes the work of the candidate write nothing, so that no write is under way when
// the candidate crashes. Such a write may be applied after the takeover. Only a Fence
// refuses it.
func (c *podCandidate) idle() *podCandidate {
	c.atStart = func(ctx context.Context) { <-ctx.Done() }
	return c
}

func (s *testCluster) proofUses() rights.Uses {
	uses := s.uses()
	uses.ProofOfDeath = true
	return uses
}

// newPod creates a pod whose container "c" runs.
func (s *testCluster) newPod(name string) *corev1.Pod {
	s.Helper()
	pod, err := s.cp.Admin().Clientset().CoreV1().Pods(s.namespace).Create(s.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "example.com/x"}}},
	}, metav1.CreateOptions{})
	must(s.T, err)
	s.setStatus(name, corev1.ContainerStatus{Name: "c", Image: "example.com/x", ContainerID: "containerd://" + name + ".1",
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(testStart)}}})
	return pod
}

// setStatus writes the status of a pod's only container.
func (s *testCluster) setStatus(pod string, status corev1.ContainerStatus) {
	s.Helper()
	pods := s.cp.Admin().Clientset().CoreV1().Pods(s.namespace)
	present, err := pods.Get(s.Context(), pod, metav1.GetOptions{})
	must(s.T, err)
	present.Status.Phase, present.Status.ContainerStatuses = corev1.PodRunning, []corev1.ContainerStatus{status}
	_, err = pods.UpdateStatus(s.Context(), present, metav1.UpdateOptions{})
	must(s.T, err)
}

// ended returns the record of the end of a container that ends now.
func ended(id string, exitCode int32, reason string) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ContainerID: id, ExitCode: exitCode, Reason: reason, StartedAt: metav1.NewTime(testStart), FinishedAt: metav1.Now(),
	}}
}

func (s *testCluster) terminated(pod string, exitCode int32, reason string) {
	s.Helper()
	id := "containerd://" + pod + ".1"
	s.setStatus(pod, corev1.ContainerStatus{Name: "c", Image: "example.com/x", ContainerID: id, State: ended(id, exitCode, reason)})
}

// awaitRecord waits until the leader has written its container into the Lease.
func (s *testCluster) awaitRecord(pod string) {
	s.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		lease, err := s.cp.Admin().Clientset().CoordinationV1().Leases(s.namespace).Get(s.Context(), leaseName, metav1.GetOptions{})
		must(s.T, err)
		if strings.Contains(lease.Annotations["incumbent.haproxy-template-ic.github.io/process"], `"containerd://`+pod+`.1"`) {
			return
		}
		if time.Now().After(end) {
			s.Fatalf("the Lease does not name the container of %s: %v\n%s", pod, lease.Annotations, s.logs)
		}
	}
}

// wantPrevious requires that the candidate leads, and that the term before its first term
// ended as stated.
func (c *podCandidate) wantPrevious(want string) *termRun {
	c.testCluster.Helper()
	r := c.awaitTerm()
	select {
	case previous := <-c.previous:
		if previous != want {
			c.testCluster.Errorf("the term before that of %s ended as %q, want %q", c.Name(), previous, want)
		}
	case <-timeout():
		c.testCluster.Fatal("no term was reported")
	}
	return r
}

func TestProof_AFollowerTakesOverWhenTheKubeletReportsTheEnd(t *testing.T) {
	s := newSharedCluster(t, veryLongLease)
	first, second := s.inPod("pod-1", "pod-1", s.proofUses()), s.inPod("pod-2", "pod-2", s.proofUses())
	first.idle().run().awaitTerm()
	s.awaitRecord("pod-1")
	second.run().awaitLeader("pod-1")
	first.crash()
	s.terminated("pod-1", 137, "OOMKilled")
	reported := time.Now()
	second.wantPrevious(leaderelection.PreviousTerminated).mustContinue(2)
	if took := time.Since(reported); took > 30*time.Second {
		t.Errorf("the takeover took %v", took)
	}
	s.awaitRecord("pod-2")
}

func TestProof_OtherReportsProveNothing(t *testing.T) {
	t.Parallel()
	for name, report := range map[string]func(*testCluster){
		"exit code 255": func(s *testCluster) { s.terminated("pod-1", 255, "Error") },
		"deleted by force": func(s *testCluster) {
			must(s.T, s.cp.Admin().Clientset().CoreV1().Pods(s.namespace).Delete(s.Context(), "pod-1", metav1.DeleteOptions{GracePeriodSeconds: new(int64)}))
		},
		"another pod of the same name": func(s *testCluster) {
			must(s.T, s.cp.Admin().Clientset().CoreV1().Pods(s.namespace).Delete(s.Context(), "pod-1", metav1.DeleteOptions{GracePeriodSeconds: new(int64)}))
			s.newPod("pod-1")
			s.terminated("pod-1", 1, "Error")
		},
		"ContainerStatusUnknown": func(s *testCluster) {
			state := ended("", 137, "ContainerStatusUnknown")
			s.setStatus("pod-1", corev1.ContainerStatus{Name: "c", Image: "example.com/x", ContainerID: "containerd://pod-1.2", RestartCount: 1, LastTerminationState: state,
				State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSharedCluster(t, shortLease)
			first, second := s.inPod("pod-1", "pod-1", s.proofUses()), s.inPod("pod-2", "pod-2", s.proofUses())
			first.run().awaitTerm()
			s.awaitRecord("pod-1")
			second.run().awaitLeader("pod-1")
			// The work of pod-1 continues, and its renewals fail. The referee detects a
			// claim that is too early.
			report(s)
			first.cut()
			second.wantPrevious(leaderelection.PreviousExpired)
		})
	}
}

// A container that restarts in place takes over from its predecessor, under the same
// identity and under another.
func TestProof_ARestartedContainerTakesOver(t *testing.T) {
	t.Parallel()
	for _, identity := range []string{"pod-1", "pod-1-again"} {
		t.Run(identity, func(t *testing.T) {
			s := newSharedCluster(t, veryLongLease)
			first := s.inPod("pod-1", "pod-1", s.proofUses())
			first.idle().run().awaitTerm()
			s.awaitRecord("pod-1")
			first.crash()
			s.setStatus("pod-1", corev1.ContainerStatus{Name: "c", Image: "example.com/x", ContainerID: "containerd://pod-1.2", RestartCount: 1,
				LastTerminationState: ended("containerd://pod-1.1", 1, "Error"),
				State:                corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}})
			second := s.inPod("pod-1-again", "pod-1", s.proofUses())
			s.withIdentity(second, identity)
			second.run()
			second.wantPrevious(leaderelection.PreviousTerminated)
		})
	}
}

// withIdentity replaces the Elector of the candidate by one with another identity.
func (s *testCluster) withIdentity(c *podCandidate, identity string) {
	s.Helper()
	pod, err := s.cp.Admin().Clientset().CoreV1().Pods(s.namespace).Get(s.Context(), c.pod, metav1.GetOptions{})
	must(s.T, err)
	config := c.elector.Config()
	config.Identity = identity
	c.elector, err = leaderelection.New(&config, c.electionClient(), leaderelection.Callbacks{
		OnStartedLeading: c.onStartedLeading, OnStoppedLeading: c.onStoppedLeading,
	}, s.logs.logger(c.Name()), leaderelection.WithProofOfDeath(s.namespace, c.pod, pod.UID, "c"), leaderelection.WithTrace(leaderelection.Trace{
		TermStarted: func(started leaderelection.TermStarted) { c.previous <- started.Previous },
	}))
	must(s.T, err)
}

func TestProof_WithoutRightsTheElectionWorksAsBefore(t *testing.T) {
	s := newSharedCluster(t, shortLease)
	first, second := s.inPod("pod-1", "pod-1", s.proofUses()), s.inPod("pod-2", "pod-2", s.uses())
	first.idle().run().awaitTerm()
	s.awaitRecord("pod-1")
	second.run().awaitLeader("pod-1")
	first.crash()
	s.terminated("pod-1", 137, "Error")
	second.wantPrevious(leaderelection.PreviousExpired).mustContinue(4)
	for _, want := range []string{"Own container unknown", "Watching the leader's pod is forbidden"} {
		if count := strings.Count(s.logs.String(), want); count != 1 {
			t.Errorf("the log contains %q %d times, want once:\n%s", want, count, s.logs)
		}
	}
}

func TestProof_WithTheRightToGetOnlyASilentLeadersPodIsRead(t *testing.T) {
	s := newSharedCluster(t, veryLongLease)
	less := s.proofUses()
	first := s.inPod("pod-1", "pod-1", less)
	s.newPod("pod-2")
	second := &podCandidate{pod: "pod-2", previous: make(chan string, 10)}
	rules := rights.Rules(less.Rights()[:len(less.Rights())-1], s.namespace) // the last right is to watch pods
	second.candidate = s.newCandidate("pod-2", envtest.AsUser(s.cp.User(s, "less", s.namespace, rules...)))
	second.elector = s.withElector(second.candidate).elector
	s.withIdentity(second, "pod-2")
	first.idle().run().awaitTerm()
	s.awaitRecord("pod-1")
	second.run()
	first.crash()
	s.terminated("pod-1", 137, "Error")
	second.wantPrevious(leaderelection.PreviousTerminated)
}
