package main

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// processStarted is not later than the start of this process according to package
// leaderelection. The containers of the benchmark run since then.
var processStarted = time.Now().Add(-2 * time.Second)

const proofRounds = 20

// A standInKubelet writes the status of the candidates' pods.
type standInKubelet struct {
	pods coreclient.PodInterface

	mu    sync.Mutex
	names map[*client]string // the pod of the candidate with this client
}

// run creates a pod for a candidate. The pod's container runs.
func (k *standInKubelet) run(ctx context.Context, c *client, name string) (*corev1.Pod, error) {
	pod, err := k.pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "example.com/x"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	k.names[c] = name
	k.mu.Unlock()
	return pod, k.setState(ctx, name, corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(processStarted)}})
}

// terminated reports that the container of a candidate has terminated.
func (k *standInKubelet) terminated(ctx context.Context, c *client) error {
	k.mu.Lock()
	name := k.names[c]
	k.mu.Unlock()
	return k.setState(ctx, name, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ContainerID: "containerd://" + name, ExitCode: 137, Reason: "Error", FinishedAt: metav1.Now(),
	}})
}

func (k *standInKubelet) setState(ctx context.Context, name string, state corev1.ContainerState) error {
	pod, err := k.pods.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", Image: "example.com/x", ContainerID: "containerd://" + name, State: state}}
	_, err = k.pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	return err
}

// campaign runs one candidate that uses proof of death.
func (k *standInKubelet) campaign(ctx context.Context, c candidateSpec) error {
	pod, err := k.run(ctx, c.client, strings.ToLower(c.identity))
	if err != nil {
		return err
	}
	elector, err := leaderelection.New(c.config(), c.client.clientset(), leaderelection.Callbacks{OnStartedLeading: c.work},
		slog.New(slog.DiscardHandler), leaderelection.WithProofOfDeath(namespace, pod.Name, pod.UID, ""))
	if err != nil {
		return err
	}
	return elector.Run(ctx)
}

// measureProof measures how long a takeover takes after a crash of the leader, from the
// kubelet's report to the start of the successor's work.
func (b *bench) measureProof(ctx context.Context) (f figures, err error) {
	k := &standInKubelet{pods: b.cluster.Clientset.CoreV1().Pods(namespace), names: map[*client]string{}}
	g, err := newGroup(ctx, candidateGroup{cluster: b.cluster, implementation: implementation{incumbent, k.campaign}, timing: defaultTiming}, 3)
	defer func() { err = errors.Join(err, g.close()) }()
	if err != nil {
		return nil, err
	}
	var reported time.Time
	g.crashed = func(c *candidate) error {
		if err := lab.Sleep(ctx, rand.N(time.Second)); err != nil {
			return err
		}
		reported = time.Now()
		return k.terminated(ctx, c.client)
	}
	var times []float64
	var crashed []*candidate
	for round := range proofRounds {
		// The leader and its successor need about three seconds to learn their containers.
		if err := lab.Sleep(ctx, 5*time.Second+rand.N(defaultTiming.RetryPeriod)); err != nil {
			return nil, err
		}
		h, err := g.crashLeader(ctx)
		if err != nil {
			return nil, err
		}
		times = append(times, lab.Milliseconds(h.started.Sub(reported)))
		b.progress("proof: round %d of %d: %.1f ms", round+1, proofRounds, times[round])
		h.from.cancel() // it needs a LeaseDuration to end, because its requests hang
		crashed = append(crashed, h.from)
		g.candidates[slices.Index(g.candidates, h.from)] = g.start()
	}
	for _, c := range crashed {
		err = errors.Join(err, c.end())
	}
	return proofFigures(times), err
}
