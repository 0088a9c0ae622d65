package leaderelection

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/clock"
	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/leasewatch"
)

// WithProofOfDeath makes the Elector claim the Lease before it expires if the kubelet has
// reported that the leader's container has terminated. After a crash, a follower or the
// restarted container then leads within a second or two, instead of one LeaseDuration.
//
// The parameters name the pod and the container of this process. Take the first three from
// the downward API: metadata.namespace, metadata.name and metadata.uid. If container is
// "", the pod must have one container only. A process must not use the values of another
// pod or container, because two leaders would be possible then. For example, a development
// tool may run a process outside its pod, with the environment of the pod.
//
// The process needs the rights to get and to watch pods in its namespace, see package
// rights. Without the rights, and until the leader has learned the ID of its container,
// the election works as without this option. The leader needs about three seconds for it.
// Proofs count among the candidates whose pods are in one namespace.
//
// Nothing else than this report of the kubelet is a proof. For example, a pod that was
// deleted by force, and a node that is lost, prove nothing. The page
// hack/docs/proof-of-death.md in the repository states the limits. Default: candidates
// wait until the Lease expires.
func WithProofOfDeath(namespace, pod string, uid types.UID, container string) Option {
	return func(o *options) {
		o.process = &leasestate.Process{
			Namespace: namespace, Pod: pod, UID: string(uid), Container: container, Started: clock.ProcessStart().UnixMicro(),
		}
	}
}

// WithoutProofOfDeath removes the effect of earlier options WithProofOfDeath. For example,
// package manager uses WithProofOfDeath if environment variables name the pod. Default: no
// effect.
func WithoutProofOfDeath() Option {
	return func(o *options) { o.process = nil }
}

// A deathObserver learns in which container this process runs, and observes the container
// of the Lease's holder. All its methods may be called on a nil deathObserver.
type deathObserver struct {
	elector *Elector
	self    leasestate.Process // this process; the container may be unknown
	store   podStore

	own          atomic.Pointer[leasestate.Process] // this process with its container; nil until the container is known
	watchRefused bool                               // true if it was logged that the watch is forbidden; guarded by the Elector's mutex
}

// newDeathObserver returns nil if the Elector has no option WithProofOfDeath.
func newDeathObserver(e *Elector, clientset kubernetes.Interface) *deathObserver {
	self := e.options.process
	if self == nil {
		return nil
	}
	return &deathObserver{elector: e, self: *self, store: podStore{clientset.CoreV1().Pods(self.Namespace), &e.calls}}
}

// process returns this process with its container, or nil if the container is not known.
func (d *deathObserver) process() *leasestate.Process {
	if d == nil {
		return nil
	}
	return d.own.Load()
}

// start starts the tasks of the deathObserver. They end when ctx is done.
func (d *deathObserver) start(ctx context.Context) {
	if d == nil {
		return
	}
	d.elector.tasks.Run(func() { d.learn(ctx) })
	d.elector.tasks.Run(func() { d.follow(ctx) })
}

// learn reads the pod of this process until it shows the container of this process. It
// delays nothing. The leader writes the container into the Lease with its next renewal.
func (d *deathObserver) learn(ctx context.Context) {
	e, began, logged := d.elector, time.Now(), false
	if d.own.Load() != nil {
		return // learned in an earlier Run
	}
	for pause := minContainerPause; ctx.Err() == nil; pause = nextContainerPause(pause) {
		own, missing, err := d.ownContainer(ctx)
		if missing == "" && err == nil && clock.Sleep(ctx, nil, containerCheckDelay) == nil {
			var again leasestate.Process
			if again, missing, err = d.ownContainer(ctx); again == own {
				d.own.Store(&own)
				e.log.Info("Own container learned", "container", own.Container, "id", own.ContainerID, "pod", own.Pod)
				return
			}
		}
		if !logged && ctx.Err() == nil && (isPermanent(err) || time.Since(began) >= containerLogDelay) {
			logged = true
			e.log.Warn("Own container unknown; after a crash of this process, candidates wait until the lease expires",
				"pod", d.self.Pod, "reason", missing, "err", err)
		}
		_ = clock.Sleep(ctx, nil, pause)
	}
}

// ownContainer reads the pod of this process. It returns this process with its container,
// or the reason why the pod does not show the container.
func (d *deathObserver) ownContainer(ctx context.Context) (own leasestate.Process, missing string, err error) {
	pod, err := d.read(ctx, d.self.Pod)
	if err != nil {
		return own, "", err
	}
	own, missing = leasestate.OwnContainer(d.self, pod)
	return own, missing, nil
}

