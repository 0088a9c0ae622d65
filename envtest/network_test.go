package envtest_test

import (
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// watched is a namespace in which an administrator writes Leases. The client
// watches these Leases.
type watched struct {
	t         *testing.T
	cp        *envtest.ControlPlane
	client    *envtest.Client
	namespace string
}

func newWatched(t *testing.T) *watched {
	t.Helper()
	cp := shared.get(t)
	w := &watched{t: t, cp: cp, client: cp.Client("watcher"), namespace: cp.Namespace(t)}
	t.Cleanup(w.client.Close)
	return w
}

func (w *watched) watch() watch.Interface {
	w.t.Helper()
	stream, err := w.client.Clientset().CoordinationV1().Leases(w.namespace).Watch(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(stream.Stop)
	return stream
}

func (w *watched) create(name string) {
	w.t.Helper()
	l := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := w.cp.Admin().Clientset().CoordinationV1().Leases(w.namespace).Create(w.t.Context(), l, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

func TestNetwork_StalledWatchDeliversWhenHealed(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	stream := w.watch()
	w.create("a")
	if got := next(t, stream.ResultChan()); got.Type != watch.Added {
		t.Fatalf("got %v", got)
	}
	fault := w.client.Network().StallWatches()
	w.create("b")
	if r := fault.Await(t); r.Verb != "watch" || r.Resource != "leases" {
		t.Errorf("held %v", r)
	}
	select {
	case event := <-stream.ResultChan():
		t.Errorf("got %v although the watch is stalled", event)
	default:
	}
	if _, err := w.client.Clientset().CoordinationV1().Leases(w.namespace).Get(t.Context(), "b", metav1.GetOptions{}); err != nil {
		t.Errorf("a get was stalled too: %v", err)
	}
	fault.Heal()
	if got := next(t, stream.ResultChan()).Object.(*coordinationv1.Lease); got.Name != "b" {
		t.Errorf("got %v", got)
	}
}

func TestNetwork_DelaysWatchEvents(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	stream := w.watch()
	const delay = 200 * time.Millisecond
	fault := w.client.Network().DelayWatches(delay)
	created := time.Now()
	w.create("a")
	if got := next(t, stream.ResultChan()); got.Type != watch.Added {
		t.Errorf("got %v", got)
	}
	if took := time.Since(created); took < delay {
		t.Errorf("the event arrived after %v", took)
	}
	fault.Await(t)
}

func TestNetwork_StalledWatchCanBeStopped(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	stream := w.watch()
	fault := w.client.Network().StallWatches()
	w.create("a")
	fault.Await(t)
	stream.Stop()
	for event := range stream.ResultChan() {
		if event.Type != watch.Error {
			t.Errorf("got %v although the watch is stalled", event)
		}
	}
}

func TestNetwork_RefusingCutEndsWatches(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	cut, dropped := w.watch(), w.watch()
	w.client.Network().DropWatches()
	end(t, dropped)
	end(t, cut)
	stream := w.watch()
	w.client.Network().Cut(leaderelectiontest.Refuse)
	end(t, stream)
}

func TestNetwork_HangingCutHoldsEvents(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	other := w.cp.Client("other")
	defer other.Close()
	stream := w.watch()
	cut := w.client.Network().Cut(leaderelectiontest.Hang)
	w.create("a")
	cut.Await(t)
	if _, err := other.Clientset().CoordinationV1().Leases(w.namespace).Get(t.Context(), "a", metav1.GetOptions{}); err != nil {
		t.Errorf("the fault affected another client: %v", err)
	}
	w.client.Network().Heal()
	if got := next(t, stream.ResultChan()); got.Type != watch.Added {
		t.Errorf("got %v", got)
	}
}

// end reads from a watch until the watch has ended.
func end(t *testing.T, stream watch.Interface) {
	t.Helper()
	for range stream.ResultChan() {
	}
}

// next returns the next value from c. The test fails if no value
// arrives within two minutes.
func next[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v, ok := <-c:
		if !ok {
			t.Fatal("the channel was closed")
		}
		return v
	case <-t.Context().Done():
		t.Fatal("the test ended")
	case <-timeout():
		t.Fatal("received nothing")
	}
	panic("unreachable")
}
