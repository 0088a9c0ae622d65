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

func TestNew_NamesEverythingThatIsWrong(t *testing.T) {
	for _, name := range []string{"POD_NAMESPACE", "POD_NAME", "POD_UID"} {
		t.Setenv(name, "")
	}
	_, err := routing.New(routing.Label{Key: "a b", Value: "c d", Patience: -1}, nil, nil)
	for _, want := range []string{`"a b" is no key`, `"c d" is no value`, "set POD_NAME and POD_NAMESPACE", "Patience (-1ns)", "the clientset is nil"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want it to say %q", err, want)
		}
	}
}

func TestNew_RefusesWhatNoServiceSelectsAndNoPodIsCalled(t *testing.T) {
	good := routing.Label{Key: "example.com/leader", Value: "true", PodNamespace: "ns", PodName: "my-app-0.x"}
	for want, change := range map[string]func(*routing.Label){
		"": func(*routing.Label) {},
		`Value ("") must not be empty: "true" will do`:   func(l *routing.Label) { l.Value = "" },
		`PodName ("p q") is no name of a Pod`:            func(l *routing.Label) { l.PodName = "p q" },
		`PodNamespace ("n.s") is no name of a namespace`: func(l *routing.Label) { l.PodNamespace = "n.s" },
	} {
		label := good
		change(&label)
		_, err := routing.New(label, fake.NewClientset(), nil)
		if (want == "") != (err == nil) || err != nil && (strings.Count(err.Error(), "\n") > 0 || !strings.Contains(err.Error(), want)) {
			t.Errorf("%+v: %v, want it to say %q", label, err, want)
		}
	}
}

func TestRouter_TakesTheLabelAwayBeforeTheReleaseThoughARequestFails(t *testing.T) {
	ends := map[string]func(w *world, p *process) error{
		"cancelled":     func(_ *world, p *process) error { return p.stop() },
		"stepping down": func(w *world, p *process) error { return p.StepDown(w.Context()) },
	}
	fails := map[string]error{
		"broken": routingtest.Broken(),
		// An admission policy says so of itself, with the field that it is about, and so does
		// an API server that has just started.
		"invalid": apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Pod").GroupKind(), "pod-a",
			field.ErrorList{field.Forbidden(field.NewPath("metadata", "labels"), "not ready to evaluate")}),
		"forbidden": apierrors.NewForbidden(corev1.Resource("pods"), "pod-a", errors.New("not yet ready to handle request")),
	}
	for name, end := range ends {
		for how, failure := range fails {
			t.Run(name+", "+how, func(t *testing.T) { takesTheLabelAway(t, failure, end) })
		}
	}
}

func takesTheLabelAway(t *testing.T, failure error, end func(*world, *process) error) {
	inBubble(t, func(w *world) {
		w.pods.Put("pod-a", "1", false)
		p := w.lead("pod-a")
		synctest.Wait()
		w.wantLabelled("while it leads", "pod-a")
		began := time.Now()
		w.pods.During(func(r *routingtest.Request) error {
			if holder := w.holder(); r.Removes && holder != "pod-a" {
				w.Errorf("the label is taken away when the Lease is held by %q", holder)
			}
			if time.Since(began) < 3*time.Second {
				return failure
			}
			return nil
		})
		if err := end(w, p); err != nil {
			w.Error(err)
		}
		w.wantLabelled("after the release")
		if w.holder() != "" {
			w.Errorf("the Lease is held by %q after the stop", w.holder())
		}
	})
}

// What a term has learned of failures must not silence the next one.
func TestRouter_TellsInEachTermThatTheLabelIsNotRight(t *testing.T) {
	inBubble(t, func(w *world) {
		w.pods.During(func(*routingtest.Request) error { return routingtest.Broken() })
		p := w.lead("pod-a")
		time.Sleep(time.Minute)
		w.must(p.StepDown(w.Context()))
		p.awaitTerm(w)
		synctest.Wait()
		if told := p.told("not right yet"); len(told) != 2 {
			w.Errorf("in two terms it was told: %q", told)
		}
	})
}

