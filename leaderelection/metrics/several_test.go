package metrics_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/metrics"
)

// series returns the values of a metric, with the values of the labels that identify the
// Elector. The label values are joined by spaces.
func (c *testCluster) series(name string) map[string]float64 {
	c.Helper()
	families, err := c.registry.Gather()
	if err != nil {
		c.Fatal(err)
	}
	series := map[string]float64{}
	for _, family := range families {
		if family.GetName() != "incumbent_leader_election_"+name {
			continue
		}
		for _, m := range family.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			key := strings.TrimSpace(strings.Join([]string{labels["api_server"], labels["lease_namespace"], labels["lease_name"], labels["elector"]}, " "))
			series[key] += m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return series
}

func (c *testCluster) wantSeries(when, name string, want map[string]float64) {
	c.Helper()
	got := c.series(name)
	ok := len(got) == len(want)
	for key, value := range want {
		ok = ok && got[key] == value
	}
	if !ok {
		c.Errorf("%s: %s has %v, want %v", when, name, got, want)
	}
}

// runOn runs an Elector with the given options until stop is called.
func (c *testCluster) runOn(client *leaderelectiontest.Client, config *leaderelection.Config, opts ...leaderelection.Option) (elector *leaderelection.Elector, stop func() error) {
	c.Helper()
	elector, err := leaderelection.New(config, client.Clientset(), leaderelection.Callbacks{}, slog.New(slog.DiscardHandler), opts...)
	if err != nil {
		c.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- elector.Run(ctx) }()
	return elector, func() error {
		cancel()
		return <-done
	}
}

func configOf(identity string) *leaderelection.Config {
	return &leaderelection.Config{Enabled: true, Identity: identity, LeaseName: "app", LeaseNamespace: "ns", ReleaseOnCancel: true}
}

func hostOf(s *leaderelectiontest.Server) string {
	return strings.TrimPrefix(s.Client("a").Config().Host, "http://")
}

// stopAll calls all functions and reports their errors.
func (c *testCluster) stopAll(stops ...func() error) {
	c.Helper()
	for _, stop := range stops {
		if err := stop(); err != nil {
			c.Error(err)
		}
	}
}

func TestMetrics_DistinguishLeasesOfOneNameInTwoClusters(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		west, option := leaderelectiontest.NewServer(), c.metrics.Option()
		defer west.Close()
		_, stopOther := c.runOn(west.Client("b"), configOf("b"))
		time.Sleep(time.Second)
		_, stopEast := c.runOn(c.server.Client("a"), configOf("a"), option)
		_, stopWest := c.runOn(west.Client("a"), configOf("a"), option)
		time.Sleep(time.Second)
		inEast, inWest := hostOf(c.server)+" ns app", hostOf(west)+" ns app"
		c.wantSeries("leading in one of two clusters", "is_leader", map[string]float64{inEast: 1, inWest: 0})
		c.wantSeries("leading in one of two clusters", "terms_total", map[string]float64{inEast: 1, inWest: 0})
		c.stopAll(stopEast, stopWest, stopOther)
		c.metrics.Forget("ns", "app", west.Client("a").Config().Host)
		c.wantSeries("one cluster is forgotten", "terms_total", map[string]float64{inEast: 1})
		c.metrics.Forget("ns", "app")
		c.wantSeries("the other is forgotten", "terms_total", nil)
	})
}

// Two Electors with different identities are an error of the program. Nevertheless, each
// of them must be visible.
func TestMetrics_DistinguishTwoElectorsForOneLease(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		lease := hostOf(c.server) + " ns app"
		_, stopA := c.runOn(c.server.Client("a"), configOf("a"), c.metrics.Option())
		time.Sleep(time.Second)
		_, stopB := c.runOn(c.server.Client("b"), configOf("b"), c.metrics.Option())
		time.Sleep(time.Second)
		c.wantSeries("a leads", "is_leader", map[string]float64{lease: 1, lease + " 2": 0})
		c.wantSeries("a leads", "leader_changes_total", map[string]float64{lease: 1, lease + " 2": 1})
		c.stopAll(stopA)
		time.Sleep(time.Second)
		c.wantSeries("b leads", "is_leader", map[string]float64{lease + " 2": 1})
		c.wantSeries("b leads", "terms_total", map[string]float64{lease: 1, lease + " 2": 1})
		_, stopC := c.runOn(c.server.Client("c"), configOf("c"), c.metrics.Option())
		time.Sleep(time.Second)
		c.wantSeries("c follows", "is_leader", map[string]float64{lease: 0, lease + " 2": 1})
		c.wantSeries("c follows", "terms_total", map[string]float64{lease: 1, lease + " 2": 1})
		c.stopAll(stopC, stopB)
	})
}

func TestMetrics_DistinguishElectionsThatAreNotEnabled(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		_, stopA := c.runOn(c.server.Client("a"), &leaderelection.Config{}, c.metrics.Option())
		_, stopB := c.runOn(c.server.Client("b"), &leaderelection.Config{}, c.metrics.Option())
		time.Sleep(time.Second)
		c.wantSeries("two lead without a Lease", "is_leader", map[string]float64{"": 1, "2": 1})
		c.wantSeries("two lead without a Lease", "terms_total", map[string]float64{"": 1, "2": 1})
		c.stopAll(stopA, stopB)
	})
}

