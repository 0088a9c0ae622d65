package metrics_test

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	clientleaderelection "k8s.io/client-go/tools/leaderelection"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/metrics"
)

func TestMain(m *testing.M) {
	clientleaderelection.SetProvider(theirs) // only the first in a process counts
	goleak.VerifyTestMain(m)
}

// theirs is what client-go's own metric says.
var theirs = &clientGauge{}

type clientGauge struct{ leads sync.Map }

func (g *clientGauge) NewLeaderMetric() clientleaderelection.LeaderMetric { return g }
func (g *clientGauge) On(name string)                                     { g.leads.Store(name, true) }
func (g *clientGauge) Off(name string)                                    { g.leads.Delete(name) }
func (g *clientGauge) SlowpathExercised(string)                           {}

// A scene is a server, and electors that are seen by one registry.
type scene struct {
	*testing.T
	server   *leaderelectiontest.Server
	metrics  *metrics.Metrics
	registry *prometheus.Registry
}

func play(t *testing.T, f func(s *scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &scene{T: t, server: leaderelectiontest.NewServer(), metrics: metrics.New(), registry: prometheus.NewPedanticRegistry()}
		t.Cleanup(s.server.Close)
		s.registry.MustRegister(s.metrics)
		f(s)
	})
}

// run runs an elector, which registers itself unless unseen, until stop is called.
func (s *scene) run(identity string, seen bool, edit ...func(*leaderelection.Config, *leaderelection.Callbacks)) (elector *leaderelection.Elector, stop func() error) {
	s.Helper()
	config := leaderelection.Config{Enabled: true, Identity: identity, LeaseName: "app", LeaseNamespace: "ns", ReleaseOnCancel: true}
	var callbacks leaderelection.Callbacks
	for _, f := range edit {
		f(&config, &callbacks)
	}
	var opts []leaderelection.Option
	if seen {
		opts = append(opts, s.metrics.Option())
	}
	elector, err := leaderelection.New(&config, s.server.Client(identity).Clientset(), callbacks, slog.New(slog.DiscardHandler), opts...)
	if err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = elector.Run(ctx)
	}()
	stop = func() error {
		cancel()
		<-done
		return err
	}
	s.Cleanup(func() { _ = stop() })
	return elector, stop
}

// values is what the registry gives: counters and gauges by name and labels, of
// histograms the count and the sum.
func (s *scene) values() map[string]float64 {
	s.Helper()
	synctest.Wait()
	families, err := s.registry.Gather()
	if err != nil {
		s.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			key := fmt.Sprintf("%s{%s}", strings.TrimPrefix(family.GetName(), "incumbent_leader_election_"), strings.Join(labels, ","))
			switch {
			case m.GetGauge() != nil:
				values[key] = m.GetGauge().GetValue()
			case m.GetCounter() != nil:
				values[key] = m.GetCounter().GetValue()
			default:
				values[key+".count"] = float64(m.GetHistogram().GetSampleCount())
				values[key+".sum"] = m.GetHistogram().GetSampleSum()
			}
		}
	}
	return values
}

// want checks some of the values of Lease ns/app; more stands for further labels.
func (s *scene) want(when string, want map[string]float64) {
	s.Helper()
	values := s.values()
	for short, w := range want {
		name, more, _ := strings.Cut(short, "/")
		more, part, histogram := strings.Cut(more, ".")
		labels := []string{"lease_name=app", "lease_namespace=ns"}
		if more != "" {
			labels = append(labels, strings.Split(more, ",")...)
		}
		slices.Sort(labels)
		key := fmt.Sprintf("%s{%s}", name, strings.Join(labels, ","))
		if histogram {
			key += "." + part
		}
		if got, ok := values[key]; !ok || got != w {
			s.Errorf("%s: %s = %v (there: %v), want %v", when, key, got, ok, w)
		}
	}
}

