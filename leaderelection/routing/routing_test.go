package routing_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/routing"
	"github.com/haproxy-template-ic/incumbent/leaderelection/routing/routingtest"
)

func TestNew_ReturnsAllProblemsInOneError(t *testing.T) {
	for _, name := range []string{"POD_NAMESPACE", "POD_NAME", "POD_UID"} {
		t.Setenv(name, "")
	}
	_, err := routing.New(routing.Label{Key: "a b", Value: "c d", RemoveTimeout: -1}, nil, nil)
	for _, want := range []string{`Key ("a b") must be valid`, `Value ("c d") must be valid`, "set POD_NAME and POD_NAMESPACE", "RemoveTimeout (-1ns)", "clientset is nil"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want it to contain %q", err, want)
		}
	}
}

func TestNew_RefusesAnEmptyValueAndInvalidNames(t *testing.T) {
	good := routing.Label{Key: "example.com/leader", Value: "true", PodNamespace: "ns", PodName: "my-app-0.x"}
	for want, change := range map[string]func(*routing.Label){
		"": func(*routing.Label) {},
		`Value ("") must not be empty: use "true", for example`: func(l *routing.Label) { l.Value = "" },
		`PodName ("p q") must be the name of a Pod`:             func(l *routing.Label) { l.PodName = "p q" },
		`PodNamespace ("n.s") must be the name of a namespace`:  func(l *routing.Label) { l.PodNamespace = "n.s" },
	} {
		label := good
		change(&label)
		_, err := routing.New(label, fake.NewClientset(), nil)
		if (want == "") != (err == nil) || err != nil && (strings.Count(err.Error(), "\n") > 0 || !strings.Contains(err.Error(), want)) {
			t.Errorf("%+v: %v, want it to contain %q", label, err, want)
		}
	}
}

func TestRouter_RemovesTheLabelBeforeTheReleaseThoughRequestsFail(t *testing.T) {
	ends := map[string]func(c *testCluster, p *candidate) error{
		"cancelled":     func(_ *testCluster, p *candidate) error { return p.stop() },
		"stepping down": func(_ *testCluster, p *candidate) error { return stepDown(p) },
	}
	fails := map[string]error{
		"server error": routingtest.ServerError(),
		// An admission policy or an API server that has just started can return the next
		// two errors.
		"invalid": apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Pod").GroupKind(), "pod-a",
			field.ErrorList{field.Forbidden(field.NewPath("metadata", "labels"), "not ready to evaluate")}),
		"forbidden": apierrors.NewForbidden(corev1.Resource("pods"), "pod-a", errors.New("not yet ready to handle request")),
	}
	for name, end := range ends {
		for how, failure := range fails {
			t.Run(name+", "+how, func(t *testing.T) { removesTheLabel(t, failure, end) })
		}
	}
}

func removesTheLabel(t *testing.T, failure error, end func(*testCluster, *candidate) error) {
	inTestCluster(t, func(c *testCluster) {
		c.pods.Put("pod-a", "1", false)
		p := c.lead("pod-a")
		synctest.Wait()
		c.wantLabelled("while it leads", "pod-a")
		began := time.Now()
		c.pods.Intercept(func(r *routingtest.Request) error {
			if holder := c.holder(); r.Removes && holder != "pod-a" {
				c.Errorf("the label is removed when the Lease is held by %q", holder)
			}
			if time.Since(began) < 3*time.Second {
				return failure
			}
			return nil
		})
		if err := end(c, p); err != nil {
			c.Error(err)
		}
		c.wantLabelled("after the release")
		if c.holder() != "" {
			c.Errorf("the Lease is held by %q after the stop", c.holder())
		}
	})
}

func TestRouter_LogsTheFirstFailureOfEachTerm(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		c.pods.Intercept(func(*routingtest.Request) error { return routingtest.ServerError() })
		p := c.lead("pod-a")
		time.Sleep(time.Minute)
		c.must(stepDown(p))
		p.awaitTerm(c)
		synctest.Wait()
		if lines := p.logged("not up to date"); len(lines) != 2 {
			c.Errorf("two terms logged %q, want one line each", lines)
		}
	})
}

// The Router remembers two facts across terms: the UID of the Pod, and whether a leader
// set the label.
func TestRouter_LabelsThePodInEachTerm(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		c.pods.Put("pod-a", "1", false)
		p := c.lead("pod-a")
		synctest.Wait()
		c.wantLabelled("in the first term", "pod-a")
		for _, term := range []struct{ end, runAgain func() }{
			{func() { c.must(stepDown(p)) }, func() {}},
			{func() { c.overtake("other"); time.Sleep(margin / 2) }, func() {}},
			{func() { c.must(p.stop()) }, func() { c.run(p) }},
		} {
			term.end()
			c.wantLabelled("after a term")
			term.runAgain()
			p.awaitTerm(c)
			synctest.Wait()
			c.wantLabelled("in the next term", "pod-a")
		}
		c.must(stepDown(p))
		c.pods.Put("pod-a", "2", false) // a new Pod replaces pod-a, but the process of the earlier Pod still runs
		p.awaitTerm(c)
		time.Sleep(checkPeriod)
		c.wantLabelled("in a term after the Pod was deleted")
	})
}