// What a term has learned of its Pod stays.
func TestRouter_LabelsInEachTerm(t *testing.T) {
	inBubble(t, func(w *world) {
		w.pods.Put("pod-a", "1", false)
		p := w.lead("pod-a")
		synctest.Wait()
		w.wantLabelled("in the first term", "pod-a")
		for _, end := range []func(){
			func() { w.must(p.StepDown(w.Context())) },
			func() { w.give("somebody"); time.Sleep(margin / 2) },
			func() { w.must(p.stop()); w.run(p) },
		} {
			end()
			w.wantLabelled("after a term")
			p.awaitTerm(w)
			synctest.Wait()
			w.wantLabelled("in the next term", "pod-a")
		}
		w.must(p.StepDown(w.Context()))
		w.pods.Put("pod-a", "2", false) // its successor, while this process outlives its Pod
		p.awaitTerm(w)
		time.Sleep(routePace)
		w.wantLabelled("in a term after that of the Pod")
	})
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Error(err)
	}
}

func TestRouter_DelaysNoCallback(t *testing.T) {
	inBubble(t, func(w *world) {
		w.pods.Put("pod-a", "1", false)
		w.pods.During(func(*routingtest.Request) error { time.Sleep(time.Minute); return nil })
		var began, told, stopped time.Time
		p := w.campaign("pod-a", func(p *process) {
			p.callbacks.OnStartedLeading = func(ctx context.Context) {
				began = time.Now()
				<-ctx.Done()
				told = time.Now()
			}
			p.callbacks.OnStoppedLeading = func() { stopped = time.Now() }
		})
		synctest.Wait()
		if term, _ := p.Term(); !began.Equal(term.AcquiredAt) {
			w.Errorf("the work began %v after the claim was sent", began.Sub(term.AcquiredAt))
		}
		if err := p.stop(); err != nil {
			w.Error(err)
		}
		if took := stopped.Sub(told); took != 0 {
			w.Errorf("OnStoppedLeading was called %v after the work returned", took)
		}
		if took := time.Since(told); took != 5*time.Second {
			w.Errorf("Run returned %v after the end, want five seconds", took)
		}
		time.Sleep(2 * time.Minute)
	})
}

func TestRouter_AStopDoesNotWaitForItForEver(t *testing.T) {
	denied := func() error { return apierrors.NewForbidden(corev1.Resource("pods"), "pod-a", nil) }
	for name, tc := range map[string]struct {
		stopTimeout time.Duration
		failure     func() error
		always      bool
		most        time.Duration
	}{
		"for ever":                {0, routingtest.Broken, false, 5 * time.Second},
		"a minute":                {time.Minute, routingtest.Broken, false, 5 * time.Second},
		"a short one":             {2 * time.Second, routingtest.Broken, false, time.Second},
		"without the rights":      {time.Minute, denied, true, 0},
		"the rights were revoked": {time.Minute, denied, false, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.pods.Put("pod-a", "1", false)
				fail := func(*routingtest.Request) error { return tc.failure() }
				if tc.always {
					w.pods.During(fail)
				}
				p := w.lead("pod-a", func(p *process) { p.config.StopTimeout = tc.stopTimeout })
				synctest.Wait()
				w.pods.During(fail)
				asked := time.Now()
				if err := p.stop(); err != nil || w.holder() != "" {
					w.Errorf("Run returned %v with the Lease held by %q, want nil and nobody", err, w.holder())
				}
				if took := time.Since(asked); took > tc.most {
					w.Errorf("the stop took %v, want %v at most", took, tc.most)
				}
				if len(p.told("label stays until the next leader")) != 1 {
					w.Error("it is not told that the label stays")
				}
			})
		})
	}
}

