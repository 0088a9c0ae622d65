package manager_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/rest"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
	"github.com/haproxy-template-ic/incumbent/manager"
)

const leaderKey = "example.com/leader"

// pod creates a Pod. If labelled is true, the Pod already has the leader label.
func (s *testCluster) pod(name string, labelled bool) {
	s.t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: s.namespace, Labels: map[string]string{"app": "x"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "example.com/x"}}},
	}
	if labelled {
		pod.Labels[leaderKey] = "yes"
		pod.Annotations = map[string]string{leaderKey + "-term": "1"}
	}
	if err := s.admin.Create(s.t.Context(), pod); err != nil {
		s.t.Fatal(err)
	}
}

// labelled returns the names of the Pods that have the leader label.
func (s *testCluster) labelled() []string {
	s.t.Helper()
	pods, err := s.plane.Admin().Clientset().CoreV1().Pods(s.namespace).List(s.t.Context(), metav1.ListOptions{LabelSelector: leaderKey + "=yes"})
	if err != nil {
		s.t.Fatal(err)
	}
	var names []string
	for _, pod := range pods.Items {
		names = append(names, pod.Name)
	}
	return names
}

func (s *testCluster) awaitLabelled(want ...string) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); !slices.Equal(s.labelled(), want); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("the labelled Pods are %q, want %q", s.labelled(), want)
		}
	}
}

func TestLeaderLabel_IsOnlyOnTheLeader(t *testing.T) {
	s := startTestCluster(t, false)
	s.pod("ghost", true)
	s.pod("pod-a", false)
	s.pod("pod-b", false)
	uses := rights.Uses{LeaseNamespace: s.namespace, LeaseName: leaseName, Events: true, Route: true}
	user := s.plane.User(t, "routing-"+s.namespace, s.namespace, rights.Rules(uses.Rights(), s.namespace)...)
	routed := func(name string) *replica {
		label := manager.WithLeaderLabel(manager.LeaderLabel{Key: leaderKey, Value: "yes", PodNamespace: s.namespace, PodName: name})
		return s.replica(name, incumbent(manager.WithIdentity(name), label), untilCancelled, func(opts *crmanager.Options, cfg *rest.Config) {
			opts.LeaderElectionConfig = rest.CopyConfig(cfg) // the election's client has only the minimal rights
			opts.LeaderElectionConfig.Impersonate.UserName = user
		})
	}
	s.configMaps(1)
	a := s.leader(routed("pod-a"))
	s.awaitLabelled("pod-a")
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	if got := s.labelled(); len(got) > 0 || s.holder() != "" {
		t.Errorf("after the release %q are labelled, and %q holds the Lease", got, s.holder())
	}
	pod, err := s.plane.Admin().Clientset().CoreV1().Pods(s.namespace).Get(t.Context(), "pod-a", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	lease, err := s.plane.Admin().Clientset().CoordinationV1().Leases(s.namespace).Get(t.Context(), leaseName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// The resourceVersions of the Pod and of the Lease can be compared, because both
	// objects are in one etcd.
	if order, err := resourceversion.CompareResourceVersion(pod.ResourceVersion, lease.ResourceVersion); err != nil || order >= 0 {
		t.Errorf("the label was removed in version %s, the Lease released in %s, %v", pod.ResourceVersion, lease.ResourceVersion, err)
	}
	b := s.leader(routed("pod-b"))
	s.awaitLabelled("pod-b")
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
}

func TestLeaderLabel_WithoutItsRightsTheElectionWorks(t *testing.T) {
	s := startTestCluster(t, false)
	s.pod("pod-a", false)
	uses := rights.Uses{LeaseNamespace: s.namespace, LeaseName: leaseName, Events: true}
	user := s.plane.User(t, "unrouted-"+s.namespace, s.namespace, rights.Rules(uses.Rights(), s.namespace)...)
	label := manager.WithLeaderLabel(manager.LeaderLabel{Key: leaderKey, Value: "yes", PodNamespace: s.namespace, PodName: "pod-a"})
	s.configMaps(1)
	a := s.leader(s.replica("pod-a", incumbent(manager.WithIdentity("pod-a"), label), untilCancelled, func(opts *crmanager.Options, cfg *rest.Config) {
		opts.LeaderElectionConfig = rest.CopyConfig(cfg)
		opts.LeaderElectionConfig.Impersonate.UserName = user
	}))
	for _, want := range []string{"list pods", "patch pods"} {
		for deadline := time.Now().Add(time.Minute); len(a.logs.with("A right is missing", want)) == 0; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the check of rights did not report %q", want)
			}
		}
	}
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	if s.holder() != "" {
		t.Error("the Lease was not released")
	}
}

