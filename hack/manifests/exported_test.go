package manifests

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/metrics"
)

const exported = "testdata/exported.txt"

var update = flag.Bool("update", false, "rewrite "+exported)

// The file testdata/exported.txt must list the metrics that Electors export. The tests in
// hack/promcheck compare the alerts and the dashboard with this file instead of package
// metrics, because the module hack/promcheck does not import this package.
func TestExported_ListsWhatElectorsExport(t *testing.T) {
	found := series{}
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		a, b := newCandidate(t, server, "a"), newCandidate(t, server, "b")
		a.start()
		time.Sleep(10 * time.Second)
		b.start()
		time.Sleep(10 * time.Second)
		found.add(t, a.registry) // some metrics exist only while candidate a leads
		a.client.Network().Cut(leaderelectiontest.Hang)
		time.Sleep(time.Minute) // candidate b leads
		a.client.Network().Heal()
		time.Sleep(time.Minute) // candidate a follows, and becomes the successor
		b.stop()
		time.Sleep(time.Minute) // candidate a leads
		a.stop()
		synctest.Wait()
		found.add(t, a.registry)
		found.add(t, b.registry)
		descs := make(chan *prometheus.Desc, 1000)
		a.metrics.Describe(descs)
		close(descs)
		for desc := range descs {
			if name := strings.Split(desc.String(), `"`)[1]; found[name] == nil {
				t.Errorf("%s is described, but this test does not export it", name)
			}
		}
	})
	text := found.text()
	if *update {
		if err := os.WriteFile(exported, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	recorded, err := os.ReadFile(exported)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(recorded), text); diff != "" {
		t.Errorf("-%s, +exported (go test ./hack/manifests -run Exported -update rewrites it):\n%s", exported, diff)
	}
}

// A candidate is an Elector with its own Prometheus registry.
type candidate struct {
	client      *leaderelectiontest.Client
	metrics     *metrics.Metrics
	registry    *prometheus.Registry
	start, stop func()
}

func newCandidate(t *testing.T, server *leaderelectiontest.Server, identity string) *candidate {
	t.Helper()
	s := &candidate{client: server.Client(identity), metrics: metrics.New(), registry: prometheus.NewPedanticRegistry()}
	s.registry.MustRegister(s.metrics)
	config := &leaderelection.Config{Enabled: true, Identity: identity, LeaseName: "app", LeaseNamespace: "ns", ReleaseOnCancel: true}
	elector, err := leaderelection.New(config, s.client.Clientset(), leaderelection.Callbacks{}, slog.New(slog.DiscardHandler), s.metrics.Option())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	s.start = func() { go func() { done <- elector.Run(ctx) }() }
	s.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	return s
}

// A series maps the name of each metric to the metric's type, labels and label values.
type series map[string]*metric

type metric struct {
	kind   string
	labels map[string]map[string]bool
}

func (s series) add(t *testing.T, registry *prometheus.Registry) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		m := s[family.GetName()]
		if m == nil {
			m = &metric{strings.ToLower(family.GetType().String()), map[string]map[string]bool{}}
			s[family.GetName()] = m
		}
		for _, sample := range family.GetMetric() {
			for _, label := range sample.GetLabel() {
				if m.labels[label.GetName()] == nil {
					m.labels[label.GetName()] = map[string]bool{}
				}
				m.labels[label.GetName()][label.GetValue()] = true
			}
		}
	}
}

// text returns one line for each metric, with its type, name, labels and label values. It
// omits the values of labels that identify the Elector or the kind of a failure, because
// this test cannot produce all of these values.
func (s series) text() string {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&text, "%s %s", s[name].kind, name)
		for _, label := range slices.Sorted(maps.Keys(s[name].labels)) {
			fmt.Fprintf(&text, " %s", label)
			if !slices.Contains([]string{"api_server", "lease_namespace", "lease_name", "elector"}, label) && !strings.Contains(name, "_failed_") {
				fmt.Fprintf(&text, "=%s", strings.Join(slices.Sorted(maps.Keys(s[name].labels[label])), ","))
			}
		}
		text.WriteString("\n")
	}
	return text.String()
}
