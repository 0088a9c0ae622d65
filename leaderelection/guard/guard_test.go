package guard_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/guard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixedLeadership always reports the same term.
type fixedLeadership struct {
	term  leaderelection.Term
	leads bool
}

func (l fixedLeadership) Term() (leaderelection.Term, bool) { return l.term, l.leads }

// lead starts an Elector that leads without a Lease. It returns the Elector and the
// context of its term. The Elector leads until stop is called or the test ends.
func lead(t *testing.T) (elector *leaderelection.Elector, term context.Context, stop func()) {
	t.Helper()
	terms := make(chan context.Context, 1)
	elector, err := leaderelection.New(&leaderelection.Config{}, nil, leaderelection.Callbacks{
		OnStartedLeading: func(ctx context.Context) { terms <- ctx },
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = elector.Run(ctx)
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return elector, <-terms, stop
}

func TestCheck_PermitsOnlyTheCurrentTerm(t *testing.T) {
	elector, ctx, stop := lead(t)
	term, _ := elector.Term()
	later := term
	later.Token++
	ended, cancel := context.WithCancelCause(ctx)
	cancel(leaderelection.ErrOvertaken)

	for _, tc := range []struct {
		name       string
		ctx        context.Context
		leadership guard.Leadership
		reason     string // a part of the error; "" if the write is permitted
	}{
		{"the context of the term", ctx, elector, ""},
		{"a context without a term", t.Context(), elector, "carries no term"},
		{"a cancelled context", ended, elector, leaderelection.ErrOvertaken.Error()},
		{"the context of an earlier term", context.WithoutCancel(ctx), fixedLeadership{later, true}, "earlier term"},
		{"uncertain leadership", ctx, fixedLeadership{}, "not certain"},
		{"no leadership", ctx, nil, "no Elector"},
		{"a nil Elector", ctx, (*leaderelection.Elector)(nil), "no Elector"},
	} {
		err := guard.Check(tc.ctx, tc.leadership)
		if tc.reason == "" {
			if err != nil {
				t.Errorf("%s: %v, want nil", tc.name, err)
			}
		} else if !errors.Is(err, guard.ErrWriteRefused) || !strings.Contains(err.Error(), tc.reason) {
			t.Errorf("%s: %v, want ErrWriteRefused because of %q", tc.name, err, tc.reason)
		}
	}
	if err := guard.Check(ended, elector); !errors.Is(err, leaderelection.ErrOvertaken) {
		t.Errorf("a cancelled context: %v, want an error that wraps its cause", err)
	}
	stop()
	if err := guard.Check(ctx, elector); !errors.Is(err, guard.ErrWriteRefused) || !errors.Is(err, leaderelection.ErrCancelled) {
		t.Errorf("after the term: %v, want ErrWriteRefused because it was cancelled", err)
	}
	if err := guard.Check(context.WithoutCancel(ctx), elector); err == nil || !strings.Contains(err.Error(), "not certain") {
		t.Errorf("after the term, with a context that is not cancelled: %v, want that leadership is not certain", err)
	}
}

type roundTripperFunc func(*http.Request) (*http.Response, error)

func (f roundTripperFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A body is a request body that records whether it was closed.
type body struct {
	*strings.Reader
	closed bool
}

func (b *body) Close() error { b.closed = true; return nil }

func TestTransport_RefusesWritesBehindAnyPrefix(t *testing.T) {
	elector, term, _ := lead(t)
	sent := false
	transport := guard.Transport(elector, roundTripperFunc(func(*http.Request) (*http.Response, error) {
		sent = true
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
	}))
	for _, tc := range []struct {
		method, path string
		refused      bool
	}{
		{"GET", "/api/v1/namespaces/default/pods", false},
		{"GET", "/api/v1/namespaces/default/pods/a/log", false},
		{"GET", "/api/v1/namespaces/default/services/a/proxy/metrics", false},
		{"HEAD", "/healthz", false},
		{"OPTIONS", "/api/v1/namespaces/default/pods", false},
		{"POST", "/api/v1/namespaces/default/configmaps", true},
		{"POST", "/api/v1/namespaces/api/configmaps", true},
		{"PUT", "/apis/apps/v1/namespaces/default/deployments/a/status", true},
		{"PATCH", "/apis/example.com/v1/widgets/a", true},
		{"DELETE", "/api/v1/namespaces/default", true},
		{"PUT", "/api/v1/namespaces/default/finalize", true},
		{"POST", "/api/v1/namespaces/default/pods/a/eviction", true},
		{"POST", "/api/v1/namespaces/default/pods/a/exec", true},
		{"GET", "/api/v1/namespaces/default/pods/a/exec", true},
		{"GET", "/api/v1/namespaces/default/pods/a/attach", true},
		{"GET", "/api/v1/namespaces/default/pods/a/portforward", true},
		{"POST", "/somewhere/else", true},
		{"PUT", "/api/v1/namespaces/default/services/a/proxy/apis/coordination.k8s.io/v1/namespaces/default/leases/a", true},
		{"PUT", "/apis/coordination.k8s.io/v1/namespaces/default/leases/a", false},
		{"POST", "/apis/coordination.k8s.io/v1/namespaces/default/leases", false},
		{"POST", "/api/v1/namespaces/default/events", false},
		{"POST", "/api/v1/namespaces/events/pods", true},
		{"PATCH", "/apis/events.k8s.io/v1/namespaces/default/events/a", false},
		{"POST", "/apis/example.com/v1/namespaces/default/events", true},
		{"POST", "/apis/authentication.k8s.io/v1/tokenreviews", false},
		{"POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", false},
	} {
		for _, prefix := range []string{"", "/behind/a/proxy", "/k8s/clusters/c-m-abc", "/api/clusters/c1", "/api/gw/c1", "/apis/gw/c1",
			"/apis/cluster.karmada.io/v1alpha1/clusters/c1/proxy"} {
			b := &body{Reader: strings.NewReader("{}")}
			request := func(ctx context.Context) *http.Request {
				r, err := http.NewRequestWithContext(ctx, tc.method, "https://cluster"+prefix+tc.path, b)
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			sent = false
			_, err := transport.RoundTrip(request(t.Context()))
			if errors.Is(err, guard.ErrWriteRefused) != tc.refused || (err != nil) != tc.refused || b.closed != tc.refused || sent == tc.refused {
				t.Errorf("%s %s without a term: %v, want it refused: %v; it was sent: %v; its body was closed: %v",
					tc.method, prefix+tc.path, err, tc.refused, sent, b.closed)
			}
			if err != nil && !strings.Contains(err.Error(), tc.method+" "+prefix+tc.path) {
				t.Errorf("the error %q does not name %s %s", err, tc.method, prefix+tc.path)
			}
			if _, err := transport.RoundTrip(request(term)); err != nil {
				t.Errorf("%s %s in the term: %v", tc.method, prefix+tc.path, err)
			}
		}
	}
}

func TestTransport_RefusesWritesWithoutAnElector(t *testing.T) {
	_, term, _ := lead(t)
	for name, leadership := range map[string]guard.Leadership{"nil": nil, "a nil Elector": (*leaderelection.Elector)(nil)} {
		transport := guard.Transport(leadership, roundTripperFunc(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
		}))
		for path, refused := range map[string]bool{
			"/api/v1/namespaces/ns/configmaps":                     true,
			"/apis/coordination.k8s.io/v1/namespaces/ns/leases":    false,
			"/c1/apis/coordination.k8s.io/v1/namespaces/ns/leases": false,
		} {
			r, err := http.NewRequestWithContext(term, http.MethodPost, "https://cluster"+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := transport.RoundTrip(r); errors.Is(err, guard.ErrWriteRefused) != refused {
				t.Errorf("%s: POST %s: %v, want it refused: %v", name, path, err, refused)
			}
		}
	}
}

func TestTransport_UnwrapsToTheNextRoundTripper(t *testing.T) {
	next := &http.Transport{}
	unwrapper, ok := guard.Transport(nil, next).(interface{ WrappedRoundTripper() http.RoundTripper })
	if !ok || unwrapper.WrappedRoundTripper() != next {
		t.Error("client-go does not find the transport that the guard wraps")
	}
}
