package manager_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/manager"
)

// routePace is how long it takes at most until a leader has looked at the labels.
const routePace = 31 * time.Second

func wantLabelled(t *testing.T, api *podAPI, when string, want ...string) {
	t.Helper()
	if got := api.labelled(); !slices.Equal(got, want) {
		t.Errorf("%s: labelled are %q, want %q", when, got, want)
	}
}

func TestLeaderLabel_IsTakenAwayBeforeTheReleaseThoughARequestFails(t *testing.T) {
	ends := map[string]func(t *testing.T, p *process) error{
		"cancelled": func(_ *testing.T, p *process) error { return p.stop() },
		"stepping down": func(t *testing.T, p *process) error {
			if err := p.elector().StepDown(t.Context()); err != nil {
				return err
			}
			<-p.done
			if !errors.Is(p.err, leaderelection.ErrSteppedDown) {
				return p.err
			}
			return nil
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			inMemory(t, func(t *testing.T, m memory) {
				api := newPodAPI()
				api.put("pod-a", "1", false)
				p := m.routed(t, "pod-a", api, 20*time.Second)
				synctest.Wait()
				wantLabelled(t, api, "while it leads", "pod-a")
				began := time.Now()
				api.during(func(r *podRequest) error {
					if holder := m.holder(); r.removes() && holder != "pod-a" {
						t.Errorf("the label is taken away when the Lease is held by %q", holder)
					}
					if time.Since(began) < 3*time.Second {
						return broken()
					}
					return nil
				})
				if err := end(t, p); err != nil {
					t.Error(err)
				}
				wantLabelled(t, api, "after the release")
				if m.holder() != "" {
					t.Errorf("the Lease is held by %q after the stop", m.holder())
				}
			})
		})
	}
}

func TestLeaderLabel_AStopDoesNotWaitForItForEver(t *testing.T) {
	denied := func() error { return apierrors.NewForbidden(corev1.Resource("pods"), "pod-a", nil) }
	for name, tc := range map[string]struct {
		grace   time.Duration
		failure func() error
		most    time.Duration
	}{
		"for ever":           {forEver, broken, 5 * time.Second},
		"a minute":           {time.Minute, broken, 5 * time.Second},
		"a short grace":      {2 * time.Second, broken, time.Second},
		"without the rights": {time.Minute, denied, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, func(t *testing.T, m memory) {
				api := newPodAPI()
				api.put("pod-a", "1", false)
				p := m.routed(t, "pod-a", api, tc.grace)
				synctest.Wait()
				api.during(func(*podRequest) error { return tc.failure() })
				asked := time.Now()
				if err := p.stop(); err != nil || m.holder() != "" {
					t.Errorf("Start returned %v with the Lease held by %q, want nil and nobody", err, m.holder())
				}
				if took := time.Since(asked); took > tc.most {
					t.Errorf("the stop took %v, want %v at most", took, tc.most)
				}
				if len(p.logs.with("label stays until the next leader")) != 1 {
					t.Error("it is not told that the label stays")
				}
			})
		})
	}
}

func TestLeaderLabel_DelaysNothingAfterALoss(t *testing.T) {
	hangs := func(*podRequest) error { time.Sleep(10 * time.Second); return nil }
	fails := func(*podRequest) error { return broken() }
	for name, meet := range map[string]func(*podRequest) error{"requests hang": hangs, "requests fail": fails} {
		t.Run(name+", while it leads", func(t *testing.T) {
			inMemory(t, func(t *testing.T, m memory) {
				api := newPodAPI()
				api.put("pod-a", "1", false)
				w := newWorker(0)
				p := m.routed(t, "pod-a", api, time.Minute, w)
				synctest.Wait()
				api.during(meet)
				m.give("somebody")
				<-w.cancelled
				lost := time.Now()
				<-p.done
				if took := time.Since(lost); took > margin/4 || errors.Is(p.err, leaderelection.ErrWorkStillRunning) {
					t.Errorf("Start returned %v %v after the loss", p.err, took)
				}
				time.Sleep(10 * time.Second)
			})
		})
		t.Run(name+", after its work has stopped", func(t *testing.T) {
			inMemory(t, func(t *testing.T, m memory) {
				api := newPodAPI()
				api.put("pod-a", "1", false)
				w := newWorker(0)
				p := m.routed(t, "pod-a", api, time.Minute, w)
				synctest.Wait()
				api.during(meet)
				p.cancel()
				<-w.returned
				time.Sleep(time.Second)
				if closed(p.done) {
					t.Fatal("the label was given up within a second")
				}
				m.give("somebody")
				lost := time.Now()
				<-p.done
				if took := time.Since(lost); took > margin/2 || errors.Is(p.err, leaderelection.ErrWorkStillRunning) {
					t.Errorf("Start returned %v %v after the loss", p.err, took)
				}
				time.Sleep(10 * time.Second)
			})
		})
	}
}

