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
	clientleaderelection.SetProvider(clientGoMetric) // client-go accepts only the first provider of a process
	goleak.VerifyTestMain(m)
}

// clientGoMetric records the values of client-go's own metric.
var clientGoMetric = &clientGauge{}

type clientGauge struct{ leads sync.Map }

func (g *clientGauge) NewLeaderMetric() clientleaderelection.LeaderMetric { return g }
func (g *clientGauge) On(name string)                                     { g.leads.Store(name, true) }
func (g *clientGauge) Off(name string)                                    { g.leads.Delete(name) }
func (g *clientGauge) SlowpathExercised(string)                           {}

// A testCluster contains an in-memory API server, candidates, and one registry for the
// metrics of the candidates.
type testCluster struct {
	*testing.T
	server   *leaderelectiontest.Server
	metrics  *metrics.Metrics
	registry *prometheus.Registry
}

func inTestCluster(t *testing.T, f func(c *testCluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &testCluster{T: t, server: leaderelectiontest.NewServer(), metrics: metrics.New(), registry: prometheus.NewPedanticRegistry()}
		t.Cleanup(c.server.Close)
		c.registry.MustRegister(c.metrics)
		f(c)
	})
}

// run starts an Elector. The Elector runs until the returned function is called. If
// measured is true, the registry contains the metrics of the Elector.
func (c *testCluster) run(identity string, measured bool, edit ...func(*leaderelection.Config, *leaderelection.Callbacks)) (elector *leaderelection.Elector, stop func() error) {
	c.Helper()
	config := leaderelection.Config{Enabled: true, Identity: identity, LeaseName: "app", LeaseNamespace: "ns", ReleaseOnCancel: true}
	var callbacks leaderelection.Callbacks
	for _, f := range edit {
		f(&config, &callbacks)
	}
	var opts []leaderelection.Option
	if measured {
		opts = append(opts, c.metrics.Option())
	}
	elector, err := leaderelection.New(&config, c.server.Client(identity).Clientset(), callbacks, slog.New(slog.DiscardHandler), opts...)
	if err != nil {
		c.Fatal(err)
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
	c.Cleanup(func() { _ = stop() })
	return elector, stop
}

// values returns all exported values. Each key consists of the name and the labels of a
// metric. The label api_server and empty labels are omitted from the key. A histogram has
// two values: its count and its sum.
func (c *testCluster) values() map[string]float64 {
	c.Helper()
	synctest.Wait()
	families, err := c.registry.Gather()
	if err != nil {
		c.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				if l.GetName() != "api_server" && l.GetValue() != "" {
					labels = append(labels, l.GetName()+"="+l.GetValue())
				}
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

// want compares exported metrics of the Lease ns/app with expected values. Examples of
// keys are "is_leader", "terms_total/previous=none" and
// "handover_seconds/previous=released.sum". The labels lease_name and lease_namespace
// are omitted from the keys.
func (c *testCluster) want(when string, want map[string]float64) {
	c.Helper()
	values := c.values()
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
			c.Errorf("%s: %s = %v (exported: %v), want %v", when, key, got, ok, w)
		}
	}
}

// Prometheus does not count the first event of a counter that did not exist before this
// event.
func TestMetrics_ExportEachReasonAndOutcomeBeforeItsFirstEvent(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		c.run("a", true)
		want := map[string]float64{}
		for _, reason := range []string{"cancelled", "stepped_down", "renewal_failed", "overtaken", "lease_deleted", "history_rewound"} {
			want["terms_ended_total/reason="+reason] = 0
		}
		for _, previous := range []string{"released", "expired", "deleted", "own"} {
			want["terms_total/previous="+previous] = 0
		}
		c.want("in its first term", want)
	})
}

func TestMetrics_FollowATerm(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		elector, stop := c.run("a", true, func(_ *leaderelection.Config, callbacks *leaderelection.Callbacks) {
			callbacks.OnStartedLeading = func(ctx context.Context) {
				<-ctx.Done()
				time.Sleep(3 * time.Second)
			}
		})
		time.Sleep(time.Second)
		term, _ := elector.Term()
		c.want("leading", map[string]float64{
			"is_leader": 1, "term": float64(term.Token % (1 << 53)), "valid_seconds": 11, "window_seconds": 12, "enabled": 1, "running": 1, "stuck": 0, "watching": 1, "successor": 0,
			"last_contact_seconds": 1, "leader_changes_total": 1, "terms_total/previous=none": 1, "terms_ended_total/reason=cancelled": 0,
			"overruns_total": 0, "request_duration_seconds/request=claim.count": 1,
		})
		stopped := make(chan error)
		go func() { stopped <- stop() }()
		time.Sleep(time.Second)
		c.want("stopping", map[string]float64{"is_leader": 0, "valid_seconds": 0, "running": 1})
		if _, exported := c.values()["term{lease_name=app,lease_namespace=ns}"]; exported {
			t.Error("the metric term is still exported after the term ended")
		}
		if err := <-stopped; err != nil {
			t.Fatal(err)
		}
		c.want("stopped", map[string]float64{"terms_ended_total/reason=cancelled": 1, "stop_seconds/.count": 1, "stop_seconds/.sum": 3})
		if _, exported := c.values()["running{lease_name=app,lease_namespace=ns}"]; exported {
			t.Error("gauges are still exported after Run returned nil")
		}
	})
}

