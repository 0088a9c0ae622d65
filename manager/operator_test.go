package manager_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
	"github.com/haproxy-template-ic/incumbent/manager"
)

// settle is a reconcile function that copies data.want of a ConfigMap to data.have. It
// takes 20 ms, or 320 ms if its context is cancelled in the meantime.
func settle(ctx context.Context, r *replica, configMap *corev1.ConfigMap) error {
	time.Sleep(20 * time.Millisecond)
	if ctx.Err() != nil {
		time.Sleep(300 * time.Millisecond)
	}
	if configMap.Data["have"] == configMap.Data["want"] {
		return nil
	}
	configMap.Data["have"] = configMap.Data["want"]
	err := r.GetClient().Update(ctx, configMap)
	if errors.Is(err, manager.ErrWriteRefused) && ctx.Err() == nil {
		r.cluster.t.Errorf("%s was refused a write while it led: %v", r.name, err)
	}
	return err
}

func TestOperator_RollingReplacementUnderLoad_OneReconcilesAtATime(t *testing.T) {
	s := startTestCluster(t, false)
	configMaps := s.configMaps(8)
	pod := func(i int) *replica {
		name := fmt.Sprintf("pod-%d", i)
		// All pods of this test run in one process, so they have the same age.
		// Therefore the priority decides which pod is the successor.
		newest := manager.WithElectorOptions(leaderelection.WithPriority(int32(i)))
		return s.replica(name, incumbent(manager.WithIdentity(name), manager.WithWriteGuard(), newest), settle)
	}
	pods := []*replica{s.leader(pod(0)), s.follower(pod(1)), s.follower(pod(2))}

	ctx, cancel := context.WithCancel(t.Context())
	load := begin(func() error { return s.load(ctx, configMaps) })
	for i := 3; i < 6; i++ {
		pods = append(pods, s.follower(pod(i)))
		old := pods[0]
		if err := old.stop(); err != nil {
			t.Errorf("%s stopped with %v", old.name, err)
		}
		pods = pods[1:]
	}
	cancel()
	<-load.done
	if load.err != nil {
		t.Fatal(load.err)
	}
	s.awaitSettled(configMaps)
	for _, p := range pods {
		if err := p.stop(); err != nil {
			t.Errorf("%s stopped with %v", p.name, err)
		}
	}
	if holder := s.holder(); holder != "" {
		t.Errorf("the Lease is held by %q in the end", holder)
	}
}

