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
	"github.com/haproxy-template-ic/incumbent/leaderelection/routing/routingtest"
	"github.com/haproxy-template-ic/incumbent/manager"
)

func newPods() *routingtest.Pods { return routingtest.NewPods(leaderKey, "yes") }

func wantLabelled(t *testing.T, api *routingtest.Pods, when string, want ...string) {
	t.Helper()
	if got := api.Labelled(); !slices.Equal(got, want) {
		t.Errorf("%s: the labelled Pods are %q, want %q", when, got, want)
	}
}

func TestLeaderLabel_IsRemovedBeforeTheReleaseAlthoughARequestFails(t *testing.T) {
	ends := map[string]func(t *testing.T, p *process) error{
		"cancelled": func(_ *testing.T, p *process) error { return p.stop() },
		"stepping down": func(t *testing.T, p *process) error {
			if err := stepDown(p.elector()); err != nil {
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
			runInMemory(t, func(t *testing.T, m memory) {
				api := newPods()
				api.Put("pod-a", "1", false)
				p := m.routed(t, "pod-a", api, 20*time.Second)
				synctest.Wait()
				wantLabelled(t, api, "while it leads", "pod-a")
				began := time.Now()
				api.Intercept(func(r *routingtest.Request) error {
					if holder := m.holder(); r.Removes && holder != "pod-a" {
						t.Errorf("the label is removed while the Lease is held by %q", holder)
					}
					if time.Since(began) < 3*time.Second {
						return routingtest.ServerError()
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

func TestLeaderLabel_IsRemovedWhenTheManagerBeginsToStop(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		api := newPods()
		api.Put("pod-a", "1", false)
		w := newWorker(10 * time.Second)
		p := m.routed(t, "pod-a", api, forEver, w)
		synctest.Wait()
		wantLabelled(t, api, "while it leads", "pod-a")
		p.cancel()
		<-w.cancelled
		synctest.Wait()
		wantLabelled(t, api, "while its work stops")
		if m.holder() != "pod-a" || closed(w.returned) {
			t.Errorf("the Lease is held by %q, and that the work has returned is %v", m.holder(), closed(w.returned))
		}
	})
}

func TestLeaderLabel_RemovalDelaysAStopForALimitedTime(t *testing.T) {
	denied := func() error { return apierrors.NewForbidden(corev1.Resource("pods"), "pod-a", nil) }
	for name, tc := range map[string]struct {
		grace   time.Duration
		failure func() error
		always  bool
		most    time.Duration
	}{
		"for ever":           {forEver, routingtest.ServerError, false, 5 * time.Second},
		"a minute":           {time.Minute, routingtest.ServerError, false, 5 * time.Second},
		"a short grace":      {2 * time.Second, routingtest.ServerError, false, time.Second},
		"without the rights": {time.Minute, denied, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			runInMemory(t, func(t *testing.T, m memory) {
				api := newPods()
				api.Put("pod-a", "1", false)
				fail := func(*routingtest.Request) error { return tc.failure() }
				if tc.always {
					api.Intercept(fail)
				}
				p := m.routed(t, "pod-a", api, tc.grace)
				synctest.Wait()
				api.Intercept(fail)
				asked := time.Now()
				if err := p.stop(); err != nil || m.holder() != "" {
					t.Errorf("Start returned %v with the Lease held by %q, want nil and no holder", err, m.holder())
				}
				if took := time.Since(asked); took > tc.most {
					t.Errorf("the stop took %v, want %v at most", took, tc.most)
				}
				if len(p.logs.with("label stays until the next leader")) != 1 {
					t.Error("the log does not report that the label remains")
				}
			})
		})
	}
}

func TestLeaderLabel_DelaysNothingAfterALoss(t *testing.T) {
	hangs := func(*routingtest.Request) error { time.Sleep(10 * time.Second); return nil }
	fails := func(*routingtest.Request) error { return routingtest.ServerError() }
	for name, meet := range map[string]func(*routingtest.Request) error{"requests hang": hangs, "requests fail": fails} {
		t.Run(name+", while it leads", func(t *testing.T) {
			runInMemory(t, func(t *testing.T, m memory) {
				api := newPods()
				api.Put("pod-a", "1", false)
				w := newWorker(0)
				p := m.routed(t, "pod-a", api, time.Minute, w)
				synctest.Wait()
				api.Intercept(meet)
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
			runInMemory(t, func(t *testing.T, m memory) {
				api := newPods()
				api.Put("pod-a", "1", false)
				w := newWorker(0)
				p := m.routed(t, "pod-a", api, time.Minute, w)
				synctest.Wait()
				api.Intercept(meet)
				p.cancel()
				<-w.returned
				time.Sleep(time.Second)
				if closed(p.done) {
					t.Fatal("the removal of the label was abandoned within a second")
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

func TestLeaderLabel_RemovalIsAbandonedIfTheAPIServerStopsResponding(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		api := newPods()
		api.Put("pod-a", "1", false)
		p := m.routed(t, "pod-a", api, time.Minute)
		synctest.Wait()
		api.Intercept(func(*routingtest.Request) error { time.Sleep(10 * time.Second); return nil })
		m.Client("pod-a").Network().Cut(hang)
		time.Sleep(trustWindow / 2)
		asked := time.Now()
		if err := p.stop(); err != nil || time.Since(asked) > trustWindow/2+margin*3/4 {
			t.Errorf("Start returned %v after %v, want nil before others may claim the Lease", err, time.Since(asked))
		}
		time.Sleep(10 * time.Second)
	})
}

func TestLeaderLabel_IsSetInTheClusterOfThePod(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		election, pods := newPods(), newPods()
		pods.Put("pod-a", "1", false)
		create := func(config *rest.Config) newManager {
			return func(cfg *rest.Config, opts crmanager.Options) (crmanager.Manager, error) {
				opts.LeaderElectionConfig = election.Config(cfg)
				cfg.Host = "http://elsewhere.invalid"
				return manager.New(cfg, opts, manager.WithIdentity("pod-a"), manager.WithLeaderLabel(manager.LeaderLabel{
					Key: leaderKey, Value: "yes", PodNamespace: "default", PodName: "pod-a", Config: config}))
			}
		}
		_, err := create(nil)(m.Client("pod-a").Config(), managerOptions("default", &logs{}))
		if err == nil || !strings.Contains(err.Error(), "http://elsewhere.invalid") || !strings.Contains(err.Error(), "set LeaderLabel.Config") {
			t.Errorf("two clusters and none named for the Pod: %v", err)
		}
		start(t, m.make("pod-a", create(pods.Config(m.Client("pod-a").Config()))))
		time.Sleep(time.Second)
		wantLabelled(t, pods, "in the cluster of the Pods", "pod-a")
		if n := election.Requests("PATCH") + election.Requests("GET"); n > 0 {
			t.Errorf("%d requests for Pods went to the Lease's cluster", n)
		}
	})
}

// routed starts a Manager with a leader label, and waits until the Manager leads. The
// given name is both the name of the Pod and the identity in the Lease.
func (m memory) routed(t *testing.T, name string, api *routingtest.Pods, grace time.Duration, runnables ...crmanager.Runnable) *process {
	t.Helper()
	label := manager.WithLeaderLabel(manager.LeaderLabel{Key: leaderKey, Value: "yes", PodNamespace: "default", PodName: name})
	create := func(cfg *rest.Config, opts crmanager.Options) (crmanager.Manager, error) {
		return manager.New(api.Config(cfg), opts, manager.WithIdentity(name), label)
	}
	p := m.make(name, create, func(o *crmanager.Options) { o.GracefulShutdownTimeout = &grace })
	for _, r := range runnables {
		if err := p.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	start(t, p)
	<-p.Elected()
	return p
}
