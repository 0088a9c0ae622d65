package forlife

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

// readNamespace is where operator-lib learns its namespace, from a file that pods
// have and tests don't.
//
//go:linkname readNamespace github.com/operator-framework/operator-lib/leader.readNamespace
var readNamespace func() (string, error)

// A stage is a namespace with the pods of three releases, all of one service account.
type stage struct {
	*testing.T
	plane     *envtest.ControlPlane
	admin     kubernetes.Interface
	core      corev1client.CoreV1Interface
	namespace string
	account   envtest.ServiceAccount
	referee   *envtest.Referee
}

// leaderForLife is the Role that the page names.
var leaderForLife = []rbacv1.PolicyRule{
	{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get"}},
	{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "create"}},
}

// newStage is one where nobody has rights but those of leader for life, and these.
func newStage(t *testing.T, more ...rbacv1.PolicyRule) *stage {
	t.Helper()
	klog.SetLogger(logr.Discard())
	crlog.SetLogger(logr.Discard())
	plane, err := envtest.Start(envtest.Options{StartTimeout: 3 * time.Minute})
	must(t, err)
	t.Cleanup(func() { must(t, plane.Stop()) })
	s := &stage{T: t, plane: plane, admin: plane.Admin().Clientset(), namespace: plane.Namespace(t), referee: new(envtest.Referee)}
	s.core = s.admin.CoreV1()
	s.account = plane.ServiceAccount(t, "my-app", s.namespace, slices.Concat(leaderForLife, more)...)
	readNamespace = func() (string, error) { return s.namespace, nil }
	return s
}

// grant is the page's first step: it applies what hack/rights prints.
func (s *stage) grant() {
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

// await waits until the API server says so.
func (s *stage) await(what string, done func() bool) {
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

// A replica is one pod's process.
type replica struct {
	*envtest.Client
	started chan struct{}
	// stop ends the process, and waits for it.
	stop func()
}

// A release is what a replica runs.
type release func(ctx context.Context, r *replica, namespace string, work func(context.Context), lock leader.Option) error

func first(ctx context.Context, _ *replica, _ string, work func(context.Context), lock leader.Option) error {
	return before(ctx, work, lock)
}

func second(ctx context.Context, r *replica, namespace string, work func(context.Context), lock leader.Option) error {
	return between(ctx, r.Clientset(), namespace, r.Name(), work, lock)
}

func third(ctx context.Context, r *replica, namespace string, work func(context.Context), _ leader.Option) error {
	return migration.Instead(ctx, r.Clientset(), namespace, r.Name(), work, func() {}, nil)
}

// start makes a pod, on a node of the same name, and runs the release in it. It
// returns once the process has asked for what it waits for: a request of that verb
// and resource.
func (s *stage) start(name string, run release, verb, resource string) *replica {
	s.Helper()
	_, err := s.core.Pods(s.namespace).Create(s.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{NodeName: name, Containers: []corev1.Container{{Name: "c", Image: "example.com/x"}}},
	}, metav1.CreateOptions{})
	must(s, err)
	r := &replica{Client: s.plane.Client(name, envtest.AsPod(s.account, name)), started: make(chan struct{})}
	s.Setenv("POD_NAME", name) // operator-lib reads it before its first request
	client, err := crclient.New(r.Config(), crclient.Options{})
	must(s, err)
	asked := r.Network().DelayReplies(0, leaderelectiontest.When(func(q leaderelectiontest.Request) bool { return q.Verb == verb && q.Resource == resource }))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = run(ctx, r, s.namespace, func(ctx context.Context) {
			stopped := s.referee.Start(name, nil)
			close(r.started)
			<-ctx.Done()
			time.Sleep(300 * time.Millisecond) // it takes its time to stop
			stopped()
		}, leader.WithClient(client))
	}()
	r.stop = func() { cancel(); <-ended }
	s.Cleanup(r.stop)
	asked.Await(s)
	return r
}

// leads waits until the replica is at work.
func (s *stage) leads(r *replica) {
	s.Helper()
	select {
	case <-r.started:
	case <-time.After(time.Minute):
		s.Fatalf("%s does not lead within a minute; at work: %v", r.Name(), s.referee.Working())
	}
}

