package leaderelectiontest_test

import (
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// events counts what a watch delivers without waiting.
func (h *harmed) events(w watch.Interface) (count int, open bool) {
	synctest.Wait()
	for {
		select {
		case _, ok := <-w.ResultChan():
			if !ok {
				return count, false
			}
			count++
			synctest.Wait()
		default:
			return count, true
		}
	}
}

func (h *harmed) touch() {
	h.Helper()
	err := h.server.Edit("default", "app", func(l *coordinationv1.Lease) {
		now := metav1.NowMicro()
		l.Spec.RenewTime = &now
		l.Generation++
		transitions := int32(1)
		if l.Spec.LeaseTransitions != nil {
			transitions = *l.Spec.LeaseTransitions + 1
		}
		l.Spec.LeaseTransitions = &transitions
	})
	if err != nil {
		h.Fatal(err)
	}
}

func TestNetwork_HoldsWatchEventsBack(t *testing.T) {
	harm(t, func(h *harmed) {
		w, err := h.leases.Watch(h.Context(), metav1.ListOptions{ResourceVersion: h.lease.ResourceVersion})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Stop()
		expect := func(want int, wantOpen bool) {
			t.Helper()
			if got, open := h.events(w); got != want || open != wantOpen {
				t.Fatalf("%d events, open %v; want %d, %v", got, open, want, wantOpen)
			}
		}
		for _, fault := range []func() *leaderelectiontest.Fault{
			func() *leaderelectiontest.Fault { return h.net.StallWatches() },
			func() *leaderelectiontest.Fault { return h.net.Cut(leaderelectiontest.Hang) },
		} {
			healer := fault()
			h.touch()
			h.touch()
			expect(0, true)
			healer.Heal()
			expect(2, true)
		}
		h.net.DelayWatches(2 * time.Second)
		h.touch()
		time.Sleep(time.Second)
		h.touch()
		time.Sleep(time.Second)
		expect(1, true)
		time.Sleep(time.Second)
		expect(1, true)
		h.net.DropWatches()
		expect(0, false)
	})
}

// A watch that hung longer than it would have lasted spun without end.
func TestNetwork_AWatchHangsLongerThanItWouldHaveLasted(t *testing.T) {
	harm(t, func(h *harmed) {
		w, err := h.leases.Watch(h.Context(), metav1.ListOptions{ResourceVersion: h.lease.ResourceVersion})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Stop()
		fault := h.net.Cut(leaderelectiontest.Hang)
		time.Sleep(24 * time.Hour)
		if got, open := h.events(w); got != 0 || !open {
			t.Errorf("%d events, open %v while it hangs", got, open)
		}
		fault.Heal()
		if _, open := h.events(w); open {
			t.Error("it is still open a day later")
		}
	})
}
