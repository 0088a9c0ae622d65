package simulation

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/podtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// A kubelet plays the kubelet of one pod. It writes the pod's status some time after each
// change, and not at all while it is stopped. It then writes the newest status only.
type kubelet struct {
	cluster *cluster
	pods    *podtest.Pods
	name    string // the name of the pod, which all of its pods have

	mu         sync.Mutex
	rng        *rand.Rand
	uid        string
	uids       int
	containers []*container // the containers of the present pod, oldest first
	created    int          // the number of containers of all pods
	stopped    bool
}

// A container is one container of a pod, as its kubelet knows it.
type container struct {
	id      string
	started time.Time
	ended   *corev1.ContainerStateTerminated // nil while the kubelet takes it for running
	replica *replica
}

func newKubelet(c *cluster, pod int) *kubelet {
	return &kubelet{cluster: c, pods: c.pods, name: fmt.Sprintf("pod-%d", pod), rng: rand.New(rand.NewPCG(c.seed, uint64(100+pod)))}
}

// run starts the container of a replica, in a new pod if there is none.
func (k *kubelet) run(rep *replica) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.uid == "" {
		k.uids++
		k.uid, k.containers = fmt.Sprintf("%s-uid-%d", k.name, k.uids), nil
	}
	k.created++
	k.containers = append(k.containers, &container{id: fmt.Sprintf("sim://%s-%d", k.name, k.created), started: time.Now(), replica: rep})
	rep.podUID = k.uid
	k.reportLocked()
}

// ended records that the process of a replica has ended, if the kubelet still knows its
// container.
func (k *kubelet) ended(rep *replica, exitCode int32, reason string) {
	k.end(rep, corev1.ContainerStateTerminated{ExitCode: exitCode, Reason: reason}, true)
}

func (k *kubelet) end(rep *replica, record corev1.ContainerStateTerminated, known bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.containers {
		if c.replica == rep && c.ended == nil {
			if known {
				record.ContainerID, record.FinishedAt = c.id, metav1.NewTime(time.Now().Truncate(time.Second))
			}
			c.ended = &record
			k.reportLocked()
		}
	}
}

// replace removes the pod from the API, as a forced deletion does. The next container is
// in a new pod of the same name.
func (k *kubelet) replace() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.uid, k.containers = "", nil
	k.pods.Delete(k.name)
}

// setStopped stops the kubelet, or lets it continue.
func (k *kubelet) setStopped(stopped bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopped = stopped
	k.reportLocked()
}

// reportLocked writes the status of the pod, as it is then, after a random time. In 120
// crashes on a real node, this time was at most 1.1 s.
func (k *kubelet) reportLocked() {
	time.AfterFunc(between(k.rng, 10*time.Millisecond, 1200*time.Millisecond), func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.stopped || len(k.containers) == 0 {
			return
		}
		pod := podtest.Pod("default", k.name, k.uid)
		last := k.containers[len(k.containers)-1]
		s := corev1.ContainerStatus{Name: "app", ContainerID: last.id, RestartCount: int32(len(k.containers) - 1)}
		if s.State.Terminated = last.ended; last.ended == nil {
			s.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(last.started.Truncate(time.Second))}
		}
		if len(k.containers) > 1 {
			s.LastTerminationState.Terminated = k.containers[len(k.containers)-2].ended
		}
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{s}
		k.pods.Update(pod)
	})
}

// clientset returns the clientset of a replica. Faults of the network do not concern
// requests for pods.
func (k *kubelet) clientset(rep *replica) kubernetes.Interface {
	return k.pods.Clientset(rep.clientset(), func(ctx context.Context, _ string) error { return ctx.Err() })
}

// option returns the option that makes a replica use proof of death.
func (rep *replica) option() leaderelection.Option {
	return leaderelection.WithProofOfDeath("default", rep.cluster.kubelets[rep.pod].name, types.UID(rep.podUID), "")
}

// orphan lets the process of a pod live on for a while, although its kubelet has lost it,
// and starts the next process of the pod beside it. forget changes what the kubelet knows.
func (c *cluster) orphan(pod int, life time.Duration, forget func(*kubelet, *replica)) {
	rep := c.removeCurrent(pod)
	if rep == nil {
		return
	}
	c.trace.addf(rep.name, "is lost by its kubelet, and lives for %v more", life)
	forget(c.kubelets[pod], rep)
	c.start(pod, false)
	c.background.Go(func() {
		time.Sleep(life)
		c.trace.addf(rep.name, "is killed")
		c.referee.markCrashed(rep)
		rep.client.Network().Cut(leaderelectiontest.Hang)
		rep.cancel()
	})
}

// longestOrphan is how long an orphan lives at most.
const longestOrphan = 20 * time.Second

// addKubeletFaults adds kubelets that stop, lose containers and report unknown ends, and
// people who delete pods by force.
func (s *schedule) addKubeletFaults(rng *rand.Rand, pod int) {
	for _, at := range randomTimes(rng, 45*time.Second) {
		if at > faultPhase-longestOrphan {
			break
		}
		life := between(rng, 0, longestOrphan)
		switch rng.IntN(6) {
		case 0:
			s.add(at, "a kubelet stops for "+life.String(), func(c *cluster) { c.kubelets[pod].setStopped(true) })
			s.add(at+life, "a kubelet continues", func(c *cluster) { c.kubelets[pod].setStopped(false) })
		case 1:
			s.add(at, "a pod is deleted by force", func(c *cluster) {
				c.orphan(pod, life, func(k *kubelet, _ *replica) { k.replace() })
			})
		case 2:
			s.add(at, "a container's end is unknown: exit code 255", func(c *cluster) {
				c.orphan(pod, life, func(k *kubelet, rep *replica) { k.ended(rep, 255, "Error") })
			})
		case 3:
			s.add(at, "a container is lost: ContainerStatusUnknown", func(c *cluster) {
				c.orphan(pod, life, func(k *kubelet, rep *replica) {
					k.end(rep, corev1.ContainerStateTerminated{ExitCode: 137, Reason: "ContainerStatusUnknown"}, false)
				})
			})
		default:
			same := rng.IntN(2) == 0
			s.add(at, "crashes", func(c *cluster) { c.crash(pod, life/10, same) })
		}
	}
}
