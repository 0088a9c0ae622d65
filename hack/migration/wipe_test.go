package migration

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	clientleaderelection "k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	ctrl "sigs.k8s.io/controller-runtime"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// A member is a kind of candidate on the in-memory API.
type member func(t *testing.T, client *leaderelectiontest.Client) func(context.Context, func(context.Context))

func clientGoMember(release bool) member {
	return func(_ *testing.T, client *leaderelectiontest.Client) func(context.Context, func(context.Context)) {
		return func(ctx context.Context, work func(context.Context)) {
			clientleaderelection.RunOrDie(ctx, clientleaderelection.LeaderElectionConfig{
				Lock: &resourcelock.LeaseLock{
					LeaseMeta:  metav1.ObjectMeta{Name: "my-app-leader", Namespace: "ns"},
					Client:     client.Clientset().CoordinationV1(),
					LockConfig: resourcelock.ResourceLockConfig{Identity: client.Name()},
				},
				LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
				ReleaseOnCancel: release,
				Callbacks:       clientleaderelection.LeaderCallbacks{OnStartedLeading: work, OnStoppedLeading: func() {}},
			})
		}
	}
}

func electorMember(t *testing.T, client *leaderelectiontest.Client) func(context.Context, func(context.Context)) {
	return func(ctx context.Context, work func(context.Context)) {
		if err := Instead(ctx, client.Clientset(), "ns", client.Name(), work, func() {}, slog.New(slog.DiscardHandler)); err != nil {
			t.Error(err)
		}
	}
}

func managerMember(create func(*rest.Config, ctrl.Options) (ctrl.Manager, error), release bool) member {
	return func(t *testing.T, client *leaderelectiontest.Client) func(context.Context, func(context.Context)) {
		return func(ctx context.Context, work func(context.Context)) {
			mgr, err := create(client.Config(), ctrl.Options{
				LeaderElection: true, LeaderElectionID: "my-operator", LeaderElectionNamespace: "ns",
				LeaderElectionReleaseOnCancel: release,
				Metrics:                       metricsserver.Options{BindAddress: "0"}, Logger: logr.Discard(),
			})
			if err != nil {
				t.Error(err)
				return
			}
			if err := mgr.Add(crmanager.RunnableFunc(func(ctx context.Context) error { work(ctx); return nil })); err != nil {
				t.Error(err)
			}
			_ = mgr.Start(ctx) // it may lose
		}
	}
}

// overlaps has one of theirs lead, cuts it off for a while, and returns who began to
// work beside whom. In the running are one of ours and another one of theirs.
func overlaps(t *testing.T, theirs, ours member, cutFor time.Duration) (found []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		var mu sync.Mutex
		atWork := map[string]bool{}
		join := func(name string, m member, stopping time.Duration) *replica {
			run := m(t, server.Client(name))
			return start(t, func(ctx context.Context, work func(context.Context)) {
				run(ctx, func(ctx context.Context) {
					mu.Lock()
					for other := range atWork {
						found = append(found, name+" beside "+other)
					}
					atWork[name] = true
					mu.Unlock()
					work(ctx)
					mu.Lock()
					defer mu.Unlock()
					delete(atWork, name)
				})
			}, stopping)
		}
		old := join("old", theirs, 0)
		<-old.started
		time.Sleep(10 * time.Second)
		fresh, third := join("new", ours, 2*time.Second), join("third", theirs, 0) // which is less than Margin
		time.Sleep(10 * time.Second)
		server.Client("old").Network().Cut(leaderelectiontest.Hang)
		time.Sleep(cutFor)
		server.Client("old").Network().Heal()
		time.Sleep(30 * time.Second)
		for _, r := range []*replica{old, fresh, third} {
			r.stop()
		}
		time.Sleep(time.Minute)
	})
	return found
}

// client-go's release empties a Lease that is another one's by now: whoever claims it
// does not wait until our work has stopped.
func TestSideBySide_WhoReleasesWipesALeaseOfOurs(t *testing.T) {
	elector, manager := member(electorMember), managerMember(ourManager, false)
	for name, test := range map[string]struct {
		theirs, ours member
		wipes        bool
	}{
		"client-go with ReleaseOnCancel":                        {clientGoMember(true), elector, true},
		"client-go without ReleaseOnCancel":                     {clientGoMember(false), elector, false},
		"controller-runtime with LeaderElectionReleaseOnCancel": {managerMember(theirManager, true), manager, true},
		"controller-runtime as it is by default":                {managerMember(theirManager, false), manager, false},
	} {
		t.Run(name, func(t *testing.T) {
			seen := map[string]int{}
			for cutFor := 11 * time.Second; cutFor < 24*time.Second && seen["third beside new"] == 0; cutFor += 100 * time.Millisecond {
				for _, overlap := range overlaps(t, test.theirs, test.ours, cutFor) {
					seen[overlap]++
				}
			}
			if wipes := seen["third beside new"] > 0; wipes != test.wipes {
				t.Errorf("that theirs began before ours had stopped is %v, and the page says %v", wipes, test.wipes)
			}
			if !test.wipes && len(seen) > 0 {
				t.Errorf("two were at work, which the page says does not happen: %v", seen)
			}
		})
	}
}
