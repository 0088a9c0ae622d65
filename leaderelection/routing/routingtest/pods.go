// Package routingtest provides an in-memory API for Pods. The tests of package routing
// and package manager use this API. The API answers the requests of a Router like a
// kube-apiserver. All other requests go to another transport, such as the in-memory API
// of package leaderelectiontest.
//
//	pods := routingtest.NewPods("example.com/leader", "yes")
//	pods.Put("pod-1", "uid-1", false)
//	clientset, err := kubernetes.NewForConfig(pods.Config(server.Client("pod-1").Config()))
//
// The API works in a testing/synctest bubble. If a request is cancelled while the
// function passed to Intercept runs, a goroutine continues to run until that function
// returns.
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
	// Method is GET, for a list of Pods, or PATCH.
	Method string
	// Name is the name of the patched Pod, and Body is the patch. Both are empty for a list.
	Name, Body string
	// Sets is true if the patch sets the label. Removes is true if the patch removes the
	// label.
	Sets, Removes bool
	// Late makes the API carry out the request even if the context of the request is
	// done. Only the function passed to Intercept sets Late.
	Late bool
}

// Pods is an API for the Pods of namespace "default". Create it with NewPods.
type Pods struct {
	key, value string

	mu        sync.Mutex
	version   int
	pods      map[string]*corev1.Pod
	requests  []Request
	intercept func(*Request) error
}

// NewPods returns an API without Pods. The parameters key and value are the key and the
// value of the leader's label.
func NewPods(key, value string) *Pods {
	return &Pods{key: key, value: value, pods: map[string]*corev1.Pod{}, intercept: func(*Request) error { return nil }}
}

// Put creates a Pod, or replaces the Pod with this name. If labelled is true, the Pod has
// the label and the annotation "<key>-term", like the Pod of a crashed leader.
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

// PutFromTemplate creates a Pod that has the label with the given value, as if from its
// Pod template. The Pod does not have the annotation "<key>-term", which a leader sets.
func (a *Pods) PutFromTemplate(name string, uid types.UID, value string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.store(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: uid, Labels: map[string]string{a.key: value}}})
}

// label sets the label and the annotation on a Pod, like a leader.
func (a *Pods) label(pod *corev1.Pod) {
	metav1.SetMetaDataLabel(&pod.ObjectMeta, a.key, a.value)
	metav1.SetMetaDataAnnotation(&pod.ObjectMeta, a.key+"-term", "1")
}

// RemoveAnnotation removes the annotation "<key>-term" from a Pod, like a manual edit.
func (a *Pods) RemoveAnnotation(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	pod := a.pods[name].DeepCopy()
	delete(pod.Annotations, a.key+"-term")
	a.store(pod)
}

// Edit changes the label of a Pod. If labelled is true, Edit sets the label, like a late
// request of a leader. If labelled is false, Edit removes the label, like a manual edit.
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

// Label returns the value of a Pod's label, or "" if the Pod does not have the label.
func (a *Pods) Label(name string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pods[name].Labels[a.key]
}

// Labelled returns the names of the Pods that have the label.
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

// Requests returns how many requests with this HTTP method were sent.
func (a *Pods) Requests(method string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.requests {
		if r.Method == method {
			n++
		}
	}
	return n
}

// Config returns a copy of cfg for clients that send their requests for Pods to this API.
// All other requests go to cfg.Transport, which must not be nil.
func (a *Pods) Config(cfg *rest.Config) *rest.Config {
	cfg, others := rest.CopyConfig(cfg), cfg.Transport
	cfg.Transport = roundTripperFunc(func(r *http.Request) (*http.Response, error) {
		if !strings.Contains(r.URL.Path, "/pods") {
			return others.RoundTrip(r)
		}
		return a.serve(r)
	})
	return cfg
}

// Intercept makes all later requests call f first. A request waits until f returns. If f
// returns an error, the request fails with that error.
func (a *Pods) Intercept(f func(*Request) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.intercept = f
}

// ServerError returns the error of an API server that answers with status 500.
func ServerError() error { return apierrors.NewInternalError(errors.New("out of order")) }