func (c *testCluster) must(err error) {
	c.Helper()
	if err != nil {
		c.Error(err)
	}
}

func TestRouter_DelaysNoCallback(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		c.pods.Put("pod-a", "1", false)
		c.pods.Intercept(func(*routingtest.Request) error { time.Sleep(time.Minute); return nil })
		var started, cancelled, stopped time.Time
		p := c.campaign("pod-a", func(p *candidate) {
			p.callbacks.OnStartedLeading = func(ctx context.Context) {
				started = time.Now()
				<-ctx.Done()
				cancelled = time.Now()
			}
			p.callbacks.OnStoppedLeading = func() { stopped = time.Now() }
		})
		synctest.Wait()
		if term, _ := p.Term(); !started.Equal(term.AcquiredAt) {
			c.Errorf("OnStartedLeading was called %v after the claim was sent", started.Sub(term.AcquiredAt))
		}
		if err := p.stop(); err != nil {
			c.Error(err)
		}
		if took := stopped.Sub(cancelled); took != 0 {
			c.Errorf("OnStoppedLeading was called %v after OnStartedLeading returned", took)
		}
		if took := time.Since(cancelled); took != 5*time.Second {
			c.Errorf("Run returned %v after the end, want five seconds", took)
		}
		time.Sleep(2 * time.Minute)
	})
}

func TestRouter_AStopRetriesTheRemovalForALimitedTime(t *testing.T) {
	denied := func() error { return apierrors.NewForbidden(corev1.Resource("pods"), "pod-a", nil) }
	for name, tc := range map[string]struct {
		stopTimeout time.Duration
		failure     func() error
		always      bool
		most        time.Duration
	}{
		"no StopTimeout":          {0, routingtest.ServerError, false, 5 * time.Second},
		"StopTimeout of a minute": {time.Minute, routingtest.ServerError, false, 5 * time.Second},
		"short StopTimeout":       {2 * time.Second, routingtest.ServerError, false, time.Second},
		"without the rights":      {time.Minute, denied, true, 0},
		"the rights were revoked": {time.Minute, denied, false, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inTestCluster(t, func(c *testCluster) {
				c.pods.Put("pod-a", "1", false)
				fail := func(*routingtest.Request) error { return tc.failure() }
				if tc.always {
					c.pods.Intercept(fail)
				}
				p := c.lead("pod-a", func(p *candidate) { p.config.StopTimeout = tc.stopTimeout })
				synctest.Wait()
				c.pods.Intercept(fail)
				stopStarted := time.Now()
				if err := p.stop(); err != nil || c.holder() != "" {
					c.Errorf("Run returned %v with the Lease held by %q, want nil and no holder", err, c.holder())
				}
				if took := time.Since(stopStarted); took > tc.most {
					c.Errorf("the stop took %v, want %v at most", took, tc.most)
				}
				if len(p.logged("label stays until the next leader")) != 1 {
					c.Error("it is not logged once that the label stays")
				}
			})
		})
	}
}

func TestRouter_DoesNotDelayTheEndOfALostTerm(t *testing.T) {
	hangs := func(*routingtest.Request) error { time.Sleep(10 * time.Second); return nil }
	fails := func(*routingtest.Request) error { return routingtest.ServerError() }
	for name, intercept := range map[string]func(*routingtest.Request) error{"requests hang": hangs, "requests fail": fails} {
		t.Run(name+", while it leads", func(t *testing.T) {
			inTestCluster(t, func(c *testCluster) {
				c.pods.Put("pod-a", "1", false)
				p := c.lead("pod-a")
				synctest.Wait()
				c.pods.Intercept(intercept)
				c.overtake("other")
				synctest.Wait()
				lost := time.Now()
				if err := p.stop(); err != nil || time.Since(lost) > margin/4 {
					c.Errorf("the term was over %v after the loss, and Run returned %v", time.Since(lost), err)
				}
				time.Sleep(10 * time.Second)
			})
		})
		t.Run(name+", when OnStartedLeading does not return", func(t *testing.T) {
			inTestCluster(t, func(c *testCluster) {
				c.pods.Put("pod-a", "1", false)
				returned := make(chan struct{})
				p := c.lead("pod-a", func(p *candidate) {
					p.callbacks.OnStartedLeading = func(context.Context) { <-returned }
				})
				synctest.Wait()
				c.pods.Intercept(intercept)
				c.overtake("other")
				synctest.Wait()
				lost := time.Now()
				<-p.done
				if took := time.Since(lost); took > margin || !errors.Is(p.err, leaderelection.ErrWorkStillRunning) {
					c.Errorf("Run returned %v %v after the loss", p.err, took)
				}
				close(returned)
				time.Sleep(10 * time.Second)
			})
		})
		t.Run(name+", after OnStartedLeading has returned", func(t *testing.T) {
			inTestCluster(t, func(c *testCluster) {
				c.pods.Put("pod-a", "1", false)
				p := c.lead("pod-a")
				synctest.Wait()
				c.pods.Intercept(intercept)
				p.cancel()
				time.Sleep(time.Second)
				select {
				case <-p.done:
					c.Fatal("the removal of the label was not retried for a second")
				default:
				}
				c.overtake("other")
				lost := time.Now()
				<-p.done
				if took := time.Since(lost); took > margin/2 || p.err != nil {
					c.Errorf("Run returned %v %v after the loss", p.err, took)
				}
				time.Sleep(10 * time.Second)
			})
		})
	}
}