func TestMetrics_OneOptionServesSeveralElectors(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		option, first := c.metrics.Option(), c.server.Client("first")
		first.Network().Cut(leaderelectiontest.Refuse)
		var stops []func() error
		for lease, client := range map[string]*leaderelectiontest.Client{"first": first, "second": c.server.Client("second")} {
			config := configOf("a")
			config.LeaseName = lease
			_, stop := c.runOn(client, config, option)
			stops = append(stops, stop)
		}
		time.Sleep(time.Minute)
		server := hostOf(c.server)
		c.wantSeries("the first is cut off", "is_leader", map[string]float64{server + " ns first": 0, server + " ns second": 1})
		if failures := c.series("failed_requests_total"); len(failures) != 1 || failures[server+" ns first"] == 0 {
			t.Errorf("failed requests: %v, want some of ns/first", failures)
		}
		c.stopAll(stops...)
	})
}

func TestMetrics_CountersContinueInTheNextRun(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		lease := hostOf(c.server) + " ns app"
		for i := range 3 {
			_, stop := c.runOn(c.server.Client("a"), configOf("a"), c.metrics.Option())
			time.Sleep(time.Second)
			c.wantSeries("leading", "terms_total", map[string]float64{lease: float64(i + 1)})
			c.wantSeries("leading", "running", map[string]float64{lease: 1})
			c.stopAll(stop)
			c.wantSeries("ended", "running", nil)
			c.wantSeries("ended", "terms_ended_total", map[string]float64{lease: float64(i + 1)})
		}
	})
}

// An Elector that stopped with an error must not vanish from the metrics.
func TestMetrics_ShowAnElectorAfterAnErrorUntilTheNextRuns(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		lease := hostOf(c.server) + " ns app"
		_, stopOther := c.runOn(c.server.Client("other"), configOf("a"))
		time.Sleep(time.Second)
		_, stop := c.runOn(c.server.Client("a"), configOf("a"), c.metrics.Option())
		time.Sleep(time.Minute)
		if err := stop(); !errors.Is(err, leaderelection.ErrIdentityInUse) {
			t.Errorf("Run = %v, want ErrIdentityInUse", err)
		}
		c.stopAll(stopOther)
		c.wantSeries("after the error", "running", map[string]float64{lease: 0})
		_, stop = c.runOn(c.server.Client("a"), configOf("a2"), c.metrics.Option())
		time.Sleep(time.Minute)
		c.wantSeries("the next elector runs", "running", map[string]float64{lease: 1})
		c.stopAll(stop)
		c.wantSeries("the next elector has ended", "running", nil)
	})
}

// In each scrape, the gauges of an Elector must agree with each other.
func TestMetrics_GaugesAgree(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		client := c.server.Client("a")
		elector, stop := c.runOn(client, configOf("a"), c.metrics.Option())
		time.Sleep(time.Second)
		client.Network().Cut(leaderelectiontest.Hang)
		for range 1500 {
			time.Sleep(10 * time.Millisecond)
			values := c.values()
			leading := values["is_leader{lease_name=app,lease_namespace=ns}"] == 1
			_, term := values["term{lease_name=app,lease_namespace=ns}"]
			valid := values["valid_seconds{lease_name=app,lease_namespace=ns}"] > 0
			if leading != term || leading != valid || leading != elector.IsLeader() || leading != elector.State().Leading {
				t.Fatalf("is_leader %t, term exported %t, valid %t; the elector leads: %t", leading, term, valid, elector.IsLeader())
			}
		}
		client.Network().Heal()
		c.stopAll(stop)
	})
}

func TestMetrics_ForgetRemovesEachMetric(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		_, stop := c.runOn(c.server.Client("a"), configOf("a"), c.metrics.Option())
		time.Sleep(time.Second)
		c.metrics.Forget("ns", "app", "http://another.invalid")
		c.wantSeries("another cluster is forgotten", "is_leader", map[string]float64{hostOf(c.server) + " ns app": 1})
		c.stopAll(stop)
		c.metrics.Forget("ns", "app")
		if left := c.values(); len(left) != 0 {
			t.Errorf("after Forget, %v is left", left)
		}
		metrics.New().Forget("ns", "app") // an unknown Lease
	})
}

func TestMetrics_HaveTheSameLabelsEverywhere(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		_, stop := c.runOn(c.server.Client("a"), configOf("a"), c.metrics.Option())
		time.Sleep(time.Second)
		families, err := c.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			for _, m := range family.GetMetric() {
				var names []string
				for _, l := range m.GetLabel() {
					names = append(names, l.GetName())
				}
				for _, name := range []string{"api_server", "elector", "lease_name", "lease_namespace"} {
					if !slices.Contains(names, name) {
						t.Errorf("%s has the labels %v, not %s", family.GetName(), names, name)
					}
				}
			}
		}
		c.stopAll(stop)
	})
}
