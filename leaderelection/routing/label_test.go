package routing

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// A process that was suspended may resume when its term has already ended. The process
// must then not remove the label of the new leader.
func TestRouter_RemovesNoLabelWhenItDoesNotLead(t *testing.T) {
	label := map[string]string{"example.com/leader": "yes"}
	pods := fake.NewClientset(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "successor", Labels: label, Annotations: map[string]string{"example.com/leader-term": "8"}}}).CoreV1().Pods("ns")
	elector, err := leaderelection.New(&leaderelection.Config{}, nil, leaderelection.Callbacks{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &Router{label: Label{Key: "example.com/leader", Value: "yes", PodName: "suspended"}, pods: pods, logger: slog.New(slog.DiscardHandler)}
	suspended := &termRouter{electorRouter: &electorRouter{Router: r}, elector: elector, token: "7"}
	if err := suspended.checkLabels(t.Context()); !errors.Is(err, leaderelection.ErrNotLeading) {
		t.Errorf("checkLabels returned %v, want ErrNotLeading", err)
	}
	pod, err := pods.Get(t.Context(), "successor", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(label, pod.Labels); diff != "" {
		t.Errorf("the labels of the successor's Pod, -want +got:\n%s", diff)
	}
}

// OnStartedLeading may be called after its term has already ended.
func TestRouter_SendsNothingInATermThatHasEndedBeforeItsStart(t *testing.T) {
	clientset := fake.NewClientset()
	r, err := New(Label{Key: "example.com/leader", Value: "yes", PodNamespace: "ns", PodName: "late"}, clientset, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	elector, err := leaderelection.New(&leaderelection.Config{}, nil, leaderelection.Callbacks{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, previous := range []*termRouter{nil, {done: make(chan struct{})}} {
		ctx, cancel := context.WithCancel(t.Context())
		if previous == nil {
			cancel()
		}
		er := &electorRouter{Router: r, current: previous}
		er.start(ctx, elector)
		cancel()
		<-er.currentTerm().done
		if actions := clientset.Actions(); len(actions) > 0 {
			t.Errorf("%d requests were sent, previous term still running: %v", len(actions), previous != nil)
		}
	}
}

// A program can create a Router once, and an Elector for each of its tenants.
func TestRouter_KeepsNoElectorAlive(t *testing.T) {
	r, err := New(Label{Key: "example.com/leader", Value: "yes", PodNamespace: "ns", PodName: "pod"}, fake.NewClientset(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	const many = 5
	var collected atomic.Int64
	for range many {
		ctx, cancel := context.WithCancel(t.Context())
		callbacks := leaderelection.Callbacks{OnStartedLeading: func(context.Context) { cancel() }}
		elector, err := leaderelection.New(&leaderelection.Config{}, nil, callbacks, slog.New(slog.DiscardHandler), r.Option())
		if err != nil {
			t.Fatal(err)
		}
		runtime.AddCleanup(elector, func(n *atomic.Int64) { n.Add(1) }, &collected)
		if err := elector.Run(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); collected.Load() < many && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		runtime.GC()
	}
	if got := collected.Load(); got != many {
		t.Errorf("%d Electors were garbage collected, want %d", got, many)
	}
	r.Withdraw() // the Router is still in use
}

func TestRouter_ChecksLessOftenAfterMoreFailures(t *testing.T) {
	for _, tc := range []struct {
		failures     int
		jitter, want time.Duration
	}{
		{0, 0, 10 * time.Second}, {0, 20 * time.Second, 30 * time.Second},
		{1, 0, time.Second}, {2, 0, 2 * time.Second}, {5, 0, 10 * time.Second}, {5, 10 * time.Second, 16 * time.Second},
		{1000, 20 * time.Second, 30 * time.Second},
	} {
		if got := checkInterval(tc.failures, tc.jitter); got != tc.want {
			t.Errorf("after %d failures, jitter %v: %v, want %v", tc.failures, tc.jitter, got, tc.want)
		}
	}
}

func TestLabel_TakesTheUIDFromTheEnvironmentOnlyForThePodOfTheEnvironment(t *testing.T) {
	env := map[string]string{"POD_NAMESPACE": "ns", "POD_NAME": "pod-1", "POD_UID": "uid-1"}
	getenv := func(name string) string { return env[name] }
	for _, tc := range []struct{ label, want Label }{
		{Label{}, Label{PodNamespace: "ns", PodName: "pod-1", PodUID: "uid-1"}},
		{Label{PodName: "other"}, Label{PodNamespace: "ns", PodName: "other"}},
		{Label{PodNamespace: "other"}, Label{PodNamespace: "other", PodName: "pod-1"}},
		{Label{PodUID: "own"}, Label{PodNamespace: "ns", PodName: "pod-1", PodUID: "own"}},
	} {
		if diff := cmp.Diff(tc.want, tc.label.withDefaults(getenv)); diff != "" {
			t.Errorf("%+v: %s", tc.label, diff)
		}
	}
}
