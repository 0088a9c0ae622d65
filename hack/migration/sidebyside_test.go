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
	// Most of a test is waiting for a Lease to run out.
	if err := flag.Set("test.parallel", "5"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// A kind of candidate runs in the namespace until ctx is done or it has lost.
type kind func(ctx context.Context, client *envtest.Client, namespace string, work func(context.Context))

func clientGoKind(ctx context.Context, client *envtest.Client, namespace string, work func(context.Context)) {
	withClientGo(ctx, client.Clientset(), namespace, client.Name(), work, func() {})
}

func electorKind(ctx context.Context, client *envtest.Client, namespace string, work func(context.Context)) {
	_ = Instead(ctx, client.Clientset(), namespace, client.Name(), work, func() {}, slog.New(slog.DiscardHandler))
}

func managerKind(create func(*rest.Config, ctrl.Options) (ctrl.Manager, error)) kind {
	return func(ctx context.Context, client *envtest.Client, namespace string, work func(context.Context)) {
		mgr, err := create(client.Config(), ctrl.Options{
			LeaderElection: true, LeaderElectionID: "my-operator", LeaderElectionNamespace: namespace,
			LeaderElectionReleaseOnCancel: true, // ours does without
			LeaseDuration:                 new(8 * time.Second), RenewDeadline: new(4 * time.Second), RetryPeriod: new(500 * time.Millisecond),
			Metrics: metricsserver.Options{BindAddress: "0"}, Logger: logr.Discard(),
		})
		if err != nil {
			panic(err)
		}
		if err := mgr.Add(crmanager.RunnableFunc(func(ctx context.Context) error { work(ctx); return nil })); err != nil {
			panic(err)
		}
		_ = mgr.Start(ctx) // it may be cut off
	}
}

// A stage is a namespace in which candidates of several kinds follow each other, all
// with the rights of one user.
type stage struct {
	*testing.T
	plane     *envtest.ControlPlane
	namespace string
	lease     time.Duration // LeaseDuration without two RetryPeriods
	user      string
}

// newStage is one whose user has the rights that client-go and controller-runtime
// need, and the verb that the page adds to them.
func newStage(t *testing.T, plane *envtest.ControlPlane, leaseName string, lease time.Duration) stage {
	t.Helper()
	s := stage{T: t, plane: plane, namespace: plane.Namespace(t), lease: lease}
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
	client := plane.Client("asked", envtest.AsUser(s.user))
	t.Cleanup(client.Close)
	if missing, err := rights.Missing(t.Context(), client.Clientset(), uses); err != nil || len(missing) > 0 {
		t.Fatalf("after the verb watch was added, missing are %v, %v", missing, err)
	}
	return s
}

// A candidate is a replica with a network.
type candidate struct {
	*replica
	network *leaderelectiontest.Network
}

// candidate starts one whose work takes that long to stop, and waits until it has
// asked for the Lease.
func (s stage) candidate(name string, k kind, stopping time.Duration) candidate {
	s.Helper()
	client := s.plane.Client(name, envtest.AsUser(s.user))
	s.Cleanup(client.Close)
	asked := client.Network().DelayRequests(0, leaderelectiontest.Resource("leases"))
	r := start(s.T, func(ctx context.Context, work func(context.Context)) { k(ctx, client, s.namespace, work) }, stopping)
	s.Cleanup(r.stop)
	asked.Await(s)
	return candidate{r, client.Network()}
}

// await is when something happened.
func (s stage) await(what string, c <-chan time.Time) time.Time {
	s.Helper()
	select {
	case at := <-c:
		return at
	case <-time.After(time.Minute):
		s.Fatalf("%s: not within a minute", what)
		return time.Time{}
	}
}

// handOver ends the leader and waits until the follower leads, which must not be
// before the leader's work has stopped.
func (s stage) handOver(row string, leader, follower candidate, end func()) {
	s.Helper()
	if len(follower.started) > 0 {
		s.Fatalf("%s: both lead", row)
	}
	end()
	done, began := s.await(row+": the work stops", leader.done), s.await(row+": the other one begins", follower.started)
	if began.Before(done) {
		s.Errorf("%s: the other one began %v before the work had stopped", row, done.Sub(began))
	}
}

// cutOff is what others see of a crash. Whoever is alive behind it must have
// stopped in time; whoever is dead must be given his time all the same.
func (s stage) cutOff(row string, leader, follower candidate) {
	s.Helper()
	var cut time.Time
	s.handOver(row, leader, follower, func() {
		cut = time.Now()
		leader.network.Cut(leaderelectiontest.Refuse)
	})
	if took := time.Since(cut); took < s.lease {
		s.Errorf("%s: it took %v only, for a Lease that lasts %v", row, took, s.lease)
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

func TestSideBySide_WhatThePageSaysIsSafe(t *testing.T) {
	plane := newPlane(t)
	theirs, ours := managerKind(theirManager), managerKind(ourManager)
	t.Run("client-go, from theirs to ours by a crash", func(t *testing.T) {
		t.Parallel()
		s := newStage(t, plane, "my-app-leader", 11*time.Second)
		old := s.candidate("old", clientGoKind, 0)
		s.await("theirs leads", old.started)
		s.cutOff("theirs to ours", old, s.candidate("new", electorKind, 0))
	})
	t.Run("client-go, from ours to theirs by a crash", func(t *testing.T) {
		t.Parallel()
		s := newStage(t, plane, "my-app-leader", 11*time.Second)
		fresh := s.candidate("new", electorKind, time.Second)
		s.await("ours leads", fresh.started)
		s.cutOff("ours to theirs", fresh, s.candidate("old", clientGoKind, 0))
	})
	t.Run("controller-runtime, by a release", func(t *testing.T) {
		t.Parallel()
		s := newStage(t, plane, "my-operator", 0)
		old := s.candidate("old", theirs, 200*time.Millisecond)
		s.await("theirs leads", old.started)
		fresh := s.candidate("new", ours, 2*time.Second)
		s.handOver("theirs to ours", old, fresh, old.stop)
		s.handOver("ours to theirs", fresh, s.candidate("old-again", theirs, 0), fresh.stop)
	})
	t.Run("controller-runtime, from theirs to ours by a crash", func(t *testing.T) {
		t.Parallel()
		s := newStage(t, plane, "my-operator", 7*time.Second)
		old := s.candidate("old", theirs, 200*time.Millisecond)
		s.await("theirs leads", old.started)
		s.cutOff("theirs to ours", old, s.candidate("new", ours, 0))
	})
	t.Run("controller-runtime, from ours to theirs by a crash", func(t *testing.T) {
		t.Parallel()
		s := newStage(t, plane, "my-operator", 7*time.Second)
		fresh := s.candidate("new", ours, time.Second)
		s.await("ours leads", fresh.started)
		s.cutOff("ours to theirs", fresh, s.candidate("old", theirs, 0))
	})
}
