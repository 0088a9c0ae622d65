package leaderelectiontest_test

import (
	"context"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

func TestServer_FailsRequestsUnderWayAndEndsWatches(t *testing.T) {
	for name, breakConnections := range map[string]func(*leaderelectiontest.Server){
		"restart": (*leaderelectiontest.Server).Restart,
		"outage":  func(s *leaderelectiontest.Server) { s.Outage(leaderelectiontest.Refuse); s.Recover() },
		"restore": func(s *leaderelectiontest.Server) { s.Restore(s.Snapshot()) },
		"close":   (*leaderelectiontest.Server).Close,
	} {
		t.Run(name, func(t *testing.T) {
			withFixture(t, func(h *fixture) {
				w, err := h.leases.Watch(h.Context(), metav1.ListOptions{})
				if err != nil {
					t.Fatal(err)
				}
				h.net.DelayRequests(time.Minute)
				done := make(chan error)
				go func() { _, err := h.hold("b", time.Hour); done <- err }()
				synctest.Wait()
				breakConnections(h.server)
				if err := <-done; err == nil {
					t.Fatal("the request under way succeeded")
				}
				if _, open := h.events(w); open {
					t.Fatal("the watch is still open")
				}
			})
		})
	}
}

func TestServer_OutageRefusesOrHoldsRequests(t *testing.T) {
	withFixture(t, func(h *fixture) {
		h.server.Outage(leaderelectiontest.Refuse)
		h.took(0, syscall.ECONNREFUSED)(h.hold("b", time.Minute))
		h.server.Outage(leaderelectiontest.Hang)
		h.took(time.Minute, context.DeadlineExceeded)(h.hold("b", time.Minute))
		time.AfterFunc(time.Second, h.server.Recover)
		h.took(time.Second, nil)(h.hold("b", time.Minute))
	})
}

func TestServer_CompactionEndsWatches(t *testing.T) {
	withFixture(t, func(h *fixture) {
		open, err := h.leases.Watch(h.Context(), metav1.ListOptions{ResourceVersion: h.lease.ResourceVersion})
		if err != nil {
			t.Fatal(err)
		}
		h.server.Compact()
		late, err := h.leases.Watch(h.Context(), metav1.ListOptions{ResourceVersion: h.lease.ResourceVersion})
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range []watch.Interface{open, late} {
			if e := <-w.ResultChan(); e.Type != watch.Error || !apierrors.IsResourceExpired(apierrors.FromObject(e.Object)) {
				t.Fatalf("got %s of %#v", e.Type, e.Object)
			}
			if _, ok := <-w.ResultChan(); ok {
				t.Fatal("the watch continues")
			}
		}
	})
}

func TestServer_RestoreAssignsResourceVersionsAgain(t *testing.T) {
	withFixture(t, func(h *fixture) {
		backup := h.server.Snapshot()
		h.took(0, nil)(h.hold("b", time.Minute))
		h.server.Restore(backup)
		h.holder("a")
		before, _ := h.server.Get("default", "app")
		h.took(0, nil)(h.hold("c", time.Minute))
		after, _ := h.server.Get("default", "app")
		history := h.server.History()
		if n := len(history); before.ResourceVersion != h.lease.ResourceVersion || history[n-1].ResourceVersion != history[n-2].ResourceVersion {
			t.Fatalf("resourceVersions were not assigned again: %s, then %s, history %v", before.ResourceVersion, after.ResourceVersion, history)
		}
	})
}

func TestServer_SendsBookmarks(t *testing.T) {
	withFixture(t, func(h *fixture) {
		w, err := h.leases.Watch(h.Context(), metav1.ListOptions{ResourceVersion: h.lease.ResourceVersion, AllowWatchBookmarks: true})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Stop()
		other := lease("x")
		other.Name = "other"
		if _, err := h.server.Put(other); err != nil {
			t.Fatal(err)
		}
		filtered, err := h.leases.Watch(h.Context(), metav1.ListOptions{
			ResourceVersion: h.lease.ResourceVersion, AllowWatchBookmarks: true, FieldSelector: "metadata.name=app",
		})
		if err != nil {
			t.Fatal(err)
		}
		defer filtered.Stop()
		e := <-filtered.ResultChan()
		bookmark, ok := e.Object.(*coordinationv1.Lease)
		if e.Type != watch.Bookmark || !ok || bookmark.ResourceVersion == h.lease.ResourceVersion {
			t.Fatalf("got %s of %#v, want a bookmark with a newer resourceVersion", e.Type, e.Object)
		}
	})
}

func TestServer_HistoryNamesTheWriterAndBothStates(t *testing.T) {
	withFixture(t, func(h *fixture) {
		time.Sleep(time.Second)
		h.took(0, nil)(h.hold("b", time.Minute))
		if err := h.server.Delete("default", "app"); err != nil {
			t.Fatal(err)
		}
		history := h.server.History()
		if len(history) != 3 {
			t.Fatalf("history is %v", history)
		}
		created, updated, deleted := history[0], history[1], history[2]
		if created.Before != nil || created.Client != "" || updated.Client != "pod-1" || updated.Verb != "update" ||
			updated.Time.Sub(created.Time) != time.Second || deleted.After != nil || deleted.Before != updated.After {
			t.Fatalf("history is %v", history)
		}
		if h.server.Count("pod-1", "update") != 1 || h.server.Count("", "") != 1 {
			t.Fatal("the counts of requests are wrong")
		}
	})
}

func TestServer_AnswersNotFoundForOtherResources(t *testing.T) {
	withFixture(t, func(h *fixture) {
		if _, err := h.client.Clientset().CoreV1().Pods("default").Get(h.Context(), "x", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
	})
}