// What is not there yet cannot increase: the first increase would be missed.
func TestMetrics_EachReasonAndOriginIsThereBeforeItHappens(t *testing.T) {
	play(t, func(s *scene) {
		s.run("a", true)
		want := map[string]float64{}
		for _, reason := range []string{"cancelled", "stepped_down", "renewal_failed", "overtaken", "lease_deleted", "history_rewound"} {
			want["terms_ended_total/reason="+reason] = 0
		}
		for _, after := range []string{"released", "expired", "deleted", "own"} {
			want["terms_total/after="+after] = 0
		}
		s.want("in its first term", want)
	})
}

func TestMetrics_FollowATerm(t *testing.T) {
	play(t, func(s *scene) {
		elector, stop := s.run("a", true, func(_ *leaderelection.Config, callbacks *leaderelection.Callbacks) {
			callbacks.OnStartedLeading = func(ctx context.Context) {
				<-ctx.Done()
				time.Sleep(3 * time.Second)
			}
		})
		time.Sleep(time.Second)
		term, _ := elector.Term()
		s.want("leading", map[string]float64{
			"is_leader": 1, "term": float64(term.Token), "valid_seconds": 11, "window_seconds": 12, "enabled": 1, "running": 1, "stuck": 0, "watching": 1, "heir": 0,
			"last_contact_seconds": 1, "leader_changes_total": 1, "terms_total/after=none": 1, "terms_ended_total/reason=cancelled": 0,
			"overruns_total": 0, "request_duration_seconds/request=claim.count": 1,
		})
		stopped := make(chan error)
		go func() { stopped <- stop() }()
		time.Sleep(time.Second)
		s.want("stopping", map[string]float64{"is_leader": 0, "valid_seconds": 0, "running": 1})
		if err := <-stopped; err != nil {
			t.Fatal(err)
		}
		s.want("stopped", map[string]float64{
			"is_leader": 0, "valid_seconds": 0, "running": 0, "watching": 0, "terms_ended_total/reason=cancelled": 1,
			"stop_seconds/.count": 1, "stop_seconds/.sum": 3,
		})
		if _, there := s.values()["term{lease_name=app,lease_namespace=ns}"]; there {
			t.Error("the term is still there after it ended")
		}
	})
}

func TestMetrics_NoGaugeOutlivesItsTerm(t *testing.T) {
	play(t, func(s *scene) {
		s.run("a", true, func(_ *leaderelection.Config, callbacks *leaderelection.Callbacks) {
			callbacks.OnStartedLeading = func(ctx context.Context) { <-ctx.Done() }
		})
		time.Sleep(time.Second)
		s.want("leading", map[string]float64{"is_leader": 1})
		s.server.Client("a").Network().Cut(leaderelectiontest.Hang)
		for range 20 {
			time.Sleep(time.Second)
			values := s.values()
			if leading, valid := values["is_leader{lease_name=app,lease_namespace=ns}"], values["valid_seconds{lease_name=app,lease_namespace=ns}"]; (leading == 1) != (valid > 0) {
				t.Errorf("is_leader = %v with %v s of validity left", leading, valid)
			}
		}
		s.want("cut off", map[string]float64{
			"is_leader": 0, "terms_ended_total/reason=renewal_failed": 1, "failed_requests_total/request=renew,kind=no_answer_in_time": 5,
		})
	})
}

func TestMetrics_MeasureHandovers(t *testing.T) {
	play(t, func(s *scene) {
		_, stop := s.run("a", false)
		time.Sleep(time.Second)
		b, _ := s.run("b", true)
		time.Sleep(10 * time.Second)
		s.want("following", map[string]float64{"is_leader": 0, "heir": 1, "leader_changes_total": 1, "request_duration_seconds/request=nominate.count": 1})
		_ = stop()
		time.Sleep(time.Second)
		s.want("leading", map[string]float64{
			"is_leader": 1, "heir": 0, "leader_changes_total": 2, "terms_total/after=released": 1,
			"handover_seconds/after=released.count": 1, "handover_seconds/after=released.sum": 0,
		})
		if err := b.StepDown(s.Context()); err != nil {
			t.Fatal(err)
		}
		s.want("stepped down", map[string]float64{"terms_ended_total/reason=stepped_down": 1})
	})
}