func TestLeaderLabel_IsGivenUpInAStopDuringWhichTheAPIServerFallsSilent(t *testing.T) {
	inMemory(t, func(t *testing.T, m memory) {
		api := newPodAPI()
		api.put("pod-a", "1", false)
		p := m.routed(t, "pod-a", api, time.Minute)
		synctest.Wait()
		api.during(func(*podRequest) error { time.Sleep(10 * time.Second); return nil })
		m.Client("pod-a").Network().Cut(hang)
		time.Sleep(trustWindow / 2)
		asked := time.Now()
		if err := p.stop(); err != nil || time.Since(asked) > trustWindow/2+margin*3/4 {
			t.Errorf("Start returned %v after %v, want nil before others may claim the Lease", err, time.Since(asked))
		}
		time.Sleep(10 * time.Second)
	})
}

func TestLeaderLabel_ALateRequestDoesNotSetItAfterTheStop(t *testing.T) {
	inMemory(t, func(t *testing.T, m memory) {
		api := newPodAPI()
		api.put("pod-a", "1", false)
		api.put("pod-b", "2", false)
		late := make(chan struct{})
		api.during(func(r *podRequest) error {
			if r.sets() && r.name == "pod-a" {
				r.late = true
				<-late
			}
			return nil
		})
		a := m.routed(t, "pod-a", api, forEver)
		synctest.Wait()
		if err := a.stop(); err != nil {
			t.Error(err)
		}
		m.routed(t, "pod-b", api, forEver)
		synctest.Wait()
		close(late)
		synctest.Wait()
		wantLabelled(t, api, "after the late request", "pod-b")
	})
}

func TestLeaderLabel_IsPutRightWhileItLeads(t *testing.T) {
	inMemory(t, func(t *testing.T, m memory) {
		api := newPodAPI()
		api.put("pod-a", "1", false)
		api.put("pod-b", "2", true)
		m.routed(t, "pod-a", api, forEver)
		synctest.Wait()
		wantLabelled(t, api, "at the beginning", "pod-a")
		api.edit("pod-b", true)
		time.Sleep(routePace)
		wantLabelled(t, api, "after a late request of pod-b", "pod-a")
		api.edit("pod-a", false)
		time.Sleep(routePace)
		wantLabelled(t, api, "after somebody took it away", "pod-a")
		lists, patches := api.asked("GET"), api.asked("PATCH")
		time.Sleep(5 * time.Minute)
		if n := api.asked("PATCH") - patches; n > 0 {
			t.Errorf("%d patches though all was right", n)
		}
		if n := api.asked("GET") - lists; n < 10 || n > 30 {
			t.Errorf("%d lists in five minutes, want 10 to 30", n)
		}
	})
}

