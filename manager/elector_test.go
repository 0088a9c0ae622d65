package manager_test

import (
	"context"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
	"github.com/haproxy-template-ic/incumbent/manager"
)

// An electorProcess is a simulated process of an operator. It has a Manager of
// controller-runtime and an Elector that NewElector added to this Manager. In each term
// of the Elector, a new controller reconciles ConfigMaps.
type electorProcess struct {
	*process
	network *leaderelectiontest.Network
	elector *manager.Elector
	begun   chan context.Context // receives the context of each call of the reconciler
}

func (s *testCluster) electorProcess(name string) *electorProcess {
	s.t.Helper()
	c := s.plane.Client(name)
	s.t.Cleanup(c.Close)
	p := &electorProcess{process: &process{name: name, logs: &logs{}}, network: c.Network(), begun: make(chan context.Context, 100)}
	opts := managerOptions(s.namespace, p.logs)
	opts.LeaderElection = false
	opts.Cache = cache.Options{DefaultNamespaces: map[string]cache.Config{s.namespace: {}}}
	var err error
	if p.Manager, err = crmanager.New(c.Config(), opts); err != nil {
		s.t.Fatal(err)
	}
	config := electorConfig(name)
	config.LeaseNamespace, config.LeaseDuration, config.RenewDeadline = s.namespace, 6*time.Second, 4*time.Second
	if p.elector, err = manager.NewElector(p, config, leaderelection.Callbacks{}); err != nil {
		s.t.Fatal(err)
	}
	if err := p.Add(manager.LeaderOnly(p.elector, crmanager.RunnableFunc(func(ctx context.Context) error { return p.control(ctx, s) }))); err != nil {
		s.t.Fatal(err)
	}
	start(s.t, p.process)
	return p
}

// control runs a new controller until ctx is done. ctx is the context of
// a term.
func (p *electorProcess) control(ctx context.Context, s *testCluster) error {
	c, err := controller.NewUnmanaged("settings", controller.Options{
		SkipNameValidation: ptr.To(true),
		UsePriorityQueue:   ptr.To(false), // see testCluster.replica
		Logger:             p.GetLogger(),
		Reconciler: reconcile.Func(func(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
			term, _ := leaderelection.TermFromContext(ctx)
			defer s.referee.Start(p.name, term.Token)()
			p.begun <- ctx
			<-ctx.Done()
			return ctrl.Result{}, nil
		}),
	})
	if err != nil {
		return err
	}
	if err := c.Watch(source.Kind(p.GetCache(), &corev1.ConfigMap{}, &handler.TypedEnqueueRequestForObject[*corev1.ConfigMap]{})); err != nil {
		return err
	}
	return c.Start(ctx)
}

// works waits until the process p calls its reconciler, and returns the
// context of that call.
func (s *testCluster) works(p *electorProcess) context.Context {
	s.t.Helper()
	select {
	case ctx := <-p.begun:
		return ctx
	case <-time.After(time.Minute):
		s.t.Fatalf("%s does not reconcile\n%s", p.name, s.referee.Timeline())
		return nil
	}
}

func TestLeaderOnly_ControllersOfPlainManagersNeverOverlap(t *testing.T) {
	s := startTestCluster(t, false)
	s.configMaps(1)
	a := s.electorProcess("a")
	first := s.works(a)
	b := s.electorProcess("b")
	await(t, b.elector, func(state leaderelection.State) bool { return state.Successor == "b" })

	s.referee.Note("a", "cut off")
	a.network.Cut(leaderelectiontest.Hang)
	s.works(b)
	if cause := context.Cause(first); !errors.Is(cause, leaderelection.ErrRenewalFailed) {
		t.Errorf("a's reconciler's context ended because of %v", cause)
	}
	a.network.Heal()
	await(t, a.elector, func(state leaderelection.State) bool { return state.Leader == "b" })
	s.referee.Note("b", "steps down")
	if err := b.elector.StepDown(t.Context()); err != nil {
		t.Error(err)
	}
	second := s.works(a)
	before, _ := leaderelection.TermFromContext(first)
	after, _ := leaderelection.TermFromContext(second)
	if a.stopped() || after.Token <= before.Token {
		t.Errorf("a has stopped: %v; its terms were %v and %v", a.stopped(), before.Token, after.Token)
	}

	// The process a leads again. A write with the context of a's first term must still
	// be refused.
	guarded := manager.GuardClient(a.elector, a.GetClient())
	object := func() *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, GenerateName: "written-"}}
	}
	if err := guarded.Create(context.WithoutCancel(first), object()); !errors.Is(err, manager.ErrWriteRefused) {
		t.Errorf("a write of the first term: %v, want ErrWriteRefused", err)
	}
	if err := guarded.Create(second, object()); err != nil {
		t.Errorf("a write of the second term: %v", err)
	}
	for _, p := range []*electorProcess{a, b} {
		if err := p.stop(); err != nil {
			t.Errorf("%s stopped with %v", p.name, err)
		}
	}
}