func TestMetrics_CountWorkThatOverran(t *testing.T) {
	play(t, func(s *scene) {
		end := make(chan struct{})
		_, stop := s.run("a", true, func(c *leaderelection.Config, callbacks *leaderelection.Callbacks) {
			c.StopTimeout = time.Second
			callbacks.OnStartedLeading = func(context.Context) { <-end }
		})
		time.Sleep(time.Second)
		_ = stop()
		s.want("overran", map[string]float64{"overruns_total": 1, "stuck": 1, "is_leader": 0, "terms_ended_total/reason=cancelled": 1})
		close(end)
		s.want("at last", map[string]float64{"stuck": 0})
	})
}

func TestMetrics_SayThatTheElectionIsNotEnabled(t *testing.T) {
	play(t, func(s *scene) {
		s.run("a", true, func(c *leaderelection.Config, _ *leaderelection.Callbacks) { c.Enabled = false })
		values := s.values()
		for name, want := range map[string]float64{"enabled": 0, "is_leader": 1, "valid_seconds": math.Inf(1)} {
			if got, ok := values[name+"{lease_name=,lease_namespace=}"]; !ok || got != want {
				t.Errorf("%s = %v (there: %v), want %v", name, got, ok, want)
			}
		}
	})
}

func TestMetrics_OneServesManyElectorsAndNewOnesForAnOldLease(t *testing.T) {
	play(t, func(s *scene) {
		_, stop := s.run("a", true)
		s.run("b", true, func(c *leaderelection.Config, _ *leaderelection.Callbacks) { c.LeaseName = "other" })
		time.Sleep(time.Second)
		_ = stop()
		s.run("c", true)
		time.Sleep(time.Second)
		s.want("again", map[string]float64{"is_leader": 1, "terms_ended_total/reason=cancelled": 1, "leader_changes_total": 2})
		if got := s.values()["is_leader{lease_name=other,lease_namespace=ns}"]; got != 1 {
			t.Errorf("the other elector's is_leader = %v", got)
		}
		s.metrics.Forget("ns", "other")
		for key := range s.values() {
			if strings.Contains(key, "other") {
				t.Errorf("%s is not forgotten", key)
			}
		}
	})
}

func TestMetrics_ClientGosOwnGoesOnWorkingAndEndsWithTheTerm(t *testing.T) {
	play(t, func(s *scene) {
		_, stop := s.run("a", true)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if _, leads := theirs.leads.Load("app"); !leads {
			t.Error("client-go's metric says that nobody leads")
		}
		_ = stop()
		if _, leads := theirs.leads.Load("app"); leads {
			t.Error("client-go's metric says that we lead after the term")
		}
	})
}

// A process that begins one term and dies shows its first increase only beside a 0.
func TestMetrics_CountTermsFromZero(t *testing.T) {
	play(t, func(s *scene) {
		s.run("a", true)
		time.Sleep(time.Second)
		s.want("leading", map[string]float64{
			"terms_total/after=none": 1, "terms_total/after=released": 0, "terms_total/after=expired": 0,
			"terms_total/after=deleted": 0, "terms_total/after=own": 0,
		})
	})
}

// Each metric is told of in the package documentation, and nothing else is.
func TestMetrics_AreAllDocumented(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	descs := make(chan *prometheus.Desc, 100)
	metrics.New().Describe(descs)
	close(descs)
	var names []string
	for desc := range descs {
		name := strings.Split(desc.String(), `"`)[1]
		names = append(names, name)
		if !strings.Contains(string(text), "//	"+name+" ") {
			t.Errorf("doc.go does not tell of %s", name)
		}
	}
	if told := regexp.MustCompile(`(?m)^//\t(incumbent_\w+)   +`).FindAllStringSubmatch(string(text), -1); len(told) != len(names) {
		t.Errorf("doc.go tells of %d metrics, there are %d", len(told), len(names))
	}
}