// If the Lease can be read but not written, the Elector loses its term when the trust
// window ends.
func TestRouter_DoesNotDelayTheEndWhenTheLeaseCannotBeRenewed(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		c.pods.Put("pod-a", "1", false)
		p := c.lead("pod-a")
		synctest.Wait()
		c.server.Client("pod-a").Deny("update")
		c.pods.Intercept(func(*routingtest.Request) error { return routingtest.ServerError() })
		time.Sleep(trustWindow / 2)
		if err := p.stop(); err != nil {
			c.Errorf("Run returned %v though OnStartedLeading has returned", err)
		}
		if held := p.HeldFor(); held != 0 {
			c.Errorf("HeldFor is %v after Run", held)
		}
	})
}

// Several Electors can share one Router. Each Elector has its own terms.
func TestRouter_ServesSeveralElectors(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		c.pods.Put("pod-a", "1", false)
		p := c.lead("pod-a")
		second := &candidate{config: p.config, router: p.router}
		second.config.LeaseName, second.config.Identity = "another", "pod-a"
		var err error
		second.Elector, err = leaderelection.New(&second.config, c.server.Client("pod-a").Clientset(), leaderelection.Callbacks{}, nil, p.router.Option())
		if err != nil {
			t.Fatal(err)
		}
		c.run(second)
		second.awaitTerm(c)
		synctest.Wait()
		c.wantLabelled("while both lead", "pod-a")
		p.router.Withdraw()
		synctest.Wait()
		c.wantLabelled("after Withdraw")
		for _, e := range []*candidate{p, second} {
			if err := e.stop(); err != nil {
				c.Error(err)
			}
		}
	})
}

// The leaders of two Leases would remove the label from each other.
func TestRouter_ReportsThatItIsUsedForSeveralLeases(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		c.pods.Put("pod-a", "1", false)
		p := c.lead("pod-a")
		config := p.config
		for want, lease := range []string{config.LeaseName, "other"} {
			config.LeaseName = lease
			if _, err := leaderelection.New(&config, c.server.Client("pod-a").Clientset(), leaderelection.Callbacks{}, nil, p.router.Option()); err != nil {
				c.Fatal(err)
			}
			if got := len(p.logged("ERROR", "several Leases", "other")); got != want {
				c.Errorf("after New for Lease %q there are %d log lines, want %d", lease, got, want)
			}
		}
		c.must(p.stop())
	})
}

func TestRouter_WithdrawRemovesTheLabelWhileItLeads(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		c.pods.Put("pod-a", "1", false)
		p := c.lead("pod-a")
		synctest.Wait()
		c.wantLabelled("while it leads", "pod-a")
		p.router.Withdraw()
		time.Sleep(checkPeriod)
		c.wantLabelled("after Withdraw")
		if !p.IsLeader() {
			c.Error("it does not lead anymore")
		}
		c.must(stepDown(p))
		p.awaitTerm(c)
		synctest.Wait()
		c.wantLabelled("in the next term", "pod-a")
		c.must(p.stop())
		p.router.Withdraw() // has no effect, because the term has ended
	})
}

func TestRouter_LabelsWithoutAnElection(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		c.pods.Put("pod-a", "1", false)
		p := c.lead("pod-a", func(p *candidate) { p.config.Enabled, p.config.AllowDisabled = false, true })
		synctest.Wait()
		c.wantLabelled("while it leads", "pod-a")
		outageEnd := time.Now().Add(2 * time.Second)
		c.pods.Intercept(func(*routingtest.Request) error {
			if time.Now().Before(outageEnd) {
				return routingtest.ServerError()
			}
			return nil
		})
		c.must(p.stop())
		c.wantLabelled("after the stop")
	})
}

// stepDown waits until the term of p has ended, however long its work takes to stop.
func stepDown(p *candidate) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	return p.StepDown(ctx)
}
