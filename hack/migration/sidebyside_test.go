package migration

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	crlog "sigs.k8s.io/controller-runtime/pkg/log"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
)

func TestMain(m *testing.M) {
	klog.SetLogger(logr.Discard())
	crlog.SetLogger(logr.Discard())
	flag.Parse()
	// Run five tests in parallel, because each test spends most of its time waiting until
	// a Lease expires.
	if err := flag.Set("test.parallel", "5"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// An implementation is a function that runs a candidate for a Lease in the given
// namespace until ctx is done. Some implementations also return when the candidate loses
// its term.
type implementation func(ctx context.Context, client *envtest.Client, namespace string, work func(context.Context))

func runsClientGo(ctx context.Context, client *envtest.Client, namespace string, work func(context.Context)) {
	runClientGo(ctx, client.Clientset(), namespace, client.Name(), work, func() {})
}

func runsElector(ctx context.Context, client *envtest.Client, namespace string, work func(context.Context)) {
	_ = RunElector(ctx, client.Clientset(), namespace, client.Name(), work, func() {}, slog.New(slog.DiscardHandler))
}

func runsManager(create func(*rest.Config, ctrl.Options) (ctrl.Manager, error)) implementation {
	return func(ctx context.Context, client *envtest.Client, namespace string, work func(context.Context)) {
		mgr, err := create(client.Config(), ctrl.Options{
			LeaderElection: true, LeaderElectionID: "my-operator", LeaderElectionNamespace: namespace,
			LeaderElectionReleaseOnCancel: true, // package manager ignores this field
			LeaseDuration:                 ptr.To(8 * time.Second), RenewDeadline: ptr.To(4 * time.Second), RetryPeriod: ptr.To(500 * time.Millisecond),
			Metrics: metricsserver.Options{BindAddress: "0"}, Logger: logr.Discard(),
		})
		if err != nil {
			panic(err)
		}
		if err := mgr.Add(crmanager.RunnableFunc(func(ctx context.Context) error { work(ctx); return nil })); err != nil {
			panic(err)
		}
		_ = mgr.Start(ctx) // Start returns an error if the network of the Manager is cut
	}
}

// A testCluster is a namespace of a control plane. In this namespace, candidates with
// different implementations lead one after the other. All candidates authenticate as the
// same user.
type testCluster struct {
	*testing.T
	plane     *envtest.ControlPlane
	namespace string
	lease     time.Duration // the minimum time from a network cut to the next term: LeaseDuration minus two RetryPeriods
	user      string
}

// newTestCluster returns a testCluster. The user of the candidates has the rights that
// client-go and controller-runtime need. The user also has the right to watch the Lease,
// as the guide requires.
func newTestCluster(t *testing.T, plane *envtest.ControlPlane, leaseName string, lease time.Duration) testCluster {
	t.Helper()
	s := testCluster{T: t, plane: plane, namespace: plane.Namespace(t), lease: lease}
	uses := rights.Uses{LeaseNamespace: s.namespace, LeaseName: leaseName, Events: true}
	before := uses
	before.WithoutWatch = true
	rules := rights.Rules(before.Rights(), s.namespace)
	for i := range rules {
		if rules[i].Resources[0] == "leases" && len(rules[i].ResourceNames) > 0 {
			rules[i].Verbs = append(rules[i].Verbs, "watch")
		}
	}
	s.user = plane.User(t, "my-app", s.namespace, rules...)
	client := plane.Client("review", envtest.AsUser(s.user))
	t.Cleanup(client.Close)
	if missing, err := rights.Missing(t.Context(), client.Clientset(), uses); err != nil || len(missing) > 0 {
		t.Fatalf("with the verb watch, the missing rights are %v, %v", missing, err)
	}
	return s
}

// A candidate is a replica whose network can be cut.
type candidate struct {
	*replica
	network *leaderelectiontest.Network
}

// candidate starts a candidate. stopping is the time that the candidate's
// work needs to stop after its context is done. The method returns after the candidate's
// first request for the Lease.
func (s testCluster) candidate(name string, run implementation, stopping time.Duration) candidate {
	s.Helper()
	client := s.plane.Client(name, envtest.AsUser(s.user))
	s.Cleanup(client.Close)
	requested := client.Network().DelayRequests(0, leaderelectiontest.Resource("leases"))
	r := start(s.T, func(ctx context.Context, work func(context.Context)) { run(ctx, client, s.namespace, work) }, stopping)
	s.Cleanup(r.stop)
	requested.Await(s)
	return candidate{r, client.Network()}
}

// await returns the time that it receives from c. It fails the test after one
// minute.
func (s testCluster) await(what string, c <-chan time.Time) time.Time {
	s.Helper()
	select {
	case at := <-c:
		return at
	case <-time.After(time.Minute):
		s.Fatalf("%s: not within a minute", what)
		return time.Time{}
	}
}

// handOver calls end, which must end the leader's term. Then it waits until
// the follower leads. It fails the test if the follower starts to work before the
// leader's work has stopped.
func (s testCluster) handOver(row string, leader, follower candidate, end func()) {
	s.Helper()
	if len(follower.started) > 0 {
		s.Fatalf("%s: both lead", row)
	}
	end()
	done, began := s.await(row+": the leader's work stops", leader.done), s.await(row+": the follower starts", follower.started)
	if began.Before(done) {
		s.Errorf("%s: the follower started %v before the leader's work had stopped", row, done.Sub(began))
	}
}

// cutOff cuts the leader's network. To other candidates, this looks like a crash of the
// leader. The follower must not lead until the Lease has expired. The leader's work must
// stop before the Lease expires.
func (s testCluster) cutOff(row string, leader, follower candidate) {
	s.Helper()
	var cut time.Time
	s.handOver(row, leader, follower, func() {
		cut = time.Now()
		leader.network.Cut(leaderelectiontest.Refuse)
	})
	if took := time.Since(cut); took < s.lease {
		s.Errorf("%s: the follower started after %v, before the Lease expired (%v)", row, took, s.lease)
	}
}

func newPlane(t *testing.T) *envtest.ControlPlane {
	t.Helper()
	plane, err := envtest.Start(envtest.Options{StartTimeout: 3 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plane.Stop(); err != nil {
			t.Error(err)
		}
	})
	return plane
}

func TestSideBySide_TransitionsThatTheGuideCallsSafeAreSafe(t *testing.T) {
	plane := newPlane(t)
	runsOldManager, runsNewManager := runsManager(oldManager), runsManager(newManager)
	t.Run("client-go, from old to new by a crash", func(t *testing.T) {
		t.Parallel()
		s := newTestCluster(t, plane, "my-app-leader", 11*time.Second)
		old := s.candidate("old", runsClientGo, 0)
		s.await("the old candidate leads", old.started)
		s.cutOff("from old to new", old, s.candidate("new", runsElector, 0))
	})
	t.Run("client-go, from new to old by a crash", func(t *testing.T) {
		t.Parallel()
		s := newTestCluster(t, plane, "my-app-leader", 11*time.Second)
		fresh := s.candidate("new", runsElector, time.Second)
		s.await("the new candidate leads", fresh.started)
		s.cutOff("from new to old", fresh, s.candidate("old", runsClientGo, 0))
	})
	t.Run("controller-runtime, by a release", func(t *testing.T) {
		t.Parallel()
		s := newTestCluster(t, plane, "my-operator", 0)
		old := s.candidate("old", runsOldManager, 200*time.Millisecond)
		s.await("the old candidate leads", old.started)
		fresh := s.candidate("new", runsNewManager, 2*time.Second)
		s.handOver("from old to new", old, fresh, old.stop)
		s.handOver("from new to old", fresh, s.candidate("old-again", runsOldManager, 0), fresh.stop)
	})
	t.Run("controller-runtime, from old to new by a crash", func(t *testing.T) {
		t.Parallel()
		s := newTestCluster(t, plane, "my-operator", 7*time.Second)
		old := s.candidate("old", runsOldManager, 200*time.Millisecond)
		s.await("the old candidate leads", old.started)
		s.cutOff("from old to new", old, s.candidate("new", runsNewManager, 0))
	})
	t.Run("controller-runtime, from new to old by a crash", func(t *testing.T) {
		t.Parallel()
		s := newTestCluster(t, plane, "my-operator", 7*time.Second)
		fresh := s.candidate("new", runsNewManager, time.Second)
		s.await("the new candidate leads", fresh.started)
		s.cutOff("from new to old", fresh, s.candidate("old", runsOldManager, 0))
	})
}
