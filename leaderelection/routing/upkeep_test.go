package routing_test

import (
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/haproxy-template-ic/incumbent/leaderelection/routing/routingtest"
)

func TestRouter_ALateRequestDoesNotSetItAfterTheStop(t *testing.T) {
	inBubble(t, func(w *world) {
		w.pods.Put("pod-a", "1", false)
		w.pods.Put("pod-b", "2", false)
		late := make(chan struct{})
		w.pods.During(func(r *routingtest.Request) error {
			if r.Sets && r.Name == "pod-a" {
				r.Late = true
				<-late
			}
			return nil
		})
		a := w.lead("pod-a")
		synctest.Wait()
		if err := a.stop(); err != nil {
			w.Error(err)
		}
		w.lead("pod-b")
		synctest.Wait()
		close(late)
		synctest.Wait()
		w.wantLabelled("after the late request", "pod-b")
	})
}

func TestRouter_IsPutRightWhileItLeads(t *testing.T) {
	inBubble(t, func(w *world) {
		w.pods.Put("pod-a", "1", false)
		w.pods.Put("pod-b", "2", true)
		w.lead("pod-a")
		synctest.Wait()
		w.wantLabelled("at the beginning", "pod-a")
		w.pods.Edit("pod-b", true)
		time.Sleep(routePace)
		w.wantLabelled("after a late request of pod-b", "pod-a")
		w.pods.Edit("pod-a", false)
		time.Sleep(routePace)
		w.wantLabelled("after somebody took it away", "pod-a")
		lists, patches := w.pods.Asked("GET"), w.pods.Asked("PATCH")
		time.Sleep(5 * time.Minute)
		if n := w.pods.Asked("PATCH") - patches; n > 0 {
			w.Errorf("%d patches though all was right", n)
		}
		if n := w.pods.Asked("GET") - lists; n < 10 || n > 30 {
			w.Errorf("%d lists in five minutes, want 10 to 30", n)
		}
	})
}

func TestRouter_SettingAndTakingAwayDoNotWaitForEachOther(t *testing.T) {
	t.Run("without its own Pod", func(t *testing.T) {
		inBubble(t, func(w *world) {
			w.pods.Put("pod-b", "2", true)
			p := w.lead("pod-a")
			synctest.Wait()
			w.wantLabelled("though POD_NAME is wrong")
			if len(p.told("not right yet", `\"pod-a\" not found`)) != 1 {
				w.Error("it is not told that the Pod is not found")
			}
			time.Sleep(5 * time.Minute)
			if n := w.pods.Asked("PATCH"); n > 40 {
				w.Errorf("%d patches of a Pod that is not there in five minutes", n)
			}
			w.pods.Put("pod-a", "1", false)
			time.Sleep(routePace)
			w.wantLabelled("once the Pod is there", "pod-a")
		})
	})
	t.Run("without the right to list", func(t *testing.T) {
		inBubble(t, func(w *world) {
			w.pods.Put("pod-a", "1", false)
			w.pods.Put("pod-b", "2", true)
			w.pods.During(func(r *routingtest.Request) error {
				if r.Method == "GET" {
					return apierrors.NewForbidden(corev1.Resource("pods"), "", nil)
				}
				return nil
			})
			w.lead("pod-a")
			synctest.Wait()
			w.wantLabelled("though nothing is listed", "pod-a", "pod-b")
		})
	})
}

func TestRouter_APodOfTheSameNameIsNotItsOwn(t *testing.T) {
	inBubble(t, func(w *world) {
		w.pods.Put("pod-a", "1", false)
		p := w.lead("pod-a")
		synctest.Wait()
		w.pods.Put("pod-a", "2", true) // its successor, while this process outlives its Pod
		time.Sleep(routePace)
		w.wantLabelled("in the term of the Pod before")
		w.pods.Put("pod-a", "3", true)
		if err := p.stop(); err != nil {
			w.Error(err)
		}
		w.wantLabelled("after the stop of the Pod before", "pod-a")
	})
}

func TestRouter_AConflictIsTriedAgainAtOnce(t *testing.T) {
	inBubble(t, func(w *world) {
		w.pods.Put("pod-a", "1", false)
		touched := false
		w.pods.During(func(r *routingtest.Request) error {
			if r.Sets && !touched {
				touched = true
				w.pods.Edit("pod-a", false) // as the kubelet writes the status
			}
			return nil
		})
		p := w.lead("pod-a")
		synctest.Wait()
		w.wantLabelled("after a conflict", "pod-a")
		if lines := p.told("leader's label"); len(lines) > 0 {
			w.Errorf("it is told: %q", lines)
		}
	})
}

// A process that is about to stop may work on for long, and there may be an outage
// meanwhile.
func TestRouter_TakesTheLabelAwayAfterAnOutageWhileItDrains(t *testing.T) {
	inBubble(t, func(w *world) {
		w.pods.Put("pod-a", "1", false)
		a := w.lead("pod-a")
		synctest.Wait()
		w.wantLabelled("at the beginning", "pod-a")
		w.pods.During(func(*routingtest.Request) error { return routingtest.Broken() })
		a.router.Withdraw()
		time.Sleep(time.Minute)
		w.pods.During(func(*routingtest.Request) error { return nil })
		time.Sleep(2 * time.Second)
		w.wantLabelled("after the outage")
		if !a.IsLeader() {
			t.Error("it does not lead any more")
		}
	})
}
