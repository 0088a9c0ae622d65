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

// A site is the namespace of one test on the real control plane.
type site struct {
	t         *testing.T
	plane     *envtest.ControlPlane
	namespace string
	admin     client.Client
	referee   *envtest.Referee
}

// onSite runs the test beside others on the control plane. If forgiving, overlaps
// do not fail it.
func onSite(t *testing.T, forgiving bool) *site {
	t.Helper()
	t.Parallel()
	cp, err := plane()
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, plane: cp, namespace: cp.Namespace(t), referee: &envtest.Referee{}}
	if !forgiving {
		s.referee = envtest.NewReferee(t)
	}
	if s.admin, err = client.New(cp.Admin().Config(), client.Options{}); err != nil {
		t.Fatal(err)
	}
	return s
}

// A replica is a process of a site, with a controller that reconciles ConfigMaps
// and tells the referee.
type replica struct {
	*process
	site    *site
	machine *envtest.Client
	network *leaderelectiontest.Network

	mu       sync.Mutex
	busy     int           // reconciles under way
	stopWork func()        // while there are any
	first    chan struct{} // closed when the first reconcile begins
	firstAt  time.Time
	lastAt   time.Time // when the last one ended
	firstCtx context.Context
}

// reconciling is what the controllers of a test do with a ConfigMap.
type reconciling func(context.Context, *replica, *corev1.ConfigMap) error

// replica makes a process. It is not started.
func (s *site) replica(name string, create newManager, work reconciling, change ...func(*crmanager.Options, *rest.Config)) *replica {
	s.t.Helper()
	c := s.plane.Client(name)
	s.t.Cleanup(c.Close)
	r := &replica{process: &process{name: name, logs: &logs{}}, site: s, machine: c, network: c.Network(), first: make(chan struct{})}
	cfg, opts := c.Config(), managerOptions(s.namespace, r.logs)
	// Longer than in fake time: a machine that is busy stalls for seconds.
	opts.LeaseDuration, opts.RenewDeadline = new(6*time.Second), new(4*time.Second)
	opts.Cache = cache.Options{DefaultNamespaces: map[string]cache.Config{s.namespace: {}}}
	opts.Controller.SkipNameValidation = new(true)
	for _, f := range change {
		f(&opts, cfg)
	}
	var err error
	if r.Manager, err = create(cfg, opts); err != nil {
		s.t.Fatal(err)
	}
	err = builder.ControllerManagedBy(r).Named("settings").For(&corev1.ConfigMap{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4, EnableWarmup: new(true)}).
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

// run starts a replica.
func (r *replica) run() *replica {
	r.site.t.Helper()
	start(r.site.t, r.process)
	return r
}

// enter tells the referee that this replica works, until leave.
func (r *replica) enter(ctx context.Context) (leave func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy++; r.busy == 1 {
		r.stopWork = r.site.referee.Start(r.name, "")
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

// add adds Runnables before the start.
func (r *replica) add(runnables ...crmanager.Runnable) *replica {
	r.site.t.Helper()
	for _, runnable := range runnables {
		if err := r.Add(runnable); err != nil {
			r.site.t.Fatal(err)
		}
	}
	return r
}

// await waits for a channel to be closed, and fails the test if it is not.
func (s *site) await(what string, c <-chan struct{}) {
	s.t.Helper()
	select {
	case <-c:
	case <-time.After(time.Minute):
		s.t.Fatalf("%s did not happen\n%s", what, s.referee.Timeline())
	}
}

// leader starts a replica and waits until it has begun to reconcile.
func (s *site) leader(r *replica) *replica {
	s.t.Helper()
	r.run()
	s.await(r.name+" reconciles", r.first)
	return r
}

// follower starts a replica and waits until its Elector has entered itself as
// heir. The replica's name must be its identity, and its priority above those of
// other followers.
func (s *site) follower(r *replica) *replica {
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
	s.t.Fatalf("%s has not become the heir: %+v\n%s", r.name, last, s.referee.Timeline())
	return nil
}

// prime has the cache ask for ConfigMaps before the Manager starts, so that it
// waits for them; a controller asks for what it watches when it is started.
func (r *replica) prime() *replica {
	r.site.t.Helper()
	err := r.GetFieldIndexer().IndexField(r.site.t.Context(), &corev1.ConfigMap{}, "data.want", func(obj client.Object) []string {
		return []string{obj.(*corev1.ConfigMap).Data["want"]}
	})
	if err != nil {
		r.site.t.Fatal(err)
	}
	return r
}

// last is when the last reconcile ended.
func (r *replica) last() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lastAt
}

// configMaps creates ConfigMaps with that generation.
func (s *site) configMaps(n int) []*corev1.ConfigMap {
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

// holder is who holds the Lease.
func (s *site) holder() string {
	s.t.Helper()
	lease, err := s.plane.Admin().Clientset().CoordinationV1().Leases(s.namespace).Get(s.t.Context(), leaseName, metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return leaderelectiontest.Holder(lease)
}

// untilCancelled reconciles for as long as it may.
func untilCancelled(ctx context.Context, _ *replica, _ *corev1.ConfigMap) error {
	<-ctx.Done()
	return nil
}

// stubborn reconciles for that long, whatever its context says.
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
