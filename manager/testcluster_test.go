package manager_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// A testCluster is the environment of one test: a namespace on the real control plane
// and a referee.
type testCluster struct {
	t         *testing.T
	plane     *envtest.ControlPlane
	namespace string
	admin     client.Client
	referee   *envtest.Referee
}

// startTestCluster creates a testCluster. The test then runs in parallel with other
// tests on the same control plane. If the parameter forgiving is true, the test does
// not fail when two replicas work at the same time.
func startTestCluster(t *testing.T, forgiving bool) *testCluster {
	t.Helper()
	t.Parallel()
	cp, err := plane()
	if err != nil {
		t.Fatal(err)
	}
	s := &testCluster{t: t, plane: cp, namespace: cp.Namespace(t), referee: &envtest.Referee{}}
	if !forgiving {
		s.referee = envtest.NewReferee(t)
	}
	if s.admin, err = client.New(cp.Admin().Config(), client.Options{}); err != nil {
		t.Fatal(err)
	}
	return s
}

// A replica is a process with a controller that reconciles ConfigMaps. While the
// controller reconciles, the replica reports to the referee that it works.
type replica struct {
	*process
	cluster *testCluster
	machine *envtest.Client
	network *leaderelectiontest.Network

	mu       sync.Mutex
	busy     int           // the number of reconciles in progress
	stopWork func()        // ends the replica's work interval in the referee; not nil while busy is positive
	first    chan struct{} // closed when the first reconcile begins
	firstAt  time.Time
	lastAt   time.Time // the time at which the most recent reconcile ended
	firstCtx context.Context
}

// reconciling is the type of a function that reconciles one ConfigMap for a replica.
type reconciling func(context.Context, *replica, *corev1.ConfigMap) error

// replica creates a replica without starting it.
func (s *testCluster) replica(name string, create newManager, work reconciling, change ...func(*crmanager.Options, *rest.Config)) *replica {
	s.t.Helper()
	c := s.plane.Client(name)
	s.t.Cleanup(c.Close)
	r := &replica{process: &process{name: name, logs: &logs{}}, cluster: s, machine: c, network: c.Network(), first: make(chan struct{})}
	cfg, opts := c.Config(), managerOptions(s.namespace, r.logs)
	// These durations are longer than in tests with fake time, because a busy machine
	// may pause for seconds.
	opts.LeaseDuration, opts.RenewDeadline = ptr.To(6*time.Second), ptr.To(4*time.Second)
	opts.Cache = cache.Options{DefaultNamespaces: map[string]cache.Config{s.namespace: {}}}
	opts.Controller.SkipNameValidation = ptr.To(true)
	// Before v0.25, controller-runtime's priority queue sometimes blocks for ever when it
	// shuts down while it hands out an item. Start then returns after the grace period.
	opts.Controller.UsePriorityQueue = ptr.To(false)
	for _, f := range change {
		f(&opts, cfg)
	}
	var err error
	if r.Manager, err = create(cfg, opts); err != nil {
		s.t.Fatal(err)
	}
	err = builder.ControllerManagedBy(r).Named("settings").For(&corev1.ConfigMap{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4, EnableWarmup: ptr.To(true)}).
		Complete(reconcile.Func(func(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
			defer r.enter(ctx)()
			var configMap corev1.ConfigMap
			if err := r.GetClient().Get(ctx, req.NamespacedName, &configMap); err != nil {
				return ctrl.Result{}, client.IgnoreNotFound(err)
			}
			return ctrl.Result{}, work(ctx, r, &configMap)
		}))
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (r *replica) run() *replica {
	r.cluster.t.Helper()
	start(r.cluster.t, r.process)
	return r
}

// enter reports to the referee that a reconcile begins. Call leave when the reconcile
// has ended.
func (r *replica) enter(ctx context.Context) (leave func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy++; r.busy == 1 {
		r.stopWork = r.cluster.referee.Start(r.name, "")
	}
	if r.firstAt.IsZero() {
		r.firstAt, r.firstCtx = time.Now(), ctx
		close(r.first)
	}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.lastAt = time.Now()
		if r.busy--; r.busy == 0 {
			r.stopWork()
		}
	}
}