func TestMetrics_NoGaugeOutlivesItsTerm(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		c.run("a", true, func(_ *leaderelection.Config, callbacks *leaderelection.Callbacks) {
			callbacks.OnStartedLeading = func(ctx context.Context) { <-ctx.Done() }
		})
		time.Sleep(time.Second)
		c.want("leading", map[string]float64{"is_leader": 1})
		c.server.Client("a").Network().Cut(leaderelectiontest.Hang)
		for range 20 {
			time.Sleep(time.Second)
			values := c.values()
			if leading, valid := values["is_leader{lease_name=app,lease_namespace=ns}"], values["valid_seconds{lease_name=app,lease_namespace=ns}"]; (leading == 1) != (valid > 0) {
				t.Errorf("is_leader = %v with %v s of validity left", leading, valid)
			}
		}
		c.want("cut off", map[string]float64{
			"is_leader": 0, "terms_ended_total/reason=renewal_failed": 1, "failed_requests_total/request=renew,kind=no_answer_in_time": 5,
		})
	})
}

func TestMetrics_MeasureTheTimeOfAHandover(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		_, stop := c.run("a", false)
		time.Sleep(time.Second)
		b, _ := c.run("b", true)
		time.Sleep(10 * time.Second)
		c.want("following", map[string]float64{"is_leader": 0, "successor": 1, "leader_changes_total": 1, "request_duration_seconds/request=nominate.count": 1})
		_ = stop()
		time.Sleep(time.Second)
		c.want("leading", map[string]float64{
			"is_leader": 1, "successor": 0, "leader_changes_total": 2, "terms_total/previous=released": 1,
			"handover_seconds/previous=released.count": 1, "handover_seconds/previous=released.sum": 0,
		})
		if err := b.StepDown(c.Context()); err != nil {
			t.Fatal(err)
		}
		c.want("stepped down", map[string]float64{"terms_ended_total/reason=stepped_down": 1})
	})
}

func TestMetrics_CountCallbacksThatDidNotReturnInTime(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		returned := make(chan struct{})
		_, stop := c.run("a", true, func(c *leaderelection.Config, callbacks *leaderelection.Callbacks) {
			c.StopTimeout = time.Second
			callbacks.OnStartedLeading = func(context.Context) { <-returned }
		})
		time.Sleep(time.Second)
		_ = stop()
		c.want("overran", map[string]float64{"overruns_total": 1, "stuck": 1, "is_leader": 0, "running": 0, "terms_ended_total/reason=cancelled": 1})
		close(returned)
		c.want("after the callback returned", map[string]float64{"stuck": 0})
	})
}

func TestMetrics_ReportThatTheElectionIsNotEnabled(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		c.run("a", true, func(c *leaderelection.Config, _ *leaderelection.Callbacks) { c.Enabled, c.AllowDisabled = false, true })
		values := c.values()
		for name, want := range map[string]float64{"enabled": 0, "is_leader": 1, "valid_seconds": math.Inf(1)} {
			if got, ok := values[name+"{}"]; !ok || got != want {
				t.Errorf("%s = %v (exported: %v), want %v", name, got, ok, want)
			}
		}
	})
}

func TestMetrics_ServeSeveralElectorsAndReplaceOneForTheSameLease(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		_, stop := c.run("a", true)
		c.run("b", true, func(c *leaderelection.Config, _ *leaderelection.Callbacks) { c.LeaseName = "other" })
		time.Sleep(time.Second)
		_ = stop()
		c.run("c", true)
		time.Sleep(time.Second)
		c.want("with the second elector", map[string]float64{"is_leader": 1, "terms_ended_total/reason=cancelled": 1, "leader_changes_total": 2})
		if got := c.values()["is_leader{lease_name=other,lease_namespace=ns}"]; got != 1 {
			t.Errorf("the other elector's is_leader = %v", got)
		}
		c.metrics.Forget("ns", "other")
		for key := range c.values() {
			if strings.Contains(key, "other") {
				t.Errorf("%s is still exported after Forget", key)
			}
		}
	})
}

func TestMetrics_ClientGosMetricWorksAndIsZeroAfterTheTerm(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		_, stop := c.run("a", true)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if _, leads := clientGoMetric.leads.Load("app"); !leads {
			t.Error("client-go's metric is 0 in a term")
		}
		_ = stop()
		if _, leads := clientGoMetric.leads.Load("app"); leads {
			t.Error("client-go's metric is 1 after the term")
		}
	})
}

// If a process crashes in its first term, the counter of terms increases only once.
// Prometheus counts this increase only if the counter was 0 before.
func TestMetrics_CountTermsFromZero(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		c.run("a", true)
		time.Sleep(time.Second)
		c.want("leading", map[string]float64{
			"terms_total/previous=none": 1, "terms_total/previous=released": 0, "terms_total/previous=expired": 0,
			"terms_total/previous=deleted": 0, "terms_total/previous=own": 0,
		})
	})
}

// The package documentation must list exactly the exported metrics.
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
			t.Errorf("doc.go does not document %s", name)
		}
	}
	if documented := regexp.MustCompile(`(?m)^//\t(incumbent_\w+)   +`).FindAllStringSubmatch(string(text), -1); len(documented) != len(names) {
		t.Errorf("doc.go documents %d metrics, want %d", len(documented), len(names))
	}
}
