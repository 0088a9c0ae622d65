package leaderelection_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

var (
	writes  = leaderelectiontest.Verbs("create", "update")
	watches = leaderelectiontest.Verbs("watch")
)

// polling is what client-go's followers take at most from one look to the next,
// and a little for the requests.
const polling = 4500 * time.Millisecond

func TestElector_ABrokenWatchCostsNoMoreThanPolling(t *testing.T) {
	for name, harm := range map[string]func(*leaderelectiontest.Network, *stage){
		"refused":    func(n *leaderelectiontest.Network, _ *stage) { n.Fail(403, 0, watches); n.DropWatches() },
		"throttled":  func(n *leaderelectiontest.Network, _ *stage) { n.Fail(429, time.Minute, watches); n.DropWatches() },
		"gone":       func(n *leaderelectiontest.Network, s *stage) { n.Fail(410, 0, watches); s.server.Compact() },
		"broken":     func(n *leaderelectiontest.Network, _ *stage) { n.Fail(500, 0, watches); n.DropWatches() },
		"stalls":     func(n *leaderelectiontest.Network, _ *stage) { n.StallWatches() },
		"hangs":      func(n *leaderelectiontest.Network, _ *stage) { n.Cut(hang, watches); n.DropWatches() },
		"restarts":   func(_ *leaderelectiontest.Network, s *stage) { s.server.Restart() },
		"only drops": func(n *leaderelectiontest.Network, _ *stage) { n.DropWatches() },
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(s *stage) {
				leader := s.start("leader")
				synctest.Wait()
				follower := s.start("follower")
				time.Sleep(9 * time.Second)
				harm(follower.network, s)
				time.Sleep(21 * time.Second)
				leader.stop()
				took := s.until(time.Minute, follower.IsLeader)
				if took > polling {
					t.Errorf("the follower led after %v, want no more than polling takes", took)
				}
			})
		})
	}
}

func TestElector_PollsWithoutTheRightToWatchAndWatchesWhenItComes(t *testing.T) {
	play(t, func(s *stage) {
		s.start("leader")
		synctest.Wait()
		follower := s.candidate("follower", nil)
		follower.network.Fail(403, 0, watches)
		follower.run()
		time.Sleep(time.Minute)
		gets := s.server.Count("follower", "get")
		time.Sleep(10 * time.Minute)
		if n := s.server.Count("follower", "get") - gets; n < 600/5 || n > 600/2 {
			t.Errorf("the follower looked %d times in ten minutes, want once in 2 to 4.4 s", n)
		}
		watching := func() bool {
			for state := range follower.Changes(s.Context()) {
				return state.Watching
			}
			return false
		}
		if watching() {
			t.Error("the state says that it watches")
		}
		follower.network.Heal()
		s.until(time.Minute, watching)
	})
}

func TestElector_AStalledWatchIsReplaced(t *testing.T) {
	play(t, func(s *stage) {
		s.start("leader")
		synctest.Wait()
		follower := s.start("follower")
		time.Sleep(10 * time.Second)
		before := s.server.Count("follower", "watch")
		follower.network.StallWatches()
		time.Sleep(20 * time.Second)
		if n := s.server.Count("follower", "watch"); n == before {
			t.Error("no new watch was opened")
		}
	})
}

func TestElector_TwoProcessesUnderOneIdentityAreFoundOut(t *testing.T) {
	play(t, func(s *stage) {
		incumbent := s.start("twin")
		synctest.Wait()
		// Another process with the same identity: the harness would take both for one.
		client := s.server.Client("other process")
		elector, err := leaderelection.New(config("twin"), client.Clientset(), leaderelection.Callbacks{}, debugLogger)
		if err != nil {
			t.Fatal(err)
		}
		if err := elector.Run(s.Context()); !errors.Is(err, leaderelection.ErrIdentityInUse) {
			t.Errorf("Run = %v, want ErrIdentityInUse", err)
		}
		if at := s.clock(); at > 15*time.Second {
			t.Errorf("it took %v to find out", at)
		}
		s.expect(incumbent)
	})
}

func TestElector_ARecordOfAnEarlierLifeIsClaimedAfterOneLeaseDuration(t *testing.T) {
	play(t, func(s *stage) {
		seconds, holder := int32(15), "statefulset-0"
		_, err := s.server.Put(&coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "my-app-leader"},
			Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds,
				RenewTime: &metav1.MicroTime{Time: time.Now().Add(-time.Hour)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		r := s.start(holder)
		if took := s.until(time.Minute, r.IsLeader); took != 15*time.Second {
			t.Errorf("it led after %v, want one LeaseDuration: the earlier process may still work", took)
		}
	})
}

func TestElector_CampaignsThroughErrorsOfEveryKind(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404, 409, 422, 429, 500, 503, 504} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			play(t, func(s *stage) {
				r := s.candidate("a", nil)
				r.network.Fail(status, time.Second)
				r.run()
				time.Sleep(time.Minute)
				s.expect(nil)
				r.network.Heal()
				s.until(45*time.Second, r.IsLeader)
			})
		})
	}
}

func TestSharedWatch_ServesManyElectorsWithOneWatch(t *testing.T) {
	play(t, func(s *stage) {
		client := s.server.Client("process")
		shared := leaderelection.NewSharedWatch(client.Clientset(), "default")
		var replicas []*replica
		for i := range 20 {
			r := s.candidate("process", []leaderelection.Option{leaderelection.WithSharedWatch(shared)},
				withConfig(func(c *leaderelection.Config) { c.LeaseName = fmt.Sprint("lease-", i) }))
			r.quiet = true
			r.run()
			replicas = append(replicas, r)
		}
		time.Sleep(10 * time.Second)
		if n := s.server.Count("process", "watch"); n != 1 {
			t.Errorf("%d watches were opened, want one", n)
		}
		holder := "stranger"
		err := s.server.Edit("default", "lease-7", func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = &holder })
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for i, r := range replicas {
			if r.IsLeader() != (i != 7) {
				t.Errorf("elector %d: IsLeader = %v", i, r.IsLeader())
			}
		}
	})
}
