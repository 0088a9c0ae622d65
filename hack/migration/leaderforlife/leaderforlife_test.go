package leaderforlife

import (
	"context"
	"slices"
	"testing"
	"time"
	_ "unsafe" // for go:linkname

	"github.com/go-logr/logr"
	"github.com/operator-framework/operator-lib/leader"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/klog/v2"
	crclient "sigs.k8s.io/controller-runtime/pkg/client"
	crlog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/hack/migration"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
)

// readNamespace is operator-lib's function that reads the namespace from a file. The file
// exists only in Pods, so tests replace the function.
//
//go:linkname readNamespace github.com/operator-framework/operator-lib/leader.readNamespace
var readNamespace func() (string, error)

// A testCluster is a namespace in which Pods run three releases of a program: the release
// before the migration, the intermediate release, and the release after the migration.
// All Pods use the same service account.
type testCluster struct {
	*testing.T
	plane     *envtest.ControlPlane
	admin     kubernetes.Interface
	core      corev1client.CoreV1Interface
	namespace string
	account   envtest.ServiceAccount
	referee   *envtest.Referee
}

// leaderForLifeRules are the rights that the guide lists for "leader for life".
var leaderForLifeRules = []rbacv1.PolicyRule{
	{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get"}},
	{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "create"}},
}

// newTestCluster returns a testCluster. The service account has the rights in
// leaderForLifeRules, and the rights in the parameter more.
func newTestCluster(t *testing.T, more ...rbacv1.PolicyRule) *testCluster {
	t.Helper()
	klog.SetLogger(logr.Discard())
	crlog.SetLogger(logr.Discard())
	plane, err := envtest.Start(envtest.Options{StartTimeout: 3 * time.Minute})
	must(t, err)
	t.Cleanup(func() { must(t, plane.Stop()) })
	s := &testCluster{T: t, plane: plane, admin: plane.Admin().Clientset(), namespace: plane.Namespace(t), referee: new(envtest.Referee)}
	s.core = s.admin.CoreV1()
	s.account = plane.ServiceAccount(t, "my-app", s.namespace, slices.Concat(leaderForLifeRules, more)...)
	readNamespace = func() (string, error) { return s.namespace, nil }
	return s
}

// grant performs the first step of the guide: it gives the service account the rights to
// the Lease. It creates the Role that "kubectl lease rights" prints.
func (s *testCluster) grant() {
	s.Helper()
	uses := rights.Uses{LeaseNamespace: s.namespace, LeaseName: "my-app-leader"}
	roles, bindings := uses.Roles(uses.LeaseName, s.namespace, s.account.Name)
	rbac := s.admin.RbacV1()
	for i := range roles {
		_, err := rbac.Roles(s.namespace).Create(s.Context(), roles[i], metav1.CreateOptions{})
		must(s, err)
		_, err = rbac.RoleBindings(s.namespace).Create(s.Context(), bindings[i], metav1.CreateOptions{})
		must(s, err)
	}
	s.await("the rights to the Lease", func() bool {
		missing, err := rights.MissingOf(s.Context(), s.admin, s.namespace, s.account.Name, uses)
		return err == nil && len(missing) == 0
	})
}

// await calls done repeatedly until done returns true. It fails the test after a minute.
func (s *testCluster) await(what string, done func() bool) {
	s.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("%s: not within a minute", what)
		}
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// A replica is the process of one Pod.
type replica struct {
	*envtest.Client
	started chan struct{}
	// stop ends the process and returns when the process has ended.
	stop func()
}

// A release is one version of the program that a replica runs.
type release func(ctx context.Context, r *replica, namespace string, work func(context.Context), lock leader.Option) error

func first(ctx context.Context, _ *replica, _ string, work func(context.Context), lock leader.Option) error {
	return runLeaderForLife(ctx, work, lock)
}

func second(ctx context.Context, r *replica, namespace string, work func(context.Context), lock leader.Option) error {
	return runBothLocks(ctx, r.Clientset(), namespace, r.Name(), work, lock)
}

func third(ctx context.Context, r *replica, namespace string, work func(context.Context), _ leader.Option) error {
	return migration.RunElector(ctx, r.Clientset(), namespace, r.Name(), work, func() {}, nil)
}

// start creates a Pod with the given name, on a node with the same name. The parameter
// run is the release of the program that the Pod runs. start returns after the program
// has sent a request with the given verb and resource.
func (s *testCluster) start(name string, run release, verb, resource string) *replica {
	s.Helper()
	_, err := s.core.Pods(s.namespace).Create(s.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{NodeName: name, Containers: []corev1.Container{{Name: "c", Image: "example.com/x"}}},
	}, metav1.CreateOptions{})
	must(s, err)
	r := &replica{Client: s.plane.Client(name, envtest.AsPod(s.account, name)), started: make(chan struct{})}
	s.Setenv("POD_NAME", name) // operator-lib reads POD_NAME before its first request
	client, err := crclient.New(r.Config(), crclient.Options{})
	must(s, err)
	requested := r.Network().DelayReplies(0, leaderelectiontest.When(func(q leaderelectiontest.Request) bool { return q.Verb == verb && q.Resource == resource }))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = run(ctx, r, s.namespace, func(ctx context.Context) {
			stop := s.referee.Start(name, nil)
			close(r.started)
			<-ctx.Done()
			time.Sleep(300 * time.Millisecond) // the work takes time to stop
			stop()
		}, leader.WithClient(client))
	}()
	r.stop = func() { cancel(); <-ended }
	s.Cleanup(r.stop)
	requested.Await(s)
	return r
}

