package leaderelectiontest_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	clientleaderelection "k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// bubble runs a test in fake time with a new server. synctest fails the test if
// a goroutine still runs at the end.
func bubble(t *testing.T, test func(*testing.T, *leaderelectiontest.Server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		test(t, server)
	})
}

func lease(holder string) *coordinationv1.Lease {
	seconds := int32(15)
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "app"},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds},
	}
}

// candidate runs client-go's LeaderElector until ctx is done.
func candidate(ctx context.Context, t *testing.T, client *leaderelectiontest.Client) *clientleaderelection.LeaderElector {
	t.Helper()
	elector, err := clientleaderelection.NewLeaderElector(clientleaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: "default", Name: "app"},
			Client:     client.Clientset().CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: client.Name()},
		},
		LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
		ReleaseOnCancel: true,
		Callbacks: clientleaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) {}, OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	go elector.Run(ctx)
	return elector
}

func TestServer_RunsClientGosLeaderElector(t *testing.T) {
	bubble(t, func(t *testing.T, server *leaderelectiontest.Server) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		first := candidate(ctx, t, server.Client("pod-1"))
		synctest.Wait()
		second := candidate(ctx, t, server.Client("pod-2"))
		time.Sleep(time.Minute)
		if !first.IsLeader() || second.IsLeader() {
			t.Fatal("pod-1 does not lead alone")
		}
		server.Client("pod-1").Network().Cut(leaderelectiontest.Hang)
		time.Sleep(time.Minute)
		if !second.IsLeader() {
			t.Fatal("pod-2 does not lead")
		}
		cancel()
		synctest.Wait()
		history := server.History()
		if last := history[len(history)-1]; last.Client != "pod-2" || leaderelectiontest.Holder(last.After) != "" {
			t.Fatalf("the last write is not a release: %s", last)
		}
	})
}

func TestServer_RunsReflectors(t *testing.T) {
	bubble(t, func(t *testing.T, server *leaderelectiontest.Server) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		client := server.Client("pod-1")
		store := cache.NewStore(cache.MetaNamespaceKeyFunc)
		reflector := cache.NewReflector(cache.NewListWatchFromClient(client.Clientset().CoordinationV1().RESTClient(),
			"leases", "default", fields.Everything()), &coordinationv1.Lease{}, store, 0)
		go reflector.RunWithContext(ctx)
		holds := func(want string) {
			t.Helper()
			synctest.Wait()
			object, _, err := store.GetByKey("default/app")
			if got, _ := object.(*coordinationv1.Lease); err != nil || leaderelectiontest.Holder(got) != want {
				t.Fatalf("the store has %v, want holder %q", object, want)
			}
		}
		put := func(holder string) {
			if _, err := server.Put(lease(holder)); err != nil {
				t.Fatal(err)
			}
		}
		put("a")
		holds("a")
		put("b")
		holds("b")
		for _, break_ := range []func(){server.Restart, server.Compact, client.Network().DropWatches} {
			break_()
			put("c")
			time.Sleep(time.Minute)
			holds("c")
			put("d")
			holds("d")
		}
		if err := server.Delete("default", "app"); err != nil {
			t.Fatal(err)
		}
		holds("")
	})
}

func TestServer_StreamsListsToReflectors(t *testing.T) {
	bubble(t, func(t *testing.T, server *leaderelectiontest.Server) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		factory := informers.NewSharedInformerFactory(server.Client("pod-1").Clientset(), 0)
		informer := factory.Coordination().V1().Leases().Informer()
		var events []string
		_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(o any) { events = append(events, "add "+leaderelectiontest.Holder(o.(*coordinationv1.Lease))) },
			UpdateFunc: func(_, o any) {
				events = append(events, "update "+leaderelectiontest.Holder(o.(*coordinationv1.Lease)))
			},
			DeleteFunc: func(any) { events = append(events, "delete") },
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := server.Put(lease("a")); err != nil {
			t.Fatal(err)
		}
		factory.Start(ctx.Done())
		factory.WaitForCacheSync(ctx.Done())
		if err := server.Edit("default", "app", func(l *coordinationv1.Lease) { *l.Spec.HolderIdentity = "b" }); err != nil {
			t.Fatal(err)
		}
		if err := server.Delete("default", "app"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // longer than the server keeps a watch open
		cancel()
		factory.Shutdown()
		if want := []string{"add a", "update b", "delete"}; !slices.Equal(events, want) {
			t.Fatalf("got the events %q, want %q", events, want)
		}
		if lists := server.Count("pod-1", "list"); lists != 0 {
			t.Fatalf("%d lists: the informer did not stream its list", lists)
		}
	})
}
