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

// A memoryImplementation returns a function that runs a candidate. The candidate sends
// its requests to the in-memory API server.
type memoryImplementation func(t *testing.T, client *leaderelectiontest.Client) func(context.Context, func(context.Context))

func clientGoCandidate(release bool) memoryImplementation {
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

func electorCandidate(t *testing.T, client *leaderelectiontest.Client) func(context.Context, func(context.Context)) {
	return func(ctx context.Context, work func(context.Context)) {
		if err := RunElector(ctx, client.Clientset(), "ns", client.Name(), work, func() {}, slog.New(slog.DiscardHandler)); err != nil {
			t.Error(err)
		}
	}
}

func managerCandidate(create func(*rest.Config, ctrl.Options) (ctrl.Manager, error), release bool) memoryImplementation {
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
			_ = mgr.Start(ctx) // Start returns an error if the Manager loses its term
		}
	}
}

// overlaps runs three candidates with the names "old", "new" and "third". "old" and
// "third" use oldKind, and "new" uses newKind. While "old" leads, overlaps cuts the
// network of "old" for the duration cutFor. It returns the candidates that worked at the
// same time as another candidate, for example "third beside new".
func overlaps(t *testing.T, oldKind, newKind memoryImplementation, cutFor time.Duration) (found []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		var mu sync.Mutex
		atWork := map[string]bool{}
		join := func(name string, m memoryImplementation, stopping time.Duration) *replica {
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
		old := join("old", oldKind, 0)
		<-old.started
		time.Sleep(10 * time.Second)
		fresh, third := join("new", newKind, 2*time.Second), join("third", oldKind, 0) // the work of "new" stops within 2 s, which is less than Config.Margin
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

// A release that client-go sends late can arrive when another candidate already holds the
// Lease. The release then removes this new holder from the Lease. A third candidate,
// which also uses client-go, claims the Lease at once. At this point, the work of the
// removed holder has not stopped yet.
func TestSideBySide_OnlyCandidatesThatReleaseEmptyTheLeaseOfAnother(t *testing.T) {
	elector, manager := memoryImplementation(electorCandidate), managerCandidate(newManager, false)
	for name, test := range map[string]struct {
		oldKind, newKind memoryImplementation
		empties          bool
	}{
		"client-go with ReleaseOnCancel":                        {clientGoCandidate(true), elector, true},
		"client-go without ReleaseOnCancel":                     {clientGoCandidate(false), elector, false},
		"controller-runtime with LeaderElectionReleaseOnCancel": {managerCandidate(oldManager, true), manager, true},
		"controller-runtime with its defaults":                  {managerCandidate(oldManager, false), manager, false},
	} {
		t.Run(name, func(t *testing.T) {
			found := map[string]int{}
			for cutFor := 11 * time.Second; cutFor < 24*time.Second && found["third beside new"] == 0; cutFor += 100 * time.Millisecond {
				for _, overlap := range overlaps(t, test.oldKind, test.newKind, cutFor) {
					found[overlap]++
				}
			}
			if empties := found["third beside new"] > 0; empties != test.empties {
				t.Errorf("an old candidate started before the new one had stopped: %v, the guide states %v", empties, test.empties)
			}
			if !test.empties && len(found) > 0 {
				t.Errorf("candidates worked at the same time, which the guide excludes: %v", found)
			}
		})
	}
}
