package manager_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/haproxy-template-ic/incumbent/manager"
)

// A podRequest is a request for Pods.
type podRequest struct {
	method, name, body string
	late               bool // it is carried out though its sender has given up
}

// sets and removes say which of the two a patch does with the label.
func (r podRequest) sets() bool    { return strings.Contains(r.body, `"`+leaderKey+`":"yes"`) }
func (r podRequest) removes() bool { return strings.Contains(r.body, `"`+leaderKey+`":null`) }

// podAPI serves Pods as a kube-apiserver does, as far as a route asks for them, and
// leaves all else to the API server in memory.
type podAPI struct {
	mu       sync.Mutex
	version  int
	pods     map[string]*corev1.Pod
	requests []podRequest
	meet     func(*podRequest) error // what becomes of a request; it may wait
}

func newPodAPI() *podAPI {
	return &podAPI{pods: map[string]*corev1.Pod{}, meet: func(*podRequest) error { return nil }}
}

// put makes a Pod, or another one of its name.
func (a *podAPI) put(name string, uid types.UID, labelled bool) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: uid}}
	if labelled {
		pod.Labels = map[string]string{leaderKey: "yes"}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.store(pod)
}

func (a *podAPI) store(pod *corev1.Pod) {
	a.version++
	pod.ResourceVersion = strconv.Itoa(a.version)
	a.pods[pod.Name] = pod
}

// edit changes the label by hand.
func (a *podAPI) edit(name string, labelled bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	pod := a.pods[name].DeepCopy()
	delete(pod.Labels, leaderKey)
	if labelled {
		metav1.SetMetaDataLabel(&pod.ObjectMeta, leaderKey, "yes")
	}
	a.store(pod)
}

// labelled are the names of the Pods that have the label.
func (a *podAPI) labelled() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var names []string
	for _, name := range slices.Sorted(maps.Keys(a.pods)) {
		if a.pods[name].Labels[leaderKey] == "yes" {
			names = append(names, name)
		}
	}
	return names
}

// asked counts the requests of a method so far.
func (a *podAPI) asked(method string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.requests {
		if r.method == method {
			n++
		}
	}
	return n
}

// behind is cfg with the Pods in front of what it leads to.
func (a *podAPI) behind(cfg *rest.Config) *rest.Config {
	cfg, rest := rest.CopyConfig(cfg), cfg.Transport
	cfg.Transport = roundTripperFunc(func(r *http.Request) (*http.Response, error) {
		if !strings.Contains(r.URL.Path, "/pods") {
			return rest.RoundTrip(r)
		}
		return a.serve(r)
	})
	return cfg
}

func (a *podAPI) serve(r *http.Request) (*http.Response, error) {
	request := podRequest{method: r.Method}
	if r.Method != http.MethodGet {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		request.name, request.body = path.Base(r.URL.Path), string(body)
	}
	a.mu.Lock()
	a.requests = append(a.requests, request)
	meet := a.meet
	a.mu.Unlock()
	answers := make(chan any, 1)
	go func() {
		if err := meet(&request); err != nil {
			answers <- err
		} else if request.late || r.Context().Err() == nil {
			answers <- a.carryOut(request, r)
		}
	}()
	select {
	case answer := <-answers:
		return reply(answer)
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// carryOut answers with an object or an error.
func (a *podAPI) carryOut(request podRequest, r *http.Request) any {
	a.mu.Lock()
	defer a.mu.Unlock()
	if request.method == http.MethodPatch {
		return a.patch(request.name, request.body)
	}
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		return err
	}
	list := &corev1.PodList{}
	for _, name := range slices.Sorted(maps.Keys(a.pods)) {
		if pod := a.pods[name]; selector.Matches(labels.Set(pod.Labels)) {
			list.Items = append(list.Items, *pod)
		}
	}
	return list
}

func (a *podAPI) patch(name, body string) any {
	resource := corev1.Resource("pods")
	old := a.pods[name]
	if old == nil {
		return apierrors.NewNotFound(resource, name)
	}
	var change any
	if err := json.Unmarshal([]byte(body), &change); err != nil {
		return err
	}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(old)
	if err != nil {
		return err
	}
	var pod corev1.Pod
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(merge(object, change).(map[string]any), &pod); err != nil {
		return err
	}
	switch {
	case pod.ResourceVersion != old.ResourceVersion:
		return apierrors.NewConflict(resource, name, errors.New("the object has been modified"))
	case pod.UID != old.UID:
		return apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Pod").GroupKind(), name, nil)
	case !apiequality.Semantic.DeepEqual(&pod, old):
		a.store(&pod)
	}
	return a.pods[name]
}

// merge is a merge patch, RFC 7396.
func merge(into, patch any) any {
	changes, isMap := patch.(map[string]any)
	if !isMap {
		return patch
	}
	merged, isMap := into.(map[string]any)
	if !isMap {
		merged = map[string]any{}
	}
	for key, change := range changes {
		if change == nil {
			delete(merged, key)
		} else {
			merged[key] = merge(merged[key], change)
		}
	}
	return merged
}

func reply(answer any) (*http.Response, error) {
	code := http.StatusOK
	if err, failed := answer.(error); failed {
		status, known := answer.(apierrors.APIStatus)
		if !known {
			return nil, err
		}
		s := status.Status()
		s.Kind, s.APIVersion = "Status", "v1"
		answer, code = &s, int(s.Code)
	}
	body, err := json.Marshal(answer)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body))}, nil
}

// during meets requests in another way from now on.
func (a *podAPI) during(meet func(*podRequest) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.meet = meet
}

// broken is what a server answers that is out of order.
func broken() error { return apierrors.NewInternalError(errors.New("out of order")) }

// routed runs a Manager in memory whose Pod has its name, until it leads.
func (m memory) routed(t *testing.T, name string, api *podAPI, grace time.Duration, runnables ...crmanager.Runnable) *process {
	t.Helper()
	label := manager.WithLeaderLabel(manager.LeaderLabel{Key: leaderKey, Value: "yes", PodNamespace: "default", PodName: name})
	create := func(cfg *rest.Config, opts crmanager.Options) (crmanager.Manager, error) {
		return manager.New(api.behind(cfg), opts, manager.WithIdentity(name), label)
	}
	p := m.make(name, create, func(o *crmanager.Options) { o.GracefulShutdownTimeout = &grace })
	for _, r := range runnables {
		if err := p.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	start(t, p)
	<-p.Elected()
	return p
}
