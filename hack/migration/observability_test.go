package migration

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/tools/record"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

func TestNewObservableElector_HasHealthChecksEventsAndMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		config := &leaderelection.Config{Enabled: true, Identity: "pod-1", LeaseName: "my-app-leader", LeaseNamespace: "ns", ReleaseOnCancel: true}
		recorder, registry, mux := record.NewFakeRecorder(10), prometheus.NewRegistry(), http.NewServeMux()
		var log bytes.Buffer
		elector, err := newObservableElector(config, server.Client("pod-1").Clientset(), leaderelection.Callbacks{}, slog.New(slog.NewTextHandler(&log, nil)), recorder, registry, mux)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- elector.Run(ctx) }()
		if event := <-recorder.Events; !strings.Contains(event, "pod-1 became leader") {
			t.Errorf("the event is %q", event)
		}
		answer := httptest.NewRecorder()
		mux.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/healthz", nil))
		if answer.Code != http.StatusOK {
			t.Errorf("/healthz answers %d %s", answer.Code, answer.Body)
		}
		if !isLeaderMetric(t, registry) {
			t.Error("incumbent_leader_election_is_leader is not 1")
		}
		synctest.Wait() // wait until the Elector has reviewed its rights
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if !strings.Contains(log.String(), "Not all rights of the election are known") { // the in-memory API server cannot review rights, because it serves only Leases
			t.Errorf("the log does not contain a review of the rights:\n%s", &log)
		}
	})
}

// isLeaderMetric reports whether the metric incumbent_leader_election_is_leader is 1.
func isLeaderMetric(t *testing.T, registry *prometheus.Registry) bool {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "incumbent_leader_election_is_leader" {
			return family.GetMetric()[0].GetGauge().GetValue() == 1
		}
	}
	return false
}