// gone is what is left of a pod that has stopped: nothing, nor of what it owned.
func (s *stage) gone(r *replica) {
	s.Helper()
	r.stop()
	at := metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}
	must(s, s.core.Pods(s.namespace).Delete(s.Context(), r.Name(), at))
	if s.owner() == r.Name() { // as the garbage collector does
		must(s, s.core.ConfigMaps(s.namespace).Delete(s.Context(), "my-app-lock", metav1.DeleteOptions{}))
	}
}

// owner is the pod that leads for life.
func (s *stage) owner() string {
	s.Helper()
	lock, err := s.core.ConfigMaps(s.namespace).Get(s.Context(), "my-app-lock", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return ""
	}
	must(s, err)
	return lock.OwnerReferences[0].Name
}

func (s *stage) wantAtWork(when, want string) {
	s.Helper()
	if got := s.referee.Working(); len(got) != 1 || got[0] != want {
		s.Fatalf("%s: at work are %v, want %s alone", when, got, want)
	}
}

func TestForLife_ByWayOfBoth(t *testing.T) {
	s := newStage(t)
	one := s.start("one", first, "create", "configmaps")
	s.leads(one)
	s.grant()
	two := s.start("two", second, "get", "pods")
	s.wantAtWork("while the first release leads", "one")
	s.gone(one)
	s.leads(two)
	three := s.start("three", third, "watch", "leases")
	s.wantAtWork("while the second release leads", "two")
	s.gone(two)
	s.leads(three)
	s.gone(three)
	s.referee.Check(t)
}

// A Deployment with strategy: Recreate makes no pod before those of the last release
// have gone.
func TestForLife_InOneStepIfThePodsBeforeAreGone(t *testing.T) {
	s := newStage(t)
	s.grant()
	one := s.start("one", first, "create", "configmaps")
	s.leads(one)
	s.gone(one)
	three := s.start("three", third, "watch", "leases")
	s.leads(three)
	s.gone(three)
	s.referee.Check(t)
}

// Rights that come after the release do no harm but that nobody leads until then.
func TestForLife_WithoutTheRightsToTheLeaseNobodyLeads(t *testing.T) {
	s := newStage(t)
	two := s.start("two", second, "get", "leases")
	if owner, working := s.owner(), s.referee.Working(); owner != "two" || len(working) > 0 {
		t.Fatalf("%q has the ConfigMap, and at work are %v; the page says that it has it, and that nobody is", owner, working)
	}
	s.grant()
	s.leads(two)
}

// mayReadNodes gives the service account the right to read nodes, which no Role can.
func (s *stage) mayReadNodes() {
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
	asked := s.plane.Client("asked", envtest.AsPod(s.account, ""))
	s.Cleanup(asked.Close)
	s.await("the right to read nodes", func() bool {
		_, err := asked.Clientset().CoreV1().Nodes().Get(s.Context(), "none", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
}

// Once its node is not ready, a leader for life loses its lock though it may be at
// work: of that, the Lease is proof.
func TestForLife_ANodeThatIsNotReady(t *testing.T) {
	for name, test := range map[string]struct {
		run      release
		overlaps bool
	}{"the release before": {first, true}, "the release that holds both": {second, false}} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods", "configmaps"}, Verbs: []string{"delete"}})
			s.mayReadNodes()
			s.grant()
			one := s.start("one", test.run, "create", "configmaps")
			s.leads(one)
			_, err := s.core.Nodes().Create(t.Context(), &corev1.Node{
				ObjectMeta: metav1.ObjectMeta{Name: "one"},
				Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionUnknown}}},
			}, metav1.CreateOptions{})
			must(t, err)
			if test.overlaps {
				s.leads(s.start("two", test.run, "create", "configmaps"))
				if len(s.referee.Working()) != 2 {
					t.Errorf("at work are %v; the page says that two are", s.referee.Working())
				}
				return
			}
			two := s.start("two", test.run, "watch", "leases")
			if owner := s.owner(); owner != "two" {
				t.Fatalf("%q leads for life, want the pod whose node is ready", owner)
			}
			s.wantAtWork("while the Lease is held", "one")
			one.stop()
			s.leads(two)
			s.referee.Check(t)
		})
	}
}