// awaitLeader waits until the replica r leads and its work has started.
func (s *testCluster) awaitLeader(r *replica) {
	s.Helper()
	select {
	case <-r.started:
	case <-time.After(time.Minute):
		s.Fatalf("%s does not lead within a minute; working: %v", r.Name(), s.referee.Working())
	}
}

// remove stops the replica r and deletes its Pod. It also deletes the ConfigMap
// my-app-lock if this Pod owns the ConfigMap.
func (s *testCluster) remove(r *replica) {
	s.Helper()
	r.stop()
	at := metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}
	must(s, s.core.Pods(s.namespace).Delete(s.Context(), r.Name(), at))
	if s.owner() == r.Name() { // the test's control plane has no garbage collector that deletes the ConfigMap
		must(s, s.core.ConfigMaps(s.namespace).Delete(s.Context(), "my-app-lock", metav1.DeleteOptions{}))
	}
}

// owner returns the name of the Pod that owns the ConfigMap my-app-lock. It returns "" if
// there is no such ConfigMap.
func (s *testCluster) owner() string {
	s.Helper()
	lock, err := s.core.ConfigMaps(s.namespace).Get(s.Context(), "my-app-lock", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return ""
	}
	must(s, err)
	return lock.OwnerReferences[0].Name
}

func (s *testCluster) wantWorking(when, want string) {
	s.Helper()
	if got := s.referee.Working(); len(got) != 1 || got[0] != want {
		s.Fatalf("%s: working are %v, want only %s", when, got, want)
	}
}

func TestLeaderForLife_MigrationWithBothLocksHasOneLeader(t *testing.T) {
	s := newTestCluster(t)
	one := s.start("one", first, "create", "configmaps")
	s.awaitLeader(one)
	s.grant()
	two := s.start("two", second, "get", "pods")
	s.wantWorking("while the first release leads", "one")
	s.remove(one)
	s.awaitLeader(two)
	three := s.start("three", third, "watch", "leases")
	s.wantWorking("while the second release leads", "two")
	s.remove(two)
	s.awaitLeader(three)
	s.remove(three)
	s.referee.Check(t)
}

// A Deployment with the strategy Recreate deletes all Pods of the old release before it
// creates Pods of the new release.
func TestLeaderForLife_MigrationInOneStepIfTheOldPodsAreGone(t *testing.T) {
	s := newTestCluster(t)
	s.grant()
	one := s.start("one", first, "create", "configmaps")
	s.awaitLeader(one)
	s.remove(one)
	three := s.start("three", third, "watch", "leases")
	s.awaitLeader(three)
	s.remove(three)
	s.referee.Check(t)
}

// If the rights to the Lease are granted only after the rollout, no replica leads until
// the rights are granted.
func TestLeaderForLife_WithoutTheRightsToTheLeaseThereIsNoLeader(t *testing.T) {
	s := newTestCluster(t)
	two := s.start("two", second, "get", "leases")
	if owner, working := s.owner(), s.referee.Working(); owner != "two" || len(working) > 0 {
		t.Fatalf("%q owns the ConfigMap, and working are %v; the guide states that two owns it and no replica works", owner, working)
	}
	s.grant()
	s.awaitLeader(two)
}

// grantNodes gives the service account the right to get Nodes. This right must be in a
// ClusterRole, because Nodes do not belong to a namespace.
func (s *testCluster) grantNodes() {
	s.Helper()
	meta := metav1.ObjectMeta{Name: "nodes-of-" + s.namespace}
	rules := []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"get"}}}
	_, err := s.admin.RbacV1().ClusterRoles().Create(s.Context(), &rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{})
	must(s, err)
	_, err = s.admin.RbacV1().ClusterRoleBindings().Create(s.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: s.namespace, Name: s.account.Name}},
	}, metav1.CreateOptions{})
	must(s, err)
	client := s.plane.Client("review", envtest.AsPod(s.account, ""))
	s.Cleanup(client.Close)
	s.await("the right to read nodes", func() bool {
		_, err := client.Clientset().CoreV1().Nodes().Get(s.Context(), "none", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
}

// With operator-lib, another Pod becomes the leader if the leader's node is not ready.
// The first leader may still work at this time. In the release that uses both locks, the
// Lease prevents a second leader.
func TestLeaderForLife_OnlyTheLeaseExcludesALeaderOnANodeThatIsNotReady(t *testing.T) {
	for name, test := range map[string]struct {
		run      release
		overlaps bool
	}{"the first release": {first, true}, "the release with both locks": {second, false}} {
		t.Run(name, func(t *testing.T) {
			s := newTestCluster(t, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods", "configmaps"}, Verbs: []string{"delete"}})
			s.grantNodes()
			s.grant()
			one := s.start("one", test.run, "create", "configmaps")
			s.awaitLeader(one)
			_, err := s.core.Nodes().Create(t.Context(), &corev1.Node{
				ObjectMeta: metav1.ObjectMeta{Name: "one"},
				Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionUnknown}}},
			}, metav1.CreateOptions{})
			must(t, err)
			if test.overlaps {
				s.awaitLeader(s.start("two", test.run, "create", "configmaps"))
				if len(s.referee.Working()) != 2 {
					t.Errorf("working are %v; the guide states that two replicas work", s.referee.Working())
				}
				return
			}
			two := s.start("two", test.run, "watch", "leases")
			if owner := s.owner(); owner != "two" {
				t.Fatalf("%q owns the ConfigMap, want the Pod whose node is ready", owner)
			}
			s.wantWorking("while the Lease is held", "one")
			one.stop()
			s.awaitLeader(two)
			s.referee.Check(t)
		})
	}
}