// load repeatedly changes data.want of the ConfigMaps until ctx is done.
func (s *testCluster) load(ctx context.Context, configMaps []*corev1.ConfigMap) error {
	for i := 1; ctx.Err() == nil; i++ {
		configMap := configMaps[i%len(configMaps)]
		configMap.Data["want"] = strconv.Itoa(i)
		patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"data":{"want":"%d"}}`, i))
		if err := s.admin.Patch(ctx, &corev1.ConfigMap{ObjectMeta: configMap.ObjectMeta}, patch); err != nil && ctx.Err() == nil {
			return err
		}
		time.Sleep(10 * time.Millisecond) // limits the load to about 100 writes per second
	}
	return nil
}

// awaitSettled waits until data.have equals data.want in each ConfigMap.
func (s *testCluster) awaitSettled(configMaps []*corev1.ConfigMap) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	for _, configMap := range configMaps {
		watch, err := s.plane.Admin().Clientset().CoreV1().ConfigMaps(s.namespace).Watch(ctx, single(configMap.Name))
		if err != nil {
			s.t.Fatal(err)
		}
		settled := false
		for event := range watch.ResultChan() {
			seen, ok := event.Object.(*corev1.ConfigMap)
			if settled = ok && seen.Data["have"] == seen.Data["want"]; settled {
				break
			}
		}
		watch.Stop()
		if !settled {
			s.t.Fatalf("%s was not reconciled to the end", configMap.Name)
		}
	}
}

// A candidate of client-go reads the Lease every 2.0 to 4.4 s by default. The successor
// must reconcile within one second after the leader's last reconcile.
func TestOperator_TheSuccessorReconcilesAsSoonAsTheLeaseIsReleased(t *testing.T) {
	s := startTestCluster(t, false)
	s.configMaps(1)
	defaults := func(o *crmanager.Options, _ *rest.Config) {
		o.LeaseDuration, o.RenewDeadline, o.RetryPeriod = nil, nil, nil
	}
	a := s.leader(s.replica("a", incumbent(manager.WithIdentity("a")), untilCancelled, defaults))
	b := s.follower(s.replica("b", incumbent(manager.WithIdentity("b")), untilCancelled, defaults))
	if err := a.stop(); err != nil {
		t.Error(err)
	}
	s.await("b reconciles", b.first)
	took := b.firstAt.Sub(a.last())
	t.Logf("nobody reconciled for %v", took)
	if took > time.Second {
		t.Errorf("no replica reconciled for %v, want less than the retry interval of client-go's candidates", took)
	}
}

func TestOperator_APartitionEndsTheWorkAndTheProcessBeforeAnotherLeads(t *testing.T) {
	s := startTestCluster(t, false)
	s.configMaps(2)
	slow := newWorker(10 * time.Second)
	slow.follows = true
	a := s.leader(s.replica("a", incumbent(manager.WithIdentity("a")), untilCancelled).add(slow))
	b := s.follower(s.replica("b", incumbent(manager.WithIdentity("b")), untilCancelled))
	s.referee.Note("a", "cut off")
	cut := time.Now()
	a.network.Cut(leaderelectiontest.Hang)
	s.await("a returns from Start", a.done)
	returned := time.Now()
	for _, want := range []error{manager.ErrLeadershipLost, leaderelection.ErrRenewalFailed, leaderelection.ErrWorkStillRunning} {
		if !errors.Is(a.err, want) {
			t.Errorf("Start returned %v, want %v", a.err, want)
		}
	}
	if cause := context.Cause(a.firstCtx); !errors.Is(cause, leaderelection.ErrRenewalFailed) {
		t.Errorf("the reconciler's context ended because of %v", cause)
	}
	s.await("b reconciles", b.first)
	if !returned.Before(b.firstAt) {
		t.Errorf("Start returned %v after b had begun", returned.Sub(b.firstAt))
	}
	t.Logf("cut off; work ended after %v, Start returned after %v, the other one began after %v",
		a.last().Sub(cut), returned.Sub(cut), b.firstAt.Sub(cut))
	<-slow.returned
}

func TestOperator_ALossDuringAGracefulStopReachesTheReconcilers(t *testing.T) {
	s := startTestCluster(t, false)
	s.configMaps(2)
	slow := newWorker(10 * time.Second) // the inner Manager stops the reconcilers only after this Runnable has returned
	slow.follows = true
	a := s.leader(s.replica("a", incumbent(manager.WithIdentity("a")), untilCancelled).add(slow))
	b := s.follower(s.replica("b", incumbent(manager.WithIdentity("b")), untilCancelled))
	a.cancel()
	s.await("a begins to stop", slow.cancelled)
	if a.firstCtx.Err() != nil {
		t.Fatal("the reconcilers were stopped before the loss")
	}
	a.network.Cut(leaderelectiontest.Refuse)
	s.await("a returns from Start", a.done)
	if !errors.Is(a.err, manager.ErrLeadershipLost) {
		t.Errorf("Start returned %v, want ErrLeadershipLost", a.err)
	}
	s.await("b reconciles", b.first)
	if a.busyNow() {
		t.Error("a still reconciles")
	}
	<-slow.returned
}

func (r *replica) busyNow() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.busy > 0
}

// The test compares a Manager of controller-runtime with a Manager that New returned.
// The reconciler of process a does not stop within the grace period.
func TestBoth_AReconcilerThatOutlastsTheGracePeriodWorksAlone(t *testing.T) {
	for _, tc := range []struct {
		name   string
		create func(name string) newManager
		alone  bool
	}{
		{"controller-runtime", func(string) newManager { return controllerRuntime }, false},
		{"incumbent", func(name string) newManager { return incumbent(manager.WithIdentity(name)) }, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := startTestCluster(t, true)
			s.configMaps(1)
			grace := func(o *crmanager.Options, _ *rest.Config) { o.GracefulShutdownTimeout = ptr.To(500 * time.Millisecond) }
			a := s.leader(s.replica("a", tc.create("a"), stubborn(5*time.Second), grace))
			b := s.replica("b", tc.create("b"), untilCancelled).run()
			if err := a.stop(); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Start returned %v, want that the grace period expired", err)
			}
			s.await("b reconciles", b.first)
			if err := b.stop(); err != nil {
				t.Error(err)
			}
			for a.busyNow() {
				time.Sleep(10 * time.Millisecond)
			}
			if overlaps := s.referee.Overlaps(); (len(overlaps) == 0) != tc.alone {
				t.Errorf("they overlapped: %v\n%s", overlaps, s.referee.Timeline())
			}
		})
	}
}
