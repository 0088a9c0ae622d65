package manager_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/manager"
)

// An errorSink is a log sink that records the texts of errors and of other lines. Sinks
// have no level for warnings, so a warning arrives as another line.
type errorSink struct {
	mu            *sync.Mutex
	errors, lines *[]string
}

func newErrorSink() errorSink { return errorSink{&sync.Mutex{}, &[]string{}, &[]string{}} }

func (s errorSink) Init(logr.RuntimeInfo)            {}
func (s errorSink) Enabled(int) bool                 { return true }
func (s errorSink) WithName(string) logr.LogSink     { return s }
func (s errorSink) WithValues(...any) logr.LogSink   { return s }
func (s errorSink) Info(_ int, msg string, _ ...any) { s.add(s.lines, msg) }
func (s errorSink) Error(_ error, msg string, _ ...any) {
	s.add(s.errors, msg)
}

func (s errorSink) add(to *[]string, msg string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*to = append(*to, msg)
}

// want fails the test unless exactly the given texts begin a line, and unless all these
// lines are errors. It ignores events, because the in-memory API does not serve them, and
// it ignores failing requests, because their log line may be delayed.
func (s errorSink) want(t *testing.T, what string, texts ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	found := map[string]bool{}
	for _, msg := range *s.errors {
		known := slices.ContainsFunc([]string{"Server rejected event", "Unable to write event", "Lease requests failing"}, func(text string) bool {
			return strings.HasPrefix(msg, text)
		})
		for _, text := range texts {
			if strings.HasPrefix(msg, text) {
				found[text], known = true, true
			}
		}
		if !known {
			t.Errorf("%s: unexpected error %q", what, msg)
		}
	}
	for _, text := range texts {
		if !found[text] {
			t.Errorf("%s: no error begins with %q; errors: %q, other lines: %q", what, text, *s.errors, *s.lines)
		}
	}
}

// denyRights makes the API server of cfg answer that the user has no rights, and refuse
// events.
func denyRights(cfg *rest.Config) *rest.Config {
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripperFunc(func(r *http.Request) (*http.Response, error) {
			answer := func(status int, body string) (*http.Response, error) {
				return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
			}
			switch {
			case strings.HasSuffix(r.URL.Path, "/selfsubjectaccessreviews"):
				return answer(http.StatusCreated, `{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","status":{"allowed":false}}`)
			case strings.HasSuffix(r.URL.Path, "/events"):
				return answer(http.StatusForbidden, `{"apiVersion":"v1","kind":"Status","status":"Failure","reason":"Forbidden","code":403}`)
			}
			return next.RoundTrip(r)
		})
	})
	return cfg
}

// What ends a term, or will end it if it goes on, must be an error in every log sink.
func TestLevels_OfNew(t *testing.T) {
	const lost, late, unreleased = "Lost leadership", "Callbacks did not return in time", "Lease not released"
	for name, tc := range map[string]struct {
		grace time.Duration
		slow  time.Duration // how long the work continues after its context is done
		end   func(m memory, p *process)
		want  []string
	}{
		"an orderly stop": {grace: forEver, end: func(_ memory, p *process) { p.cancel() }},
		"step down":       {grace: forEver, end: func(_ memory, p *process) { _ = p.elector().StepDown(context.Background()) }},
		"overtaken":       {grace: forEver, end: func(m memory, _ *process) { m.give("somebody") }, want: []string{lost}},
		"a Lease that is deleted": {grace: forEver, want: []string{lost}, end: func(m memory, _ *process) {
			if err := m.Delete("default", leaseName); err != nil {
				m.t.Error(err)
			}
		}},
		"an API server that cannot be reached": {grace: forEver, want: []string{"Lease requests failing", lost}, end: func(m memory, _ *process) {
			m.Client("a").Network().Cut(hang)
		}},
		"rights that are revoked": {grace: forEver, want: []string{"Lease requests failing", lost}, end: func(m memory, _ *process) {
			m.Client("a").Deny("get", "update")
		}},
		"work that does not stop": {grace: time.Second, slow: time.Minute, end: func(_ memory, p *process) { p.cancel() },
			want: []string{"Runnables did not stop within the grace period", late}},
		"work that does not stop after a loss": {grace: forEver, slow: time.Minute, end: func(m memory, _ *process) { m.give("somebody") },
			want: []string{lost, late}},
		"a release that hangs": {grace: time.Second, want: []string{"Lease was not released within the grace period", unreleased}, end: func(m memory, p *process) {
			p.cancel()
			m.Client("a").Network().Cut(hang)
		}},
		"a release that is refused": {grace: forEver, want: []string{unreleased}, end: func(m memory, p *process) {
			m.Client("a").Deny("update")
			p.cancel()
		}},
	} {
		runInMemory(t, func(t *testing.T, m memory) {
			sink, w := newErrorSink(), newWorker(tc.slow)
			p := m.make("a", incumbent(manager.WithIdentity("a")), func(o *crmanager.Options) {
				o.Logger, o.GracefulShutdownTimeout = logr.New(sink), &tc.grace
			})
			if err := p.Add(w); err != nil {
				t.Fatal(err)
			}
			start(t, p)
			<-w.started
			synctest.Wait()
			tc.end(m, p)
			<-p.done
			<-w.returned
			time.Sleep(time.Minute) // a release that hangs is given up when trust ends
			m.Client("a").Network().Heal()
			time.Sleep(time.Minute)
			sink.want(t, name, tc.want...)
		})
	}
}

func TestLevels_OfMissingRights(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		sink := newErrorSink()
		create := func(cfg *rest.Config, opts crmanager.Options) (crmanager.Manager, error) {
			return manager.New(denyRights(cfg), opts)
		}
		p := m.make("a", create, func(o *crmanager.Options) { o.Logger = logr.New(sink) })
		start(t, p)
		<-p.Elected()
		synctest.Wait()
		if err := p.stop(); err != nil {
			t.Error(err)
		}
		sink.want(t, "missing rights", "A right is missing", "Recording events is forbidden")
	})
}

func TestLevels_OfALeaderOnlyRunnable(t *testing.T) {
	for want, f := range map[string]func(context.Context) error{
		"Leader-only Runnable failed; ending the term": func(context.Context) error { return errClosed },
		"Leader-only Runnable failed while stopping":   func(ctx context.Context) error { <-ctx.Done(); return errClosed },
	} {
		runInMemory(t, func(t *testing.T, m memory) {
			sink := newErrorSink()
			p := m.make("a", crmanager.New, func(o *crmanager.Options) { o.LeaderElection, o.Logger = false, logr.New(sink) })
			e, err := manager.NewElector(p, electorConfig("a"), leaderelection.Callbacks{})
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Add(leaderOnly(f)(e)); err != nil {
				t.Fatal(err)
			}
			start(t, p)
			await(t, e, leading)
			synctest.Wait()
			if err := p.stop(); err != nil {
				t.Error(err)
			}
			sink.want(t, want, want)
		})
	}
}
