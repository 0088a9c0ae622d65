// Package podtest provides pods in memory for tests of proof of death. A test plays the
// kubelet: it changes the status of the pods. The package works in real time and in a
// bubble of testing/synctest, and it starts no goroutine.
package podtest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
)

// Resource is the resource of pods, for errors of the API.
var Resource = corev1.Resource("pods")

// Pods are the pods of one namespace. All methods may be called from any goroutine.
type Pods struct {
	mu      sync.Mutex
	pods    map[string]*corev1.Pod
	watches []*stream
}

// New returns an empty set of pods.
func New() *Pods { return &Pods{pods: map[string]*corev1.Pod{}} }

// Update stores the pod, in place of the stored pod of the same name.
func (p *Pods) Update(pod *corev1.Pod) {
	p.mu.Lock()
	defer p.mu.Unlock()
	kind := watch.Modified
	if p.pods[pod.Name] == nil {
		kind = watch.Added
	}
	p.pods[pod.Name] = pod.DeepCopy()
	p.sendLocked(watch.Event{Type: kind, Object: pod.DeepCopy()})
}

// Edit calls edit with a copy of the pod with this name, and stores the result. If there
// is no such pod, Edit does nothing.
func (p *Pods) Edit(name string, edit func(*corev1.Pod)) {
	if pod := p.Get(name); pod != nil {
		edit(pod)
		p.Update(pod)
	}
}

// Get returns a copy of the pod with this name. It returns nil if there is no such pod.
func (p *Pods) Get(name string) *corev1.Pod {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pod := p.pods[name]; pod != nil {
		return pod.DeepCopy()
	}
	return nil
}

// Delete removes the pod with this name.
func (p *Pods) Delete(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pod := p.pods[name]; pod != nil {
		delete(p.pods, name)
		p.sendLocked(watch.Event{Type: watch.Deleted, Object: pod.DeepCopy()})
	}
}

// Break ends all watches.
func (p *Pods) Break() {
	p.mu.Lock()
	watches := slices.Clone(p.watches)
	p.mu.Unlock()
	for _, w := range watches {
		w.Stop()
	}
}

func (p *Pods) sendLocked(event watch.Event) {
	for _, w := range p.watches {
		w.send(event)
	}
}

// Clientset returns a clientset that reads and watches these pods, and that sends all
// other requests through base. If reach is not nil, it is called before each request with
// the verb "get" or "watch". It may wait, and its error becomes the error of the request.
func (p *Pods) Clientset(base kubernetes.Interface, reach func(ctx context.Context, verb string) error) kubernetes.Interface {
	return clientset{base, p, reach}
}

type clientset struct {
	kubernetes.Interface
	pods  *Pods
	reach func(context.Context, string) error
}

func (c clientset) CoreV1() coreclient.CoreV1Interface { return core{c.Interface.CoreV1(), c} }

type core struct {
	coreclient.CoreV1Interface
	clientset clientset
}

func (c core) Pods(namespace string) coreclient.PodInterface {
	return client{c.CoreV1Interface.Pods(namespace), c.clientset}
}

type client struct {
	coreclient.PodInterface
	clientset clientset
}

func (c client) check(ctx context.Context, verb string) error {
	if c.clientset.reach == nil {
		return ctx.Err()
	}
	return c.clientset.reach(ctx, verb)
}

// Get returns the pod with this name.
func (c client) Get(ctx context.Context, name string, _ metav1.GetOptions) (*corev1.Pod, error) {
	if err := c.check(ctx, "get"); err != nil {
		return nil, err
	}
	if pod := c.clientset.pods.Get(name); pod != nil {
		return pod, nil
	}
	return nil, apierrors.NewNotFound(Resource, name)
}

// Watch watches the pod whose name is in the field selector. The watch begins with the
// present state of the pod.
func (c client) Watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	if err := c.check(ctx, "watch"); err != nil {
		return nil, err
	}
	name, ok := strings.CutPrefix(options.FieldSelector, "metadata.name=")
	if !ok {
		return nil, errors.New("podtest: a watch needs the field selector metadata.name")
	}
	p := c.clientset.pods
	w := &stream{pods: p, name: name, events: make(chan watch.Event, 1000)}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watches = append(p.watches, w)
	if pod := p.pods[name]; pod != nil {
		w.send(watch.Event{Type: watch.Added, Object: pod.DeepCopy()})
	}
	return w, nil
}

// A stream is one watch. The mutex of pods guards it.
type stream struct {
	pods    *Pods
	name    string
	events  chan watch.Event
	stopped bool
}

func (w *stream) send(event watch.Event) {
	if pod, ok := event.Object.(*corev1.Pod); ok && pod.Name == w.name && !w.stopped {
		w.events <- event
	}
}

// Stop ends the watch.
func (w *stream) Stop() {
	w.pods.mu.Lock()
	defer w.pods.mu.Unlock()
	if !w.stopped {
		w.stopped = true
		close(w.events)
		w.pods.watches = slices.DeleteFunc(w.pods.watches, func(x *stream) bool { return x == w })
	}
}

// ResultChan returns the events of the watch.
func (w *stream) ResultChan() <-chan watch.Event { return w.events }

// Pod returns a pod with one container, named "app", that does not run yet.
func Pod(namespace, name, uid string) *corev1.Pod {
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}}}}
	pod.Namespace, pod.Name, pod.UID = namespace, name, types.UID(uid)
	return pod
}

// Run changes the status of the pod's only container to a new container that runs since
// the given time.
func Run(pod *corev1.Pod, containerID string, at time.Time) {
	next := corev1.ContainerStatus{
		Name: "app", ContainerID: containerID,
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: seconds(at)}},
	}
	if last := pod.Status.ContainerStatuses; len(last) > 0 {
		next.RestartCount, next.LastTerminationState.Terminated = last[0].RestartCount+1, last[0].State.Terminated
	}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{next}
}

// Terminate changes the status of the pod's only container: it has terminated at the given
// time.
func Terminate(pod *corev1.Pod, exitCode int32, reason string, at time.Time) {
	if len(pod.Status.ContainerStatuses) == 0 {
		return
	}
	s := &pod.Status.ContainerStatuses[0]
	s.State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ContainerID: s.ContainerID, ExitCode: exitCode, Reason: reason, FinishedAt: seconds(at),
	}}
}

// seconds returns the time as the API stores it: cut to a whole second.
func seconds(at time.Time) metav1.Time { return metav1.NewTime(at.Truncate(time.Second)) }
