package integration_test

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
	"github.com/haproxy-template-ic/incumbent/leaderelection/routing"
)

const leaderKey = "example.com/leader"

// leaderService creates the Pods of an application, and a Service that selects
// the leader's Pod. selected receives "+pod-1" when the Service
// starts to select pod-1, and "-pod-1" when the Service stops selecting pod-1.
func (s *testCluster) leaderService(pods ...string) (selected <-chan string) {
	s.Helper()
	app, core := map[string]string{"app": "x"}, s.cp.Admin().Clientset().CoreV1()
	for _, name := range pods {
		_, err := core.Pods(s.namespace).Create(s.Context(), &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: app},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "example.com/x"}}},
		}, metav1.CreateOptions{})
		must(s.T, err)
	}
	service, err := core.Services(s.namespace).Create(s.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "leader"},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "x", leaderKey: "yes"}, Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	must(s.T, err)
	// No endpoint controller is running. Therefore the test itself watches the
	// Pods that the Service selects.
	watcher, err := core.Pods(s.namespace).Watch(s.Context(), metav1.ListOptions{LabelSelector: labels.FormatLabels(service.Spec.Selector)})
	must(s.T, err)
	s.Cleanup(watcher.Stop)
	changes := make(chan string, 100)
	go func() {
		defer close(changes)
		for event := range watcher.ResultChan() {
			pod, isPod := event.Object.(*corev1.Pod)
			switch {
			case isPod && event.Type == watch.Added:
				changes <- "+" + pod.Name
			case isPod && event.Type == watch.Deleted: // the Service no longer selects the Pod, because the label was removed
				changes <- "-" + pod.Name
			}
		}
	}()
	return changes
}

// routed adds a candidate that labels its Pod while it leads. The candidate has
// only the required rights. The Pod has the same name as the candidate.
func (s *testCluster) routed(name string) *candidate {
	s.Helper()
	uses := s.uses()
	uses.Route = true
	c := s.newCandidate(name, envtest.AsUser(s.cp.User(s, "routed-"+name, s.namespace, rights.Rules(uses.Rights(), s.namespace)...)))
	label := routing.Label{Key: leaderKey, Value: "yes", PodNamespace: s.namespace, PodName: name}
	router, err := routing.New(label, c.Clientset(), s.logs.logger(name))
	must(s.T, err)
	return s.withElector(c, router.Option())
}

func TestRouting_ServiceSelectsExactlyTheLeader(t *testing.T) {
	s := newSharedCluster(t, longLease)
	selected := s.leaderService("pod-1", "pod-2", "pod-3")
	first, second, third := s.routed("pod-1"), s.routed("pod-2"), s.routed("pod-3")
	var got []string
	await := func(want ...string) {
		t.Helper()
		for !slices.Equal(got, want) {
			select {
			case change := <-selected:
				got = append(got, change)
			case <-time.After(time.Minute):
				t.Fatalf("the Service's selection changed by %q, want %q", got, want)
			}
			if len(got) > len(want) || got[len(got)-1] != want[len(got)-1] {
				t.Fatalf("the Service's selection changed by %q, want %q", got, want)
			}
		}
	}
	first.run().awaitTerm()
	await("+pod-1")
	second.run().awaitLeader("pod-1")
	must(t, first.stop())
	second.awaitTerm()
	await("+pod-1", "-pod-1", "+pod-2")
	third.run().awaitLeader("pod-2")
	must(t, second.elector.StepDown(t.Context()))
	third.awaitTerm()
	await("+pod-1", "-pod-1", "+pod-2", "-pod-2", "+pod-3")
	must(t, third.stop())
	second.awaitTerm() // the same Elector leads again, in another term
	await("+pod-1", "-pod-1", "+pod-2", "-pod-2", "+pod-3", "-pod-3", "+pod-2")
}
