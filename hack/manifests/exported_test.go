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

var update = flag.Bool("update", false, "write "+exported+" anew")

// hack/promcheck compares alerts and panels with that file, for it has Prometheus'
// parser and none of our packages.
func TestExported_IsWhatElectorsExport(t *testing.T) {
	seen := series{}
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		a, b := newSubject(t, server, "a"), newSubject(t, server, "b")
		a.start()
		time.Sleep(10 * time.Second)
		b.start()
		time.Sleep(10 * time.Second)
		seen.add(t, a.registry) // some are there only while it leads
		a.client.Network().Cut(leaderelectiontest.Hang)
		time.Sleep(time.Minute) // b leads
		a.client.Network().Heal()
		time.Sleep(time.Minute) // a follows, and becomes the heir
		b.stop()
		time.Sleep(time.Minute) // a leads
		a.stop()
		synctest.Wait()
		seen.add(t, a.registry)
		seen.add(t, b.registry)
		descs := make(chan *prometheus.Desc, 1000)
		a.metrics.Describe(descs)
		close(descs)
		for desc := range descs {
			if name := strings.Split(desc.String(), `"`)[1]; seen[name] == nil {
				t.Errorf("%s is described, but nothing that was done here exports it", name)
			}
		}
	})
	text := seen.text()
	if *update {
		if err := os.WriteFile(exported, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	told, err := os.ReadFile(exported)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(told), text); diff != "" {
		t.Errorf("-%s, +exported (go test ./hack/manifests -run Exported -update writes it anew):\n%s", exported, diff)
	}
}

// A subject is an elector whose metrics are looked at.
type subject struct {
	client      *leaderelectiontest.Client
	metrics     *metrics.Metrics
	registry    *prometheus.Registry
	start, stop func()
}

func newSubject(t *testing.T, server *leaderelectiontest.Server, identity string) *subject {
	t.Helper()
	s := &subject{client: server.Client(identity), metrics: metrics.New(), registry: prometheus.NewPedanticRegistry()}
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

// A series is all that was seen of metrics: by name their type, by label the values.
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

// text has a line for each metric: type, name, labels; the values of labels, but for
// the names of Leases and what can fail in which way.
func (s series) text() string {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&text, "%s %s", s[name].kind, name)
		for _, label := range slices.Sorted(maps.Keys(s[name].labels)) {
			fmt.Fprintf(&text, " %s", label)
			if !strings.HasPrefix(label, "lease_") && !strings.Contains(name, "_failed_") {
				fmt.Fprintf(&text, "=%s", strings.Join(slices.Sorted(maps.Keys(s[name].labels[label])), ","))
			}
		}
		text.WriteString("\n")
	}
	return text.String()
}