func (d *deathObserver) read(ctx context.Context, pod string) (*corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, d.elector.config.shortestRead())
	defer cancel()
	return d.store.get(ctx, pod)
}

// follow observes the pod of the Lease's holder until ctx is done.
func (d *deathObserver) follow(ctx context.Context) {
	for ctx.Err() == nil {
		target, _, changed := d.target()
		if target.IsComplete() {
			d.observe(ctx, target)
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// target returns the process of the holder, if its end would permit an early claim. The
// result since is when the Lease last changed. The result may change when changed is
// closed.
func (d *deathObserver) target() (p leasestate.Process, since time.Time, changed <-chan struct{}) {
	e := d.elector
	e.mu.Lock()
	defer e.unlock()
	lease := e.observed.state.Lease
	p, ok := leasestate.ProcessOf(lease)
	if !ok || e.held.isConfirmed() || e.wroteLocked(lease) || e.proof.Covers(lease) || p.Namespace != d.self.Namespace {
		return leasestate.Process{}, time.Time{}, e.changed
	}
	return p, e.observed.state.Since, e.changed
}

// observe watches the pod of the process p until p is not the target any more. It also
// reads the pod at the beginning, and while the renewal of the Lease is overdue.
func (d *deathObserver) observe(ctx context.Context, p leasestate.Process) {
	e := d.elector
	ctx, cancel := context.WithCancel(ctx)
	w := &leasewatch.Watch{
		Open:           func(ctx context.Context) (watch.Interface, error) { return d.store.watch(ctx, p.Pod) },
		ConnectTimeout: e.config.shortestRead(), Backoff: e.config.watchBackoff(), Jitter: watchJitter,
		Event:   func(event watch.Event) { d.evaluate(p, podOf(event)) },
		Changed: d.watchChanged,
	}
	ended := make(chan struct{})
	e.tasks.Run(func() { defer close(ended); w.Run(ctx) })
	defer func() { cancel(); <-ended }()

	for read := (time.Time{}); ; {
		target, since, changed := d.target()
		if target != p || ctx.Err() != nil {
			return
		}
		if !read.IsZero() {
			due := later(since.Add(e.config.slowRenewal()), read.Add(e.config.longestPoll()))
			if clock.Sleep(ctx, changed, time.Until(due)) != nil {
				continue
			}
		}
		if pod, err := d.read(ctx, p.Pod); err == nil {
			d.evaluate(p, pod)
		}
		read = time.Now()
	}
}

// evaluate records that the process p has ended, if the pod proves it.
func (d *deathObserver) evaluate(p leasestate.Process, pod *corev1.Pod) {
	proof, missing := leasestate.ProofOfDeath(p, pod)
	e := d.elector
	e.mu.Lock()
	defer e.unlock()
	if proof == nil || e.proof.Process == p {
		if pod != nil {
			e.afterUnlock(func() { e.log.Debug("Leader's pod observed", "missing", missing) })
		}
		return
	}
	e.proof = leasestate.Proof{Process: p, At: time.Now()}
	e.signalLocked()
	holder := e.observed.state.Holder()
	e.afterUnlock(func() {
		e.log.Info("Leader's container has terminated; claiming lease before it expires", "leader", holder, "pod", p.Pod,
			"container", p.Container, "exitCode", proof.ExitCode, "reason", proof.Reason, "finishedAt", proof.FinishedAt.Time)
	})
}

// podOf returns the pod in an event. It returns nil for a bookmark, an error, or an object
// of another type. The pod in the event of a deletion is the last state of the pod.
func podOf(event watch.Event) *corev1.Pod {
	switch event.Type {
	case watch.Added, watch.Modified, watch.Deleted:
		pod, _ := event.Object.(*corev1.Pod)
		return pod
	default:
		return nil
	}
}

// watchChanged logs a message when the watch becomes forbidden. The follower then reads
// the pod while the renewal of the Lease is overdue.
func (d *deathObserver) watchChanged(_ bool, err error) {
	e := d.elector
	e.mu.Lock()
	defer e.unlock()
	switch {
	case isWatchForbidden(err) && !d.watchRefused:
		d.watchRefused = true
		e.afterUnlock(func() { e.log.Warn("Watching the leader's pod is forbidden", "missing", "watch", "err", err) })
	case err != nil && !errors.Is(err, leasewatch.ErrEnded) && !errors.Is(err, context.Canceled):
		e.afterUnlock(func() { e.log.Debug("Watch of the leader's pod ended; opening a new one", "err", err) })
	}
}
