package leaderelection_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

var (
	writes  = leaderelectiontest.Verbs("create", "update")
	watches = leaderelectiontest.Verbs("watch")
)

// pollingTime is the longest time between two reads of a client-go follower, plus a
// tolerance.
const pollingTime = 4500 * time.Millisecond

func TestElector_ABrokenWatchDelaysAClaimNoLongerThanPolling(t *testing.T) {
	for name, inject := range map[string]func(*leaderelectiontest.Network, *harness){
		"refused":    func(n *leaderelectiontest.Network, _ *harness) { n.Fail(403, 0, watches); n.DropWatches() },
		"throttled":  func(n *leaderelectiontest.Network, _ *harness) { n.Fail(429, time.Minute, watches); n.DropWatches() },
		"gone":       func(n *leaderelectiontest.Network, h *harness) { n.Fail(410, 0, watches); h.server.Compact() },
		"broken":     func(n *leaderelectiontest.Network, _ *harness) { n.Fail(500, 0, watches); n.DropWatches() },
		"stalls":     func(n *leaderelectiontest.Network, _ *harness) { n.StallWatches() },
		"hangs":      func(n *leaderelectiontest.Network, _ *harness) { n.Cut(hang, watches); n.DropWatches() },
		"restarts":   func(_ *leaderelectiontest.Network, h *harness) { h.server.Restart() },
		"only drops": func(n *leaderelectiontest.Network, _ *harness) { n.DropWatches() },
	} {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(h *harness) {
				leader := h.start("leader")
				synctest.Wait()
				follower := h.start("follower")
				time.Sleep(9 * time.Second)
				inject(follower.network, h)
				time.Sleep(21 * time.Second)
				leader.stop()
				took := h.waitUntil(time.Minute, follower.IsLeader)
				if took > pollingTime {
					t.Errorf("the follower led after %v, want at most the time of a poll: %v", took, pollingTime)
				}
			})
		})
	}
}

func TestElector_PollsWithoutTheRightToWatchAndWatchesWhenItComes(t *testing.T) {
	withHarness(t, func(h *harness) {
		h.start("leader")
		synctest.Wait()
		follower := h.newReplica("follower", nil)
		follower.network.Fail(403, 0, watches)
		follower.run()
		time.Sleep(time.Minute)
		gets := h.server.Count("follower", "get")
		time.Sleep(10 * time.Minute)
		if n := h.server.Count("follower", "get") - gets; n < 600/5 || n > 600/2 {
			t.Errorf("the follower read the Lease %d times in ten minutes, want once in 2 s to 4.4 s", n)
		}
		watching := func() bool { return follower.State().Watching }
		if watching() {
			t.Error("State.Watching is true without the right to watch")
		}
		follower.network.Heal()
		h.waitUntil(time.Minute, watching)
	})
}

func TestElector_AStalledWatchIsReplaced(t *testing.T) {
	withHarness(t, func(h *harness) {
		h.start("leader")
		synctest.Wait()
		follower := h.start("follower")
		time.Sleep(10 * time.Second)
		before := h.server.Count("follower", "watch")
		follower.network.StallWatches()
		time.Sleep(20 * time.Second)
		if n := h.server.Count("follower", "watch"); n == before {
			t.Error("the follower did not open a new watch")
		}
	})
}

func TestElector_TwoProcessesWithOneIdentityAreDetected(t *testing.T) {
	withHarness(t, func(h *harness) {
		incumbent := h.start("duplicate")
		synctest.Wait()
		// The second process is not a replica of the harness, because the harness
		// requires a different identity for each replica.
		client := h.server.Client("other process")
		elector, err := leaderelection.New(config("duplicate"), client.Clientset(), leaderelection.Callbacks{}, debugLogger)
		if err != nil {
			t.Fatal(err)
		}
		if err := elector.Run(h.Context()); !errors.Is(err, leaderelection.ErrIdentityInUse) {
			t.Errorf("Run = %v, want ErrIdentityInUse", err)
		}
		if at := h.elapsed(); at > 15*time.Second {
			t.Errorf("Run returned at %v, want at most one LeaseDuration: 15 s", at)
		}
		h.expectLeader(incumbent)
	})
}

func TestElector_ARecordOfAnEarlierProcessIsClaimedAfterOneLeaseDuration(t *testing.T) {
	withHarness(t, func(h *harness) {
		seconds, holder := int32(15), "statefulset-0"
		_, err := h.server.Put(&coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "my-app-leader"},
			Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds,
				RenewTime: &metav1.MicroTime{Time: time.Now().Add(-time.Hour)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		r := h.start(holder)
		if took := h.waitUntil(time.Minute, r.IsLeader); took != 15*time.Second {
			t.Errorf("it led after %v, want one LeaseDuration, because the earlier process may still work", took)
		}
	})
}

func TestElector_CampaignsThroughErrorsOfEveryKind(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404, 409, 422, 429, 500, 503, 504} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			withHarness(t, func(h *harness) {
				r := h.newReplica("a", nil)
				r.network.Fail(status, time.Second)
				r.run()
				time.Sleep(time.Minute)
				h.expectLeader(nil)
				r.network.Heal()
				h.waitUntil(45*time.Second, r.IsLeader)
			})
		})
	}
}

func TestSharedWatch_ServesManyElectorsWithOneWatch(t *testing.T) {
	withHarness(t, func(h *harness) {
		client := h.server.Client("process")
		shared := leaderelection.NewSharedWatch(client.Clientset(), "default")
		var replicas []*replica
		for i := range 20 {
			r := h.newReplica("process", []leaderelection.Option{leaderelection.WithSharedWatch(shared)},
				withConfig(func(c *leaderelection.Config) { c.LeaseName = fmt.Sprint("lease-", i) }))
			r.unrecorded = true
			r.run()
			replicas = append(replicas, r)
		}
		time.Sleep(10 * time.Second)
		if n := h.server.Count("process", "watch"); n != 1 {
			t.Errorf("%d watches were opened, want one", n)
		}
		holder := "foreign"
		err := h.server.Edit("default", "lease-7", func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = &holder })
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for i, r := range replicas {
			if r.IsLeader() != (i != 7) {
				t.Errorf("elector %d: IsLeader = %v, want true for all except 7", i, r.IsLeader())
			}
		}
	})
}
