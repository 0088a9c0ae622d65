// Package routingtest has Pods in memory, for tests of package routing: they are
// served as a kube-apiserver does, as far as a Router asks for them, beside the Leases
// of package leaderelectiontest or whatever else there is.
//
//	pods := routingtest.NewPods("example.com/leader", "yes")
//	pods.Put("pod-1", "uid-1", false)
//	clientset, err := kubernetes.NewForConfig(pods.Behind(server.Client("pod-1").Config()))
//
// They may be made in a bubble of testing/synctest. They have no goroutines but those of
// requests that were given up and still wait in the function that During was given.
package routingtest

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// A Request is a request for Pods.
type Request struct {
	// Method is GET for a list, and PATCH.
	Method string
	// Name is the Pod's, and Body the patch; empty for a list.
	Name, Body string
	// Sets and Removes say which of the two a patch does with the label.
	Sets, Removes bool
	// Late has the request carried out though its sender has given up.
	Late bool
}

// Pods are the Pods of namespace "default". Make them with NewPods.
type Pods struct {
	key, value string

	mu       sync.Mutex
	version  int
	pods     map[string]*corev1.Pod
	requests []Request
	meet     func(*Request) error
}

// NewPods makes an API without Pods, for tests of that label.
func NewPods(key, value string) *Pods {
	return &Pods{key: key, value: value, pods: map[string]*corev1.Pod{}, meet: func(*Request) error { return nil }}
}

// Put makes a Pod, or another one of its name: labelled as a leader that died has left
// it, or without the label.
func (a *Pods) Put(name string, uid types.UID, labelled bool) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: uid}}
	if labelled {
		a.label(pod)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.store(pod)
}

func (a *Pods) store(pod *corev1.Pod) {
	a.version++
	pod.ResourceVersion = strconv.Itoa(a.version)
	a.pods[pod.Name] = pod
}

// PutFromTemplate makes a Pod that has the label from its template, with that value.
func (a *Pods) PutFromTemplate(name string, uid types.UID, value string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.store(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: uid, Labels: map[string]string{a.key: value}}})
}

// label labels a Pod as a leader does.
func (a *Pods) label(pod *corev1.Pod) {
	metav1.SetMetaDataLabel(&pod.ObjectMeta, a.key, a.value)
	metav1.SetMetaDataAnnotation(&pod.ObjectMeta, a.key+"-term", "1")
}

// RemoveAnnotation takes away by hand what says which leader has set the label.
func (a *Pods) RemoveAnnotation(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	pod := a.pods[name].DeepCopy()
	delete(pod.Annotations, a.key+"-term")
	a.store(pod)
}

// Edit sets the label as the late request of a leader does, or takes it away by hand.
func (a *Pods) Edit(name string, labelled bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	pod := a.pods[name].DeepCopy()
	delete(pod.Labels, a.key)
	if labelled {
		a.label(pod)
	}
	a.store(pod)
}

// Label is the value of a Pod's label, "" if it has none.
func (a *Pods) Label(name string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pods[name].Labels[a.key]
}

// Labelled are the names of the Pods that have the label.
func (a *Pods) Labelled() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var names []string
	for _, name := range slices.Sorted(maps.Keys(a.pods)) {
		if a.pods[name].Labels[a.key] == a.value {
			names = append(names, name)
		}
	}
	return names
}

// Asked counts the requests of that method so far.
func (a *Pods) Asked(method string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.requests {
		if r.Method == method {
			n++
		}
	}
	return n
}

// Behind is cfg, which must have a Transport, with the Pods in front of what that leads
// to.
func (a *Pods) Behind(cfg *rest.Config) *rest.Config {
	cfg, others := rest.CopyConfig(cfg), cfg.Transport
	cfg.Transport = roundTripperFunc(func(r *http.Request) (*http.Response, error) {
		if !strings.Contains(r.URL.Path, "/pods") {
			return others.RoundTrip(r)
		}
		return a.serve(r)
	})
	return cfg
}

// During says what becomes of requests from now on: an error is their answer, and they
// wait for as long as it takes to return.
func (a *Pods) During(meet func(*Request) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.meet = meet
}

// Broken is what a server answers that is out of order.
func Broken() error { return apierrors.NewInternalError(errors.New("out of order")) }