func TestLeaderLabel_SettingAndTakingAwayDoNotWaitForEachOther(t *testing.T) {
	t.Run("without its own Pod", func(t *testing.T) {
		inMemory(t, func(t *testing.T, m memory) {
			api := newPodAPI()
			api.put("pod-b", "2", true)
			p := m.routed(t, "pod-a", api, forEver)
			synctest.Wait()
			wantLabelled(t, api, "though POD_NAME is wrong")
			if len(p.logs.with("not right yet", `\"pod-a\" not found`)) != 1 {
				t.Error("it is not told that the Pod is not found")
			}
			time.Sleep(5 * time.Minute)
			if n := api.asked("PATCH"); n > 40 {
				t.Errorf("%d patches of a Pod that is not there in five minutes", n)
			}
			api.put("pod-a", "1", false)
			time.Sleep(routePace)
			wantLabelled(t, api, "once the Pod is there", "pod-a")
		})
	})
	t.Run("without the right to list", func(t *testing.T) {
		inMemory(t, func(t *testing.T, m memory) {
			api := newPodAPI()
			api.put("pod-a", "1", false)
			api.put("pod-b", "2", true)
			api.during(func(r *podRequest) error {
				if r.method == "GET" {
					return apierrors.NewForbidden(corev1.Resource("pods"), "", nil)
				}
				return nil
			})
			m.routed(t, "pod-a", api, forEver)
			synctest.Wait()
			wantLabelled(t, api, "though nothing is listed", "pod-a", "pod-b")
		})
	})
}

func TestLeaderLabel_APodOfTheSameNameIsNotItsOwn(t *testing.T) {
	inMemory(t, func(t *testing.T, m memory) {
		api := newPodAPI()
		api.put("pod-a", "1", false)
		p := m.routed(t, "pod-a", api, forEver)
		synctest.Wait()
		api.put("pod-a", "2", true) // its successor, while this process outlives its Pod
		time.Sleep(routePace)
		wantLabelled(t, api, "in the term of the Pod before")
		api.put("pod-a", "3", true)
		if err := p.stop(); err != nil {
			t.Error(err)
		}
		wantLabelled(t, api, "after the stop of the Pod before", "pod-a")
	})
}

func TestLeaderLabel_AConflictIsTriedAgainAtOnce(t *testing.T) {
	inMemory(t, func(t *testing.T, m memory) {
		api := newPodAPI()
		api.put("pod-a", "1", false)
		touched := false
		api.during(func(r *podRequest) error {
			if r.sets() && !touched {
				touched = true
				api.edit("pod-a", false) // as the kubelet writes the status
			}
			return nil
		})
		p := m.routed(t, "pod-a", api, forEver)
		synctest.Wait()
		wantLabelled(t, api, "after a conflict", "pod-a")
		if lines := p.logs.with("leader's label"); len(lines) > 0 {
			t.Errorf("it is told: %q", lines)
		}
	})
}

func TestLeaderLabel_GoesToTheClusterThatThePodIsIn(t *testing.T) {
	inMemory(t, func(t *testing.T, m memory) {
		election, pods := newPodAPI(), newPodAPI()
		pods.put("pod-a", "1", false)
		create := func(config *rest.Config) newManager {
			return func(cfg *rest.Config, opts crmanager.Options) (crmanager.Manager, error) {
				opts.LeaderElectionConfig = election.behind(cfg)
				cfg.Host = "http://elsewhere.invalid"
				return manager.New(cfg, opts, manager.WithIdentity("pod-a"), manager.WithLeaderLabel(manager.LeaderLabel{
					Key: leaderKey, Value: "yes", PodNamespace: "default", PodName: "pod-a", Config: config}))
			}
		}
		_, err := create(nil)(m.Client("pod-a").Config(), managerOptions("default", &logs{}))
		if err == nil || !strings.Contains(err.Error(), "http://elsewhere.invalid") || !strings.Contains(err.Error(), "set LeaderLabel.Config") {
			t.Errorf("two clusters and none named for the Pod: %v", err)
		}
		start(t, m.make("pod-a", create(pods.behind(m.Client("pod-a").Config()))))
		time.Sleep(time.Second)
		wantLabelled(t, pods, "in the cluster of the Pods", "pod-a")
		if n := election.asked("PATCH") + election.asked("GET"); n > 0 {
			t.Errorf("%d requests for Pods went to the Lease's cluster", n)
		}
	})
}
