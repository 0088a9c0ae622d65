package routing

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// A process that was frozen wakes in the middle of a term that is over.
func TestRouter_WhoDoesNotLeadAnyMoreTakesNoLabelAway(t *testing.T) {
	label := map[string]string{"example.com/leader": "yes"}
	pods := fake.NewClientset(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "successor", Labels: label, Annotations: map[string]string{"example.com/leader-term": "8"}}}).CoreV1().Pods("ns")
	elector, err := leaderelection.New(&leaderelection.Config{}, nil, leaderelection.Callbacks{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &Router{label: Label{Key: "example.com/leader", Value: "yes", PodName: "frozen"}, pods: pods, logger: slog.New(slog.DiscardHandler)}
	frozen := &term{post: &post{Router: r}, elector: elector, token: "7"}
	if err := frozen.round(t.Context()); !errors.Is(err, leaderelection.ErrNotLeading) {
		t.Errorf("a round ended with %v, want ErrNotLeading", err)
	}
	pod, err := pods.Get(t.Context(), "successor", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(label, pod.Labels); diff != "" {
		t.Errorf("the successor's labels have changed: %s", diff)
	}
}

// OnStartedLeading may come late to a term whose time was up.
func TestRouter_ATermThatIsOverWhenItBeginsSendsNothing(t *testing.T) {
	clientset := fake.NewClientset()
	r, err := New(Label{Key: "example.com/leader", Value: "yes", PodNamespace: "ns", PodName: "late"}, clientset, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	elector, err := leaderelection.New(&leaderelection.Config{}, nil, leaderelection.Callbacks{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, last := range []*term{nil, {done: make(chan struct{})}} {
		ctx, cancel := context.WithCancel(t.Context())
		if last == nil {
			cancel()
		}
		p := &post{Router: r, current: last}
		p.begin(ctx, elector)
		cancel()
		<-p.present().done
		if actions := clientset.Actions(); len(actions) > 0 {
			t.Errorf("%d requests were sent, and that a term went on before it is %v", len(actions), last != nil)
		}
	}
}

func TestRouter_LooksLessOftenTheMoreLooksHaveFailed(t *testing.T) {
	for _, tc := range []struct {
		failures     int
		jitter, want time.Duration
	}{
		{0, 0, 10 * time.Second}, {0, 20 * time.Second, 30 * time.Second},
		{1, 0, time.Second}, {2, 0, 2 * time.Second}, {5, 0, 10 * time.Second}, {5, 10 * time.Second, 16 * time.Second},
		{1000, 20 * time.Second, 30 * time.Second},
	} {
		if got := pace(tc.failures, tc.jitter); got != tc.want {
			t.Errorf("after %d failures, jitter %v: %v, want %v", tc.failures, tc.jitter, got, tc.want)
		}
	}
}

func TestLabel_TheUIDOfTheEnvironmentIsForThePodOfTheEnvironmentOnly(t *testing.T) {
	env := map[string]string{"POD_NAMESPACE": "ns", "POD_NAME": "pod-1", "POD_UID": "uid-1"}
	getenv := func(name string) string { return env[name] }
	for _, tc := range []struct{ given, want Label }{
		{Label{}, Label{PodNamespace: "ns", PodName: "pod-1", PodUID: "uid-1"}},
		{Label{PodName: "other"}, Label{PodNamespace: "ns", PodName: "other"}},
		{Label{PodNamespace: "other"}, Label{PodNamespace: "other", PodName: "pod-1"}},
		{Label{PodUID: "given"}, Label{PodNamespace: "ns", PodName: "pod-1", PodUID: "given"}},
	} {
		if diff := cmp.Diff(tc.want, tc.given.completed(getenv)); diff != "" {
			t.Errorf("%+v: %s", tc.given, diff)
		}
	}
}
