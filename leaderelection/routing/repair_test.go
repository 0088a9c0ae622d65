package routing_test

import (
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/haproxy-template-ic/incumbent/leaderelection/routing/routingtest"
)

func TestRouter_ALateRequestDoesNotSetTheLabelAfterTheStop(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		c.pods.Put("pod-a", "1", false)
		c.pods.Put("pod-b", "2", false)
		late := make(chan struct{})
		c.pods.Intercept(func(r *routingtest.Request) error {
			if r.Sets && r.Name == "pod-a" {
				r.Late = true
				<-late
			}
			return nil
		})
		a := c.lead("pod-a")
		synctest.Wait()
		if err := a.stop(); err != nil {
			c.Error(err)
		}
		c.lead("pod-b")
		synctest.Wait()
		close(late)
		synctest.Wait()
		c.wantLabelled("after the late request", "pod-b")
	})
}

func TestRouter_RepairsLabelsWhileItLeads(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		c.pods.Put("pod-a", "1", false)
		c.pods.Put("pod-b", "2", true)
		c.lead("pod-a")
		synctest.Wait()
		c.wantLabelled("at the start", "pod-a")
		c.pods.Edit("pod-b", true)
		time.Sleep(checkPeriod)
		c.wantLabelled("after a late request of pod-b", "pod-a")
		c.pods.Edit("pod-a", false)
		time.Sleep(checkPeriod)
		c.wantLabelled("after the label was removed by hand", "pod-a")
		lists, patches := c.pods.Requests("GET"), c.pods.Requests("PATCH")
		time.Sleep(5 * time.Minute)
		if n := c.pods.Requests("PATCH") - patches; n > 0 {
			c.Errorf("%d patches though all labels were right", n)
		}
		if n := c.pods.Requests("GET") - lists; n < 10 || n > 30 {
			c.Errorf("%d lists in five minutes, want 10 to 30", n)
		}
	})
}

func TestRouter_SettingAndRemovingDoNotWaitForEachOther(t *testing.T) {
	t.Run("without its own Pod", func(t *testing.T) {
		inTestCluster(t, func(c *testCluster) {
			c.pods.Put("pod-b", "2", true)
			p := c.lead("pod-a")
			synctest.Wait()
			c.wantLabelled("with a wrong POD_NAME")
			if len(p.logged("not up to date", `\"pod-a\" not found`)) != 1 {
				c.Error("it is not logged once that the Pod is not found")
			}
			time.Sleep(5 * time.Minute)
			if n := c.pods.Requests("PATCH"); n > 40 {
				c.Errorf("%d patches of a missing Pod in five minutes, want 40 at most", n)
			}
			c.pods.Put("pod-a", "1", false)
			time.Sleep(checkPeriod)
			c.wantLabelled("after the Pod was created", "pod-a")
		})
	})
	t.Run("without the right to list", func(t *testing.T) {
		inTestCluster(t, func(c *testCluster) {
			c.pods.Put("pod-a", "1", false)
			c.pods.Put("pod-b", "2", true)
			c.pods.Intercept(func(r *routingtest.Request) error {
				if r.Method == "GET" {
					return apierrors.NewForbidden(corev1.Resource("pods"), "", nil)
				}
				return nil
			})
			c.lead("pod-a")
			synctest.Wait()
			c.wantLabelled("without a list of Pods", "pod-a", "pod-b")
		})
	})
}

func TestRouter_ALaterPodOfTheSameNameIsNotItsOwn(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		c.pods.Put("pod-a", "1", false)
		p := c.lead("pod-a")
		synctest.Wait()
		c.pods.Put("pod-a", "2", true) // a new Pod replaces pod-a, but the process of the earlier Pod still runs
		time.Sleep(checkPeriod)
		c.wantLabelled("in the term of the earlier Pod")
		c.pods.Put("pod-a", "3", true)
		if err := p.stop(); err != nil {
			c.Error(err)
		}
		c.wantLabelled("after the stop of the earlier Pod", "pod-a")
	})
}

func TestRouter_RetriesAConflictAtOnce(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		c.pods.Put("pod-a", "1", false)
		edited := false
		c.pods.Intercept(func(r *routingtest.Request) error {
			if r.Sets && !edited {
				edited = true
				c.pods.Edit("pod-a", false) // the edit changes the resourceVersion of the Pod
			}
			return nil
		})
		p := c.lead("pod-a")
		synctest.Wait()
		c.wantLabelled("after a conflict", "pod-a")
		if lines := p.logged("Leader label"); len(lines) > 0 {
			c.Errorf("the log contains %q, want nothing", lines)
		}
	})
}

// A process may drain for a long time, and the API server may be unreachable during this
// time.
func TestRouter_RemovesTheLabelAfterAnOutageWhileTheProcessDrains(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		c.pods.Put("pod-a", "1", false)
		a := c.lead("pod-a")
		synctest.Wait()
		c.wantLabelled("at the start", "pod-a")
		c.pods.Intercept(func(*routingtest.Request) error { return routingtest.ServerError() })
		a.router.Withdraw()
		time.Sleep(time.Minute)
		c.pods.Intercept(func(*routingtest.Request) error { return nil })
		time.Sleep(2 * time.Second)
		c.wantLabelled("after the outage")
		if !a.IsLeader() {
			t.Error("it does not lead anymore")
		}
	})
}
