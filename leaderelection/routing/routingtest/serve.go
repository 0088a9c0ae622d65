package routingtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

type roundTripperFunc func(*http.Request) (*http.Response, error)

func (f roundTripperFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (a *Pods) serve(r *http.Request) (*http.Response, error) {
	request := Request{Method: r.Method}
	if r.Method != http.MethodGet {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		request.Name, request.Body = path.Base(r.URL.Path), string(body)
		request.Sets = strings.Contains(request.Body, `"`+a.key+`":"`+a.value+`"`)
		request.Removes = strings.Contains(request.Body, `"`+a.key+`":null`)
	}
	a.mu.Lock()
	a.requests = append(a.requests, request)
	intercept := a.intercept
	a.mu.Unlock()
	answers := make(chan any, 1)
	go func() {
		if err := intercept(&request); err != nil {
			answers <- err
		} else if request.Late || r.Context().Err() == nil {
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

// carryOut applies the request. It returns the answer, which is an object or an error.
func (a *Pods) carryOut(request Request, r *http.Request) any {
	a.mu.Lock()
	defer a.mu.Unlock()
	if request.Method == http.MethodPatch {
		return a.patch(request.Name, request.Body)
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

func (a *Pods) patch(name, body string) any {
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
		return apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Pod").GroupKind(), name,
			field.ErrorList{field.Invalid(field.NewPath("metadata", "uid"), string(pod.UID), "field is immutable")})
	case !apiequality.Semantic.DeepEqual(&pod, old):
		a.store(&pod)
	}
	return a.pods[name]
}

// merge applies a JSON merge patch (RFC 7396).
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
