package rights_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
)

// An authorizer is a RoundTripper that answers SelfSubjectAccessReviews by calling the
// function review. It sends all other requests to the in-memory API server.
type authorizer struct {
	http.RoundTripper
	review func(context.Context, *authorizationv1.SelfSubjectAccessReview) error
}

func (a authorizer) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(r.URL.Path, "/selfsubjectaccessreviews") {
		return a.RoundTripper.RoundTrip(r)
	}
	var review authorizationv1.SelfSubjectAccessReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		return nil, err
	}
	if err := a.review(r.Context(), &review); err != nil {
		return nil, err
	}
	body, err := json.Marshal(review)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusCreated, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body))}, nil
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

// atStart runs an Elector with the option AtStart for one second, and then stops the
// Elector. The Elector must lead before the stop. The result before
// contains the lines about rights that were logged before the stop. The result after
// contains all logged lines about rights. stop is how long the stop took.
func atStart(t *testing.T, enabled bool, uses rights.Uses, review func(context.Context, *authorizationv1.SelfSubjectAccessReview) error) (before, after string, stop time.Duration) {
	t.Helper()
	server := leaderelectiontest.NewServer()
	defer server.Close()
	requests := server.Client("pod-1").Config()
	requests.Transport = authorizer{requests.Transport, review}
	clientset, err := kubernetes.NewForConfig(requests)
	if err != nil {
		t.Fatal(err)
	}
	var log lockedBuffer
	config := &leaderelection.Config{Enabled: enabled, AllowDisabled: true, Identity: "pod-1", LeaseName: "my-app-leader", LeaseNamespace: "ns", ReleaseOnCancel: true}
	elector, err := leaderelection.New(config, clientset, leaderelection.Callbacks{}, slog.New(slog.NewTextHandler(&log, nil)), rights.AtStart(clientset, uses))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- elector.Run(ctx) }()
	time.Sleep(time.Second)
	if !elector.IsLeader() {
		t.Error("the Elector does not lead after a second")
	}
	before = aboutRights(log.String())
	stopped := time.Now()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	return before, aboutRights(log.String()), time.Since(stopped)
}

func aboutRights(log string) string {
	var found strings.Builder
	for line := range strings.Lines(log) {
		if strings.Contains(line, "right") {
			found.WriteString(line)
		}
	}
	return found.String()
}

func TestAtStart_LogsAnErrorForEachMissingRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		review := func(_ context.Context, r *authorizationv1.SelfSubjectAccessReview) error {
			asked := r.Spec.ResourceAttributes
			if asked.Namespace != "ns" || asked.Resource == "leases" && asked.Verb != "create" && asked.Name != "my-app-leader" {
				t.Errorf("the review %+v is not about the Elector's Lease", asked)
			}
			r.Status.Allowed = asked.Verb != "watch" && asked.Resource != "events"
			return nil
		}
		log, after, _ := atStart(t, true, rights.Uses{Events: true}, review)
		for _, want := range []string{`watch leases.coordination.k8s.io \"my-app-leader\"`, "create events", "patch events"} {
			if strings.Count(log, want) != 1 {
				t.Errorf("the log must contain %q once:\n%s", want, log)
			}
		}
		if strings.Count(log, "level=ERROR") != 3 || strings.Count(log, "lease=ns/my-app-leader identity=pod-1") != 3 || log != after {
			t.Errorf("the log is\n%s, and after the stop\n%s", log, after)
		}
	})
}

func TestAtStart_DelaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := func(ctx context.Context, _ *authorizationv1.SelfSubjectAccessReview) error {
			<-ctx.Done()
			return ctx.Err()
		}
		if before, after, stop := atStart(t, true, rights.Uses{}, hangs); before+after != "" || stop != 0 {
			t.Errorf("the stop took %v, and the log is\n%s", stop, after)
		}
	})
}

func TestAtStart_SendsNothingWithoutAnElection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		atStart(t, false, rights.Uses{}, func(context.Context, *authorizationv1.SelfSubjectAccessReview) error {
			t.Error("a review was sent")
			return nil
		})
	})
}