func TestRouter_DelaysNothingAfterALoss(t *testing.T) {
	hangs := func(*routingtest.Request) error { time.Sleep(10 * time.Second); return nil }
	fails := func(*routingtest.Request) error { return routingtest.Broken() }
	for name, meet := range map[string]func(*routingtest.Request) error{"requests hang": hangs, "requests fail": fails} {
		t.Run(name+", while it leads", func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.pods.Put("pod-a", "1", false)
				p := w.lead("pod-a")
				synctest.Wait()
				w.pods.During(meet)
				w.give("somebody")
				synctest.Wait()
				lost := time.Now()
				if err := p.stop(); err != nil || time.Since(lost) > margin/4 {
					w.Errorf("the term was over %v after the loss, and Run returned %v", time.Since(lost), err)
				}
				time.Sleep(10 * time.Second)
			})
		})
		t.Run(name+", when the work does not stop", func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.pods.Put("pod-a", "1", false)
				release := make(chan struct{})
				p := w.lead("pod-a", func(p *process) {
					p.callbacks.OnStartedLeading = func(context.Context) { <-release }
				})
				synctest.Wait()
				w.pods.During(meet)
				w.give("somebody")
				synctest.Wait()
				lost := time.Now()
				<-p.done
				if took := time.Since(lost); took > margin || !errors.Is(p.err, leaderelection.ErrWorkStillRunning) {
					w.Errorf("Run returned %v %v after the loss", p.err, took)
				}
				close(release)
				time.Sleep(10 * time.Second)
			})
		})
		t.Run(name+", after its work has stopped", func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.pods.Put("pod-a", "1", false)
				p := w.lead("pod-a")
				synctest.Wait()
				w.pods.During(meet)
				p.cancel()
				time.Sleep(time.Second)
				select {
				case <-p.done:
					w.Fatal("the label was given up within a second")
				default:
				}
				w.give("somebody")
				lost := time.Now()
				<-p.done
				if took := time.Since(lost); took > margin/2 || p.err != nil {
					w.Errorf("Run returned %v %v after the loss", p.err, took)
				}
				time.Sleep(10 * time.Second)
			})
		})
	}
}

// The Lease can be read, and not be written: that is a loss, too, when trust ends.
func TestRouter_DelaysNothingWhenTheLeaseCannotBeRenewedAnyMore(t *testing.T) {
	inBubble(t, func(w *world) {
		w.pods.Put("pod-a", "1", false)
		p := w.lead("pod-a")
		synctest.Wait()
		w.server.Client("pod-a").Deny("update")
		w.pods.During(func(*routingtest.Request) error { return routingtest.Broken() })
		time.Sleep(trustWindow / 2)
		if err := p.stop(); err != nil {
			w.Errorf("all work has stopped, and Run returned %v", err)
		}
		if held := p.HeldFor(); held != 0 {
			w.Errorf("HeldFor is %v after Run", held)
		}
	})
}

// One Router may serve several Electors: each has terms of its own.
func TestRouter_ServesSeveralElectors(t *testing.T) {
	inBubble(t, func(w *world) {
		w.pods.Put("pod-a", "1", false)
		p := w.lead("pod-a")
		second := &process{config: p.config, router: p.router}
		second.config.LeaseName, second.config.Identity = "another", "pod-a"
		var err error
		second.Elector, err = leaderelection.New(&second.config, w.server.Client("pod-a").Clientset(), leaderelection.Callbacks{}, nil, p.router.Option())
		if err != nil {
			t.Fatal(err)
		}
		w.run(second)
		second.awaitTerm(w)
		synctest.Wait()
		w.wantLabelled("while both lead", "pod-a")
		p.router.Withdraw()
		synctest.Wait()
		w.wantLabelled("after it was withdrawn")
		for _, e := range []*process{p, second} {
			if err := e.stop(); err != nil {
				w.Error(err)
			}
		}
	})
}

func TestRouter_WithdrawTakesTheLabelAwayWhileItLeads(t *testing.T) {
	inBubble(t, func(w *world) {
		w.pods.Put("pod-a", "1", false)
		p := w.lead("pod-a")
		synctest.Wait()
		w.wantLabelled("while it leads", "pod-a")
		p.router.Withdraw()
		time.Sleep(routePace)
		w.wantLabelled("after Withdraw")
		if !p.IsLeader() {
			w.Error("it does not lead any more")
		}
		w.must(p.StepDown(w.Context()))
		p.awaitTerm(w)
		synctest.Wait()
		w.wantLabelled("in the next term", "pod-a")
		w.must(p.stop())
		p.router.Withdraw() // of a term that is over: nothing happens
	})
}

func TestRouter_LabelsWithoutAnElection(t *testing.T) {
	inBubble(t, func(w *world) {
		w.pods.Put("pod-a", "1", false)
		p := w.lead("pod-a", func(p *process) { p.config.Enabled = false })
		synctest.Wait()
		w.wantLabelled("while it leads", "pod-a")
		broken := time.Now().Add(2 * time.Second)
		w.pods.During(func(*routingtest.Request) error {
			if time.Now().Before(broken) {
				return routingtest.Broken()
			}
			return nil
		})
		w.must(p.stop())
		w.wantLabelled("after the stop")
	})
}
