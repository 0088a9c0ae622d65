package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTransport_CountsRequestsForLeases(t *testing.T) {
	tr := &transport{}
	tr.startTrace()
	status := http.StatusOK
	client := http.Client{Transport: tr.wrap(roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader("event"))}, nil
	}))}
	send := func(ctx context.Context, method, path string) error {
		r, err := http.NewRequestWithContext(ctx, method, "https://server"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(r)
		if err != nil {
			return err
		}
		_, err = io.ReadAll(response.Body)
		return errors.Join(err, response.Body.Close())
	}
	const leases = "/apis/coordination.k8s.io/v1/namespaces/bench/leases"
	for _, r := range []struct {
		status       int
		method, path string
	}{
		{200, "GET", leases + "/x"}, {200, "GET", leases + "?watch=true"}, {409, "PUT", leases + "/x"}, {200, "POST", "/api/v1/events"}, {201, "POST", leases},
	} {
		if status = r.status; send(t.Context(), r.method, r.path) != nil {
			t.Errorf("%s %s failed", r.method, r.path)
		}
		if applied := !tr.lastApplied().IsZero(); applied != (r.status == 201) {
			t.Errorf("%s %s: a write was applied: %v", r.method, r.path, applied)
		}
	}
	if diff := cmp.Diff(traffic{reads: 1, watches: 1, writes: 2, refused: 1}, tr.traffic(), cmp.AllowUnexported(traffic{})); diff != "" {
		t.Errorf("traffic (-want +got):\n%s", diff)
	}
	var what []string
	for _, m := range tr.recent() {
		what = append(what, m.What)
	}
	if diff := cmp.Diff([]string{watchReceived, writeSent, writeAnswered, writeSent, writeAnswered}, what); diff != "" {
		t.Errorf("exchanges (-want +got):\n%s", diff)
	}
	if len(tr.recent()) > 0 {
		t.Error("exchanges are returned twice")
	}

	tr.cut.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := send(ctx, "GET", leases); !errors.Is(err, context.Canceled) {
		t.Errorf("with a cut transport: %v, want to wait until the context ends", err)
	}
	if got := tr.traffic().reads; got != 1 {
		t.Errorf("%d reads, although the last one was blocked", got)
	}
}