// add adds Runnables to the replica. Call add before the replica is started.
func (r *replica) add(runnables ...crmanager.Runnable) *replica {
	r.cluster.t.Helper()
	for _, runnable := range runnables {
		if err := r.Add(runnable); err != nil {
			r.cluster.t.Fatal(err)
		}
	}
	return r
}

// await waits until c is closed. It fails the test after one minute. The parameter what
// becomes a part of the failure message.
func (s *testCluster) await(what string, c <-chan struct{}) {
	s.t.Helper()
	select {
	case <-c:
	case <-time.After(time.Minute):
		s.t.Fatalf("%s did not happen\n%s", what, s.referee.Timeline())
	}
}

// leader starts a replica and waits until the replica reconciles.
func (s *testCluster) leader(r *replica) *replica {
	s.t.Helper()
	r.run()
	s.await(r.name+" reconciles", r.first)
	return r
}

// follower starts a replica and waits until the replica's Elector has
// nominated itself as successor. The replica must use its name as identity. Its
// priority must be higher than the priorities of other followers.
func (s *testCluster) follower(r *replica) *replica {
	s.t.Helper()
	r.run()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	var last leaderelection.State
	for last = range r.elector().Changes(ctx) {
		if last.Successor == r.name {
			return r
		}
		if closed(r.done) {
			s.t.Fatalf("%s has stopped: %v", r.name, r.err)
		}
	}
	s.t.Fatalf("%s has not become the successor: %+v\n%s", r.name, last, s.referee.Timeline())
	return nil
}

// prime makes the Manager watch ConfigMaps as soon as the Manager starts. Without
// prime, the watch begins when the controller starts.
func (r *replica) prime() *replica {
	r.cluster.t.Helper()
	err := r.GetFieldIndexer().IndexField(r.cluster.t.Context(), &corev1.ConfigMap{}, "data.want", func(obj client.Object) []string {
		return []string{obj.(*corev1.ConfigMap).Data["want"]}
	})
	if err != nil {
		r.cluster.t.Fatal(err)
	}
	return r
}

// last returns the time at which the most recent reconcile ended.
func (r *replica) last() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lastAt
}

// configMaps creates n ConfigMaps and returns them.
func (s *testCluster) configMaps(n int) []*corev1.ConfigMap {
	s.t.Helper()
	var all []*corev1.ConfigMap
	for i := range n {
		configMap := &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("settings-%d", i), Namespace: s.namespace},
			Data:       map[string]string{"want": "0"},
		}
		if err := s.admin.Create(s.t.Context(), configMap); err != nil {
			s.t.Fatal(err)
		}
		all = append(all, configMap)
	}
	return all
}

// holder returns the holder of the Lease.
func (s *testCluster) holder() string {
	s.t.Helper()
	lease, err := s.plane.Admin().Clientset().CoordinationV1().Leases(s.namespace).Get(s.t.Context(), leaseName, metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return leaderelectiontest.Holder(lease)
}

// untilCancelled is a reconcile function that blocks until its context is done.
func untilCancelled(ctx context.Context, _ *replica, _ *corev1.ConfigMap) error {
	<-ctx.Done()
	return nil
}

// stubborn returns a reconcile function that continues for the duration d after its
// context is done.
func stubborn(d time.Duration) reconciling {
	return func(ctx context.Context, _ *replica, _ *corev1.ConfigMap) error {
		<-ctx.Done()
		time.Sleep(d)
		return nil
	}
}

func single(name string) metav1.ListOptions {
	return metav1.ListOptions{FieldSelector: "metadata.name=" + name}
}

func messageOf(event watch.Event) string {
	if e, ok := event.Object.(*corev1.Event); ok {
		return e.Message
	}
	return ""
}