func TestLeaderLabel_WithAnotherConfigurationTheRightsAreCheckedThere(t *testing.T) {
	s := startTestCluster(t, false)
	s.pod("pod-a", false)
	uses := rights.Uses{LeaseNamespace: s.namespace, LeaseName: leaseName, Events: true}
	election := s.plane.User(t, "election-"+s.namespace, s.namespace, rights.Rules(uses.Rights(), s.namespace)...)
	uses.Route = true
	ofPods := slices.DeleteFunc(uses.Rights(), func(r rights.Right) bool { return r.Resource != "pods" })
	router := s.plane.User(t, "router-"+s.namespace, s.namespace, rights.Rules(ofPods, s.namespace)...)
	as := func(user string) *rest.Config {
		cfg := s.plane.Admin().Config()
		cfg.Impersonate.UserName = user
		return cfg
	}
	label := manager.WithLeaderLabel(manager.LeaderLabel{Key: leaderKey, Value: "yes", PodNamespace: s.namespace, PodName: "pod-a", Config: as(router)})
	s.configMaps(1)
	a := s.leader(s.replica("pod-a", incumbent(manager.WithIdentity("pod-a"), label), untilCancelled, func(opts *crmanager.Options, _ *rest.Config) {
		opts.LeaderElectionConfig = as(election)
	}))
	s.awaitLabelled("pod-a")
	if err := a.stop(); err != nil { // when stop has returned, the check of the rights has ended
		t.Fatal(err)
	}
	if lines := a.logs.with("A right is missing"); len(lines) > 0 {
		t.Errorf("existing rights were reported missing: %q", lines)
	}
}

// The in-memory API that other tests use checks the preconditions of patches. This test
// shows that a real API server checks the same preconditions.
func TestLeaderLabel_ThePreconditionsHoldOnTheAPIServer(t *testing.T) {
	s := startTestCluster(t, false)
	s.pod("pod-a", false)
	pods := s.plane.Admin().Clientset().CoreV1().Pods(s.namespace)
	patch := func(body string) (*corev1.Pod, error) {
		return pods.Patch(t.Context(), "pod-a", types.MergePatchType, []byte(body), metav1.PatchOptions{})
	}
	seen, err := patch("{}")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := patch(`{"metadata":{"labels":{"x":null}}}`); err != nil || again.ResourceVersion != seen.ResourceVersion {
		t.Errorf("a patch of nothing made version %s of %s, %v", again.ResourceVersion, seen.ResourceVersion, err)
	}
	_, err = patch(`{"metadata":{"uid":"another","labels":{"x":"y"}}}`)
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) || status.Status().Details.Causes[0].Field != "metadata.uid" {
		t.Errorf("a patch of another UID: %v, want it to be refused as invalid", err)
	}
	if _, err := patch(`{"metadata":{"uid":"` + string(seen.UID) + `","annotations":{"x":"over"}}}`); err != nil {
		t.Error(err)
	}
	if _, err := patch(`{"metadata":{"resourceVersion":"` + seen.ResourceVersion + `","labels":{"x":"y"}}}`); !apierrors.IsConflict(err) {
		t.Errorf("a patch of an earlier version: %v, want a conflict", err)
	}
}

func TestLeaderLabel_InvalidLabelsAreRefused(t *testing.T) {
	opts := crmanager.Options{LeaderElection: true, LeaderElectionID: "x", LeaderElectionNamespace: "ns"}
	_, err := manager.New(&rest.Config{Host: "http://127.0.0.1:1"}, opts, manager.WithLeaderLabel(manager.LeaderLabel{Key: "a b", Value: "c d", PodNamespace: "ns"}))
	for _, want := range []string{`Key ("a b") must be valid`, `Value ("c d") must be valid`, "set POD_NAME and POD_NAMESPACE"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q in it", err, want)
		}
	}
}
