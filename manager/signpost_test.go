package manager

import (
	"errors"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
)

// A process that was frozen wakes in the middle of a term that is over.
func TestRoute_WhoDoesNotLeadAnyMoreTakesNoLabelAway(t *testing.T) {
	label := map[string]string{"example.com/leader": "yes"}
	pods := fake.NewClientset(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "successor", Labels: label}}).CoreV1().Pods("ns")
	elector, err := leaderelection.New(&leaderelection.Config{}, nil, leaderelection.Callbacks{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &route{LeaderLabel: LeaderLabel{Key: "example.com/leader", Value: "yes", PodName: "frozen"}, pods: pods, lease: elector, logger: logr.Discard()}
	if err := r.round(t.Context(), "7"); !errors.Is(err, leaderelection.ErrNotLeading) {
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

func TestRoute_LooksLessOftenTheMoreLooksHaveFailed(t *testing.T) {
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

func TestLeaderLabel_TheUIDOfTheEnvironmentIsForThePodOfTheEnvironmentOnly(t *testing.T) {
	env := map[string]string{"POD_NAMESPACE": "ns", "POD_NAME": "pod-1", "POD_UID": "uid-1"}
	getenv := func(name string) string { return env[name] }
	for _, tc := range []struct{ given, want LeaderLabel }{
		{LeaderLabel{}, LeaderLabel{PodNamespace: "ns", PodName: "pod-1", PodUID: "uid-1"}},
		{LeaderLabel{PodName: "other"}, LeaderLabel{PodNamespace: "ns", PodName: "other"}},
		{LeaderLabel{PodNamespace: "other"}, LeaderLabel{PodNamespace: "other", PodName: "pod-1"}},
		{LeaderLabel{PodUID: "given"}, LeaderLabel{PodNamespace: "ns", PodName: "pod-1", PodUID: "given"}},
	} {
		if diff := cmp.Diff(tc.want, tc.given.completed(getenv)); diff != "" {
			t.Errorf("%+v: %s", tc.given, diff)
		}
	}
}

func TestUses_NameTheNamespaceOfThePodThatEventsAreRecordedOn(t *testing.T) {
	env := map[string]string{"POD_NAMESPACE": "pods", "POD_NAME": "pod-1", "POD_UID": "uid-1"}
	m := &electedManager{config: leaderelection.Config{LeaseNamespace: "leases", LeaseName: "lease"}}
	want := rights.Uses{LeaseNamespace: "leases", LeaseName: "lease", Events: true}
	uses := func() rights.Uses { return m.uses(func(name string) string { return env[name] }) }
	for _, tc := range []struct {
		name      string
		change    func()
		route     bool
		namespace string
	}{
		{"on the Pod", func() {}, false, "pods"},
		{"on the Lease alone", func() { delete(env, "POD_UID") }, false, ""},
		{"and routing", func() { m.route = &route{LeaderLabel: LeaderLabel{PodNamespace: "others"}} }, true, "others"},
	} {
		tc.change()
		want.Route, want.PodNamespace, want.PodEvents = tc.route, tc.namespace, env["POD_UID"] != ""
		if diff := cmp.Diff(want, uses()); diff != "" {
			t.Errorf("%s: %s", tc.name, diff)
		}
	}
}
