package health_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/health"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var silent = slog.New(slog.DiscardHandler)

func configOf(identity string) *leaderelection.Config {
	return &leaderelection.Config{Enabled: true, Identity: identity, LeaseName: "my-app", LeaseNamespace: "default", ReleaseOnCancel: true}
}

// A ward is a server and the electors on it, in fake time.
type ward struct {
	*testing.T
	server *leaderelectiontest.Server
}

func inBubble(t *testing.T, f func(w *ward)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &ward{T: t, server: leaderelectiontest.NewServer()}
		t.Cleanup(w.server.Close)
		f(w)
	})
}

// run runs an elector until the test or stop ends it.
func (w *ward) run(h *health.Health, identity string, clientset kubernetes.Interface, callbacks leaderelection.Callbacks, edit ...func(*leaderelection.Config)) (stop func() error) {
	w.Helper()
	config := configOf(identity)
	for _, f := range edit {
		f(config)
	}
	var opts []leaderelection.Option
	if h != nil {
		opts = append(opts, h.Option())
	}
	elector, err := leaderelection.New(config, clientset, callbacks, silent, opts...)
	if err != nil {
		w.Fatal(err)
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
	w.Cleanup(func() { _ = stop() })
	return stop
}

func (w *ward) want(what string, check func(*http.Request) error, want string) {
	w.Helper()
	synctest.Wait()
	switch err := check(nil); {
	case want == "" && err != nil:
		w.Errorf("%s: %v, want no error", what, err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		w.Errorf("%s: %v, want %q", what, err, want)
	}
}

func TestReady_MeansToTakePartAndNotToLead(t *testing.T) {
	inBubble(t, func(w *ward) {
		leader, follower := health.New(), health.New()
		w.want("no elector", leader.Ready, "")
		stop := w.run(leader, "a", w.server.Client("a").Clientset(), leaderelection.Callbacks{})
		time.Sleep(time.Second)
		w.run(follower, "b", w.server.Client("b").Clientset(), leaderelection.Callbacks{})
		time.Sleep(time.Minute)
		w.want("leader", leader.Ready, "")
		w.want("follower", follower.Ready, "")
		w.want("leader lives", leader.Live, "")
		w.want("follower lives", follower.Live, "")
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		w.want("after Run", leader.Ready, "Lease default/my-app: the elector does not run")
		w.want("after Run it lives", leader.Live, "")
	})
}

func TestReady_OutlastsAFailedRequestAndNoOutage(t *testing.T) {
	inBubble(t, func(w *ward) {
		h := health.New()
		client := w.server.Client("a")
		w.run(h, "a", client.Clientset(), leaderelection.Callbacks{})
		time.Sleep(10 * time.Second)
		client.Network().Cut(leaderelectiontest.Refuse)
		time.Sleep(10 * time.Second)
		w.want("10 s of outage", h.Ready, "")
		time.Sleep(7 * time.Second)
		w.want("17 s of outage", h.Ready, "nothing was heard of the Lease for")
		time.Sleep(time.Hour)
		w.want("an hour of outage", h.Live, "")
		client.Network().Heal()
		time.Sleep(10 * time.Second)
		w.want("afterwards", h.Ready, "")
	})
}

func TestReady_WantsTheLeaseToHaveBeenSeen(t *testing.T) {
	inBubble(t, func(w *ward) {
		h := health.New()
		client := w.server.Client("a")
		client.Network().Cut(leaderelectiontest.Refuse)
		w.run(h, "a", client.Clientset(), leaderelection.Callbacks{})
		time.Sleep(time.Second)
		w.want("from the beginning", h.Ready, "nothing was heard of the Lease yet")
	})
}

func TestReady_WithoutElectionOnlyWantsToRun(t *testing.T) {
	inBubble(t, func(w *ward) {
		h := health.New()
		off := func(c *leaderelection.Config) { *c = leaderelection.Config{} }
		stop := w.run(h, "", nil, leaderelection.Callbacks{}, off)
		w.want("running", h.Ready, "")
		w.want("running", h.Live, "")
		_ = stop()
		w.want("stopped", h.Ready, "election that is not enabled: the elector does not run")
	})
}

func TestReady_NoticesARightThatIsMissing(t *testing.T) {
	for _, verbs := range [][]string{{"get"}, {"create", "update"}} {
		inBubble(t, func(w *ward) {
			h := health.New()
			client := w.server.Client("a")
			client.Deny(verbs...)
			w.run(h, "a", client.Clientset(), leaderelection.Callbacks{})
			time.Sleep(10 * time.Second)
			w.want("denied", h.Ready, "cannot "+verbs[0])
			client.Allow()
			time.Sleep(30 * time.Second)
			w.want("allowed", h.Ready, "")
		})
	}
}

func TestReady_NeedsNoRightToWatch(t *testing.T) {
	inBubble(t, func(w *ward) {
		h := health.New()
		client := w.server.Client("a")
		client.Deny("watch")
		w.run(h, "a", client.Clientset(), leaderelection.Callbacks{})
		time.Sleep(time.Minute)
		w.want("polling", h.Ready, "")
	})
}

// A reviewer answers SelfSubjectAccessReviews.
type reviewer struct {
	kubernetes.Interface
	denied atomic.Pointer[string] // a verb
	fails  atomic.Bool
	asked  atomic.Int32
}

func newReviewer() *reviewer {
	r, clientset := &reviewer{}, fake.NewClientset()
	clientset.PrependReactor("create", "selfsubjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		r.asked.Add(1)
		if r.fails.Load() {
			return true, nil, apierrors.NewServiceUnavailable("not now")
		}
		answer := action.(clienttesting.CreateAction).GetObject().(*authorizationv1.SelfSubjectAccessReview).DeepCopy()
		denied := r.denied.Load()
		answer.Status.Allowed = denied == nil || answer.Spec.ResourceAttributes.Verb != *denied
		return true, answer, nil
	})
	r.Interface = clientset
	return r
}

func TestReady_AsksForTheRightsOfAFollowerThatHasWrittenNothing(t *testing.T) {
	inBubble(t, func(w *ward) {
		w.run(nil, "z", w.server.Client("z").Clientset(), leaderelection.Callbacks{})
		time.Sleep(time.Second)
		reviewer := newReviewer()
		verb := "update"
		reviewer.denied.Store(&verb)
		h := health.New(health.WithReview(reviewer))
		w.run(h, "a", w.server.Client("a").Clientset(), leaderelection.Callbacks{})
		time.Sleep(time.Second)
		w.want("denied", h.Ready, "missing right: update leases.coordination.k8s.io")
		reviewer.denied.Store(nil)
		w.want("denied a moment ago", h.Ready, "missing right")
		time.Sleep(11 * time.Second)
		w.want("allowed", h.Ready, "")
		for range 60 {
			time.Sleep(time.Second)
			w.want("allowed", h.Ready, "")
		}
		if n := reviewer.asked.Load(); n != 6 {
			t.Errorf("%d reviews were made, want two for each of three verbs", n)
		}
	})
}

// RBAC cannot limit the right to create a Lease to a name: who makes the Lease
// beforehand need not give it.
func TestReady_NeedsNoRightToMakeALeaseThatExists(t *testing.T) {
	inBubble(t, func(w *ward) {
		reviewer, verb := newReviewer(), "create"
		reviewer.denied.Store(&verb)
		h := health.New(health.WithReview(reviewer))
		client, bare := w.server.Client("a"), health.New()
		client.Deny("create")
		w.run(h, "a", client.Clientset(), leaderelection.Callbacks{})
		w.run(bare, "a2", client.Clientset(), leaderelection.Callbacks{})
		time.Sleep(5 * time.Second)
		w.want("there is no Lease", h.Ready, "missing right: create leases.coordination.k8s.io")
		w.want("there is no Lease, and nobody is asked", bare.Ready, "cannot create")
		w.run(nil, "z", w.server.Client("z").Clientset(), leaderelection.Callbacks{})
		time.Sleep(30 * time.Second)
		w.want("somebody has made it", h.Ready, "")
		w.want("somebody has made it, and nobody is asked", bare.Ready, "")
	})
}

func TestReady_DoesWithoutAReviewThatFails(t *testing.T) {
	inBubble(t, func(w *ward) {
		reviewer := newReviewer()
		reviewer.fails.Store(true)
		h := health.New(health.WithReview(reviewer))
		client := w.server.Client("a")
		w.run(h, "a", client.Clientset(), leaderelection.Callbacks{})
		time.Sleep(time.Second)
		w.want("the review fails", h.Ready, "")
		client.Deny("update")
		time.Sleep(3 * time.Second)
		w.want("a renewal was refused", h.Ready, "cannot update")
	})
}

func TestLive_FailsWhenWorkOutlivesItsTerm(t *testing.T) {
	inBubble(t, func(w *ward) {
		h, end := health.New(), make(chan struct{})
		stop := w.run(h, "a", w.server.Client("a").Clientset(), leaderelection.Callbacks{OnStartedLeading: func(context.Context) { <-end }},
			func(c *leaderelection.Config) { c.StopTimeout = time.Minute })
		time.Sleep(time.Second)
		w.want("at work", h.Live, "")
		go func() { _ = stop() }()
		time.Sleep(30 * time.Second)
		w.want("stopping", h.Live, "")
		time.Sleep(31 * time.Second)
		w.want("too long", h.Live, leaderelection.ErrWorkStillRunning.Error())
		close(end)
		w.want("at last", h.Live, "")
	})
}

// A deaf transport answers nothing and listens to no context while it is deaf.
type deaf struct {
	http.RoundTripper
	is    atomic.Bool
	hears chan struct{}
}

func (d *deaf) RoundTrip(r *http.Request) (*http.Response, error) {
	if d.is.Load() {
		<-d.hears
	}
	return d.RoundTripper.RoundTrip(r)
}

func TestLive_FailsWhenALoopStandsStill(t *testing.T) {
	inBubble(t, func(w *ward) {
		h := health.New()
		restConfig := w.server.Client("a").Config()
		transport := &deaf{RoundTripper: restConfig.Transport, hears: make(chan struct{})}
		restConfig.Transport = transport
		transport.is.Store(true)
		w.run(h, "a", kubernetes.NewForConfigOrDie(restConfig), leaderelection.Callbacks{})
		time.Sleep(15 * time.Second)
		w.want("for a while", h.Live, "")
		time.Sleep(15 * time.Second)
		w.want("too long", h.Live, "the elector is stuck")
		close(transport.hears)
		time.Sleep(time.Second)
		w.want("again", h.Live, "")
	})
}

func TestHealth_NamesTheElectorThatFails(t *testing.T) {
	inBubble(t, func(w *ward) {
		h := health.New()
		w.run(h, "a", w.server.Client("a").Clientset(), leaderelection.Callbacks{})
		other := w.server.Client("b")
		other.Network().Cut(leaderelectiontest.Refuse)
		w.run(h, "a", other.Clientset(), leaderelection.Callbacks{}, func(c *leaderelection.Config) { c.LeaseName = "other" })
		time.Sleep(time.Second)
		w.want("one of two", h.Ready, "Lease default/other: nothing was heard")
	})
}

func TestHealth_AnElectorMadeAnewTakesThePlaceOfTheOld(t *testing.T) {
	inBubble(t, func(w *ward) {
		h := health.New()
		stop := w.run(h, "a", w.server.Client("a").Clientset(), leaderelection.Callbacks{})
		time.Sleep(time.Second)
		_ = stop()
		w.run(h, "a", w.server.Client("a").Clientset(), leaderelection.Callbacks{})
		time.Sleep(time.Second)
		w.want("the new one", h.Ready, "")
	})
}

func TestHandler_SaysWhy(t *testing.T) {
	inBubble(t, func(w *ward) {
		h := health.New()
		stop := w.run(h, "a", w.server.Client("a").Clientset(), leaderelection.Callbacks{})
		time.Sleep(time.Second)
		ask := func() *httptest.ResponseRecorder {
			answer := httptest.NewRecorder()
			health.Handler(h.Ready).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/readyz", nil))
			return answer
		}
		if answer := ask(); answer.Code != http.StatusOK || answer.Body.String() != "ok\n" {
			t.Errorf("ready: %d %q", answer.Code, answer.Body)
		}
		_ = stop()
		if answer := ask(); answer.Code != http.StatusServiceUnavailable || !strings.Contains(answer.Body.String(), "does not run") {
			t.Errorf("not ready: %d %q", answer.Code, answer.Body)
		}
	})
}
