package otel_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/electortest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/otel"
)

func newConfig() *leaderelection.Config {
	return &leaderelection.Config{
		Enabled: true, Identity: "pod-1", LeaseName: "my-app-leader", LeaseNamespace: "default", ReleaseOnCancel: true,
	}
}

// observe runs an Elector. When it leads, observe calls lead and then cancels Run. It
// returns the spans, the metrics while the Elector led and the metrics after Run returned.
func observe(t *testing.T, lead func(context.Context, *electortest.Elector)) (tracetest.SpanStubs, metrics, metrics) {
	t.Helper()
	spans, reader := tracetest.NewInMemoryExporter(), metric.NewManualReader()
	option, err := otel.Option(
		sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)), metric.NewMeterProvider(metric.WithReader(reader)))
	if err != nil {
		t.Fatal(err)
	}
	elector, err := electortest.New(newConfig(), leaderelection.Callbacks{
		OnStartedLeading: func(ctx context.Context) { <-ctx.Done() },
		OnStoppedLeading: func() {},
	}, option)
	if err != nil {
		t.Fatal(err)
	}
	defer elector.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	returned := make(chan error, 1)
	go func() { returned <- elector.Run(ctx) }()
	if err := elector.Lead(ctx); err != nil {
		t.Fatal(err)
	}
	during := collect(t, reader)
	if lead != nil {
		lead(ctx, elector)
	}
	stop()
	if err := <-returned; err != nil {
		t.Fatal(err)
	}
	return spans.GetSpans(), during, collect(t, reader)
}

// metrics maps the name of a metric to its data.
type metrics map[string]metricdata.Aggregation

func collect(t *testing.T, reader metric.Reader) metrics {
	t.Helper()
	var data metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &data); err != nil {
		t.Fatal(err)
	}
	found := metrics{}
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			found[m.Name] = m.Data
		}
	}
	return found
}

// named returns the only span with the given name.
func named(t *testing.T, spans tracetest.SpanStubs, name string) tracetest.SpanStub {
	t.Helper()
	var found []tracetest.SpanStub
	for _, s := range spans {
		if s.Name == name {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d spans %s, want one", len(found), name)
	}
	return found[0]
}

// value returns the value of an attribute of a span, or "" if the span does not have it.
func value(s tracetest.SpanStub, key attribute.Key) string {
	set := attribute.NewSet(s.Attributes...)
	v, ok := set.Value(key)
	if !ok {
		return ""
	}
	return v.Emit()
}

func TestOption_ATermHasASpanWithItsClaimAndItsRelease(t *testing.T) {
	spans, _, _ := observe(t, nil)
	term, claim, release := named(t, spans, "incumbent.term"), named(t, spans, "incumbent.claim"), named(t, spans, "incumbent.release")
	for key, want := range map[attribute.Key]string{
		"k8s.namespace.name": "default", "incumbent.lease.name": "my-app-leader",
		"incumbent.term.reason": "cancelled", "incumbent.term.released": "true",
	} {
		if got := value(term, key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if value(term, "incumbent.term.token") == "" || term.Status.Code != codes.Unset {
		t.Errorf("token %q and status %v, want a token and no error", value(term, "incumbent.term.token"), term.Status)
	}
	if len(term.Links) != 1 || term.Links[0].SpanContext.SpanID() != claim.SpanContext.SpanID() {
		t.Errorf("links of the term: %v, want its claim", term.Links)
	}
	if release.Parent.SpanID() != term.SpanContext.SpanID() {
		t.Error("the release is not a child of the term")
	}
	if len(term.Events) != 1 || term.Events[0].Name != "stopping" || term.EndTime.Before(term.Events[0].Time) {
		t.Errorf("events of the term: %v, want stopping, before the end", term.Events)
	}
}

func TestOption_ALostTermIsAnError(t *testing.T) {
	spans, _, after := observe(t, func(ctx context.Context, e *electortest.Elector) {
		if err := e.Overtake(ctx, "other"); err != nil {
			t.Error(err)
		}
	})
	term := named(t, spans, "incumbent.term")
	if term.Status.Code != codes.Error || value(term, "incumbent.term.reason") != "overtaken" || value(term, "incumbent.term.released") != "false" {
		t.Errorf("status %v, attributes %v", term.Status, term.Attributes)
	}
	terms, ok := after["incumbent.leader_election.terms"].(metricdata.Sum[int64])
	if !ok || len(terms.DataPoints) != 1 || terms.DataPoints[0].Value != 1 {
		t.Fatalf("terms: %v, want one", after["incumbent.leader_election.terms"])
	}
	if reason, _ := terms.DataPoints[0].Attributes.Value("incumbent.term.reason"); reason.Emit() != "overtaken" {
		t.Errorf("reason %q, want overtaken", reason.Emit())
	}
}

func TestOption_TheGaugeExistsWhileRunRuns(t *testing.T) {
	_, during, after := observe(t, nil)
	gauge, ok := during["incumbent.leader_election.leading"].(metricdata.Gauge[int64])
	if !ok || len(gauge.DataPoints) != 1 || gauge.DataPoints[0].Value != 1 {
		t.Errorf("leading while the Elector leads: %v, want 1", during["incumbent.leader_election.leading"])
	}
	if gauge, ok := after["incumbent.leader_election.leading"].(metricdata.Gauge[int64]); ok && len(gauge.DataPoints) > 0 {
		t.Errorf("leading after Run returned: %v, want no data", gauge)
	}
	requests, ok := after["incumbent.leader_election.request.duration"].(metricdata.Histogram[float64])
	if !ok || len(requests.DataPoints) == 0 {
		t.Errorf("request.duration: %v, want data", after["incumbent.leader_election.request.duration"])
	}
	if stop, ok := after["incumbent.leader_election.stop.duration"].(metricdata.Histogram[float64]); !ok || stop.DataPoints[0].Count != 1 {
		t.Errorf("stop.duration: %v, want one term", after["incumbent.leader_election.stop.duration"])
	}
}

func TestOption_WithoutProvidersDoesNothing(t *testing.T) {
	if option, err := otel.Option(nil, nil); err != nil || option == nil {
		t.Errorf("Option(nil, nil) = %v", err)
	}
}

// This example prints the spans of an Elector that leads once.
func Example() {
	spans := tracetest.NewInMemoryExporter()
	option, err := otel.Option(sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)), metric.NewMeterProvider())
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	callbacks := leaderelection.Callbacks{OnStartedLeading: func(context.Context) { stop() }, OnStoppedLeading: func() {}}
	elector, err := electortest.New(newConfig(), callbacks, option)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer elector.Close()
	go func() {
		if err := elector.Lead(ctx); err != nil && !errors.Is(err, context.Canceled) {
			fmt.Println(err)
		}
	}()
	if err := elector.Run(ctx); err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range spans.GetSpans() {
		fmt.Println(s.Name)
	}

	// Output:
	// incumbent.claim
	// incumbent.release
	// incumbent.term
}
