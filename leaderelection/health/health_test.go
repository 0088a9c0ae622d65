package health_test

import (
	"context"
	"errors"
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

// A testCluster is an in-memory API server with candidates. It runs in fake time.
type testCluster struct {
	*testing.T
	server *leaderelectiontest.Server
}

func inTestCluster(t *testing.T, f func(c *testCluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &testCluster{T: t, server: leaderelectiontest.NewServer()}
		t.Cleanup(c.server.Close)
		f(c)
	})
}

// run starts an Elector. The Elector runs until the returned function is called or the
// test ends.
func (c *testCluster) run(h *health.Health, identity string, clientset kubernetes.Interface, callbacks leaderelection.Callbacks, edit ...func(*leaderelection.Config)) (stop func() error) {
	c.Helper()
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
		c.Fatal(err)
	}
	return c.runElector(elector)
}

// runElector runs an Elector until the returned function is called or the test ends.
func (c *testCluster) runElector(elector *leaderelection.Elector) (stop func() error) {
	var err error
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
	c.Cleanup(func() { _ = stop() })
	return stop
}

func (c *testCluster) want(what string, check func(*http.Request) error, want string) {
	c.Helper()
	synctest.Wait()
	switch err := check(nil); {
	case want == "" && err != nil:
		c.Errorf("%s: %v, want no error", what, err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		c.Errorf("%s: %v, want %q", what, err, want)
	}
}

func TestReady_MeansThatTheElectorTakesPartAndNotThatItLeads(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		leader, follower := health.New(), health.New()
		c.want("no elector", leader.Ready, "")
		stop := c.run(leader, "a", c.server.Client("a").Clientset(), leaderelection.Callbacks{})
		time.Sleep(time.Second)
		c.run(follower, "b", c.server.Client("b").Clientset(), leaderelection.Callbacks{})
		time.Sleep(time.Minute)
		c.want("leader", leader.Ready, "")
		c.want("follower", follower.Ready, "")
		c.want("leader lives", leader.Live, "")
		c.want("follower lives", follower.Live, "")
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		c.want("after Run", leader.Ready, "")
		c.want("after Run it lives", leader.Live, "")
	})
}

func TestReady_SurvivesAFailedRequestAndFailsInAnOutage(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		h := health.New()
		client := c.server.Client("a")
		c.run(h, "a", client.Clientset(), leaderelection.Callbacks{})
		time.Sleep(10 * time.Second)
		client.Network().Cut(leaderelectiontest.Refuse)
		time.Sleep(10 * time.Second)
		c.want("10 s of outage", h.Ready, "")
		time.Sleep(7 * time.Second)
		c.want("17 s of outage", h.Ready, "the API server has not answered about the Lease for")
		time.Sleep(time.Hour)
		c.want("an hour of outage", h.Live, "")
		client.Network().Heal()
		time.Sleep(10 * time.Second)
		c.want("afterwards", h.Ready, "")
	})
}

func TestReady_FailsBeforeTheFirstAnswerAboutTheLease(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		h := health.New()
		client := c.server.Client("a")
		client.Network().Cut(leaderelectiontest.Refuse)
		c.run(h, "a", client.Clientset(), leaderelection.Callbacks{})
		time.Sleep(time.Second)
		c.want("before the first answer", h.Ready, "the API server has not answered about the Lease yet")
	})
}

func TestReady_WithoutElectionRequiresOnlyThatTheElectorRuns(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		h := health.New()
		off := func(c *leaderelection.Config) { *c = leaderelection.Config{} }
		elector, err := leaderelection.New(&leaderelection.Config{}, nil, leaderelection.Callbacks{}, silent, h.Option())
		if err != nil {
			t.Fatal(err)
		}
		c.want("not started", h.Ready, "election that is not enabled: the elector is not running")
		c.run(health.New(), "", nil, leaderelection.Callbacks{}, off) // another Health
		c.want("not started, while another elector runs", h.Ready, "the elector is not running")
		c.runElector(elector)
		c.want("running", h.Ready, "")
		c.want("running", h.Live, "")
	})
}

func TestReady_FailsIfARightIsMissing(t *testing.T) {
	for _, verbs := range [][]string{{"get"}, {"create", "update"}} {
		inTestCluster(t, func(c *testCluster) {
			h := health.New()
			client := c.server.Client("a")
			client.Deny(verbs...)
			c.run(h, "a", client.Clientset(), leaderelection.Callbacks{})
			time.Sleep(10 * time.Second)
			c.want("denied", h.Ready, "cannot "+verbs[0])
			client.Allow()
			time.Sleep(30 * time.Second)
			c.want("allowed", h.Ready, "")
		})
	}
}

func TestReady_DoesNotRequireTheRightToWatch(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		h := health.New()
		client := c.server.Client("a")
		client.Deny("watch")
		c.run(h, "a", client.Clientset(), leaderelection.Callbacks{})
		time.Sleep(time.Minute)
		c.want("polling", h.Ready, "")
	})
}

// A reviewer is a fake client that answers SelfSubjectAccessReviews.
type reviewer struct {
	kubernetes.Interface
	denied  atomic.Pointer[string] // the verb that is denied
	fails   atomic.Bool
	reviews atomic.Int32
}

func newReviewer() *reviewer {
	r, clientset := &reviewer{}, fake.NewClientset()
	clientset.PrependReactor("create", "selfsubjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		r.reviews.Add(1)
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

func TestReady_ReviewsTheRightsOfAFollowerThatHasNotWritten(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		c.run(nil, "z", c.server.Client("z").Clientset(), leaderelection.Callbacks{})
		time.Sleep(time.Second)
		reviewer := newReviewer()
		verb := "update"
		reviewer.denied.Store(&verb)
		h := health.New(health.WithReview(reviewer))
		c.run(h, "a", c.server.Client("a").Clientset(), leaderelection.Callbacks{})
		time.Sleep(time.Second)
		c.want("denied", h.Ready, "missing right: update leases.coordination.k8s.io")
		reviewer.denied.Store(nil)
		c.want("allowed, before the next review", h.Ready, "missing right")
		time.Sleep(11 * time.Second)
		c.want("allowed", h.Ready, "")
		for range 60 {
			time.Sleep(time.Second)
			c.want("allowed", h.Ready, "")
		}
		if n := reviewer.reviews.Load(); n != 6 {
			t.Errorf("%d reviews were made, want two for each of three verbs", n)
		}
	})
}

// Administrators may create the Lease themselves and withhold the right to create
// Leases. A process is then ready without this right.
func TestReady_DoesNotRequireTheRightToCreateAnExistingLease(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		reviewer, verb := newReviewer(), "create"
		reviewer.denied.Store(&verb)
		h := health.New(health.WithReview(reviewer))
		client, withoutReview := c.server.Client("a"), health.New()
		client.Deny("create")
		c.run(h, "a", client.Clientset(), leaderelection.Callbacks{})
		c.run(withoutReview, "a2", client.Clientset(), leaderelection.Callbacks{})
		time.Sleep(5 * time.Second)
		c.want("there is no Lease", h.Ready, "missing right: create leases.coordination.k8s.io")
		c.want("there is no Lease, without a review", withoutReview.Ready, "cannot create")
		c.run(nil, "z", c.server.Client("z").Clientset(), leaderelection.Callbacks{})
		time.Sleep(30 * time.Second)
		c.want("the Lease exists", h.Ready, "")
		c.want("the Lease exists, without a review", withoutReview.Ready, "")
	})
}

func TestReady_IgnoresAFailedReview(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		reviewer := newReviewer()
		reviewer.fails.Store(true)
		h := health.New(health.WithReview(reviewer))
		client := c.server.Client("a")
		c.run(h, "a", client.Clientset(), leaderelection.Callbacks{})
		time.Sleep(time.Second)
		c.want("the review fails", h.Ready, "")
		client.Deny("update")
		time.Sleep(3 * time.Second)
		c.want("a renewal was refused", h.Ready, "cannot update")
	})
}

func TestLive_FailsIfCallbacksOutliveTheirTerm(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		h, returned := health.New(), make(chan struct{})
		stop := c.run(h, "a", c.server.Client("a").Clientset(), leaderelection.Callbacks{OnStartedLeading: func(context.Context) { <-returned }},
			func(c *leaderelection.Config) { c.StopTimeout = time.Minute })
		time.Sleep(time.Second)
		c.want("leading", h.Live, "")
		go func() { _ = stop() }()
		time.Sleep(30 * time.Second)
		c.want("stopping, within StopTimeout", h.Live, "")
		time.Sleep(31 * time.Second)
		c.want("stopping, after StopTimeout", h.Live, leaderelection.ErrWorkStillRunning.Error())
		close(returned)
		c.want("after the callback returned", h.Live, "")
	})
}

func TestLive_FailsIfALoopMakesNoProgress(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		h, resumed := health.New(), make(chan struct{})
		blocked := leaderelection.WithTrace(leaderelection.Trace{RunStarted: func() { <-resumed }})
		elector, err := leaderelection.New(configOf("a"), c.server.Client("a").Clientset(), leaderelection.Callbacks{}, silent, h.Option(), blocked)
		if err != nil {
			t.Fatal(err)
		}
		c.runElector(elector)
		time.Sleep(15 * time.Second)
		c.want("blocked for 15 s", h.Live, "")
		time.Sleep(15 * time.Second)
		c.want("blocked for 30 s", h.Live, "the elector is stuck")
		close(resumed)
		time.Sleep(time.Second)
		c.want("after the loop resumed", h.Live, "")
	})
}

func TestHealth_NamesTheElectorThatFails(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		h := health.New()
		c.run(h, "a", c.server.Client("a").Clientset(), leaderelection.Callbacks{})
		other := c.server.Client("b")
		other.Network().Cut(leaderelectiontest.Refuse)
		c.run(h, "a", other.Clientset(), leaderelection.Callbacks{}, func(c *leaderelection.Config) { c.LeaseName = "other" })
		time.Sleep(time.Second)
		c.want("one of two", h.Ready, "Lease default/other: the API server has not answered")
	})
}

func TestHealth_OneOptionServesSeveralElectors(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		h := health.New()
		option := h.Option()
		for _, lease := range []string{"first", "second"} {
			client, config := c.server.Client(lease), configOf("a")
			if config.LeaseName = lease; lease == "first" {
				client.Network().Cut(leaderelectiontest.Hang)
			}
			elector, err := leaderelection.New(config, client.Clientset(), leaderelection.Callbacks{}, silent, option)
			if err != nil {
				t.Fatal(err)
			}
			c.runElector(elector)
		}
		time.Sleep(5 * time.Minute)
		c.want("the first of two is cut off", h.Ready, "Lease default/first: the API server has not answered about the Lease yet")
	})
}

func TestHealth_AnElectorThatEndedInOrderIsNotChecked(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		h := health.New()
		elector, err := leaderelection.New(configOf("a"), c.server.Client("a").Clientset(), leaderelection.Callbacks{}, silent, h.Option())
		if err != nil {
			t.Fatal(err)
		}
		c.want("created", h.Ready, "Lease default/my-app: the elector is not running")
		c.want("created", h.Live, "")
		for range 2 {
			stop := c.runElector(elector)
			time.Sleep(time.Second)
			c.want("running", h.Ready, "")
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			c.want("ended", h.Ready, "")
		}
	})
}

func TestReady_FailsAfterAnErrorUntilAnElectorForTheLeaseRuns(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		h := health.New()
		stopOther := c.run(nil, "a", c.server.Client("other").Clientset(), leaderelection.Callbacks{})
		time.Sleep(time.Second)
		stop := c.run(h, "a", c.server.Client("a").Clientset(), leaderelection.Callbacks{})
		time.Sleep(30 * time.Second)
		c.want("the identity is in use", h.Ready, "Lease default/my-app: the elector has stopped: "+leaderelection.ErrIdentityInUse.Error())
		c.want("the identity is in use", h.Live, "")
		if err := stop(); !errors.Is(err, leaderelection.ErrIdentityInUse) {
			t.Errorf("Run = %v", err)
		}
		_ = stopOther()
		c.run(h, "b", c.server.Client("b").Clientset(), leaderelection.Callbacks{}, func(c *leaderelection.Config) { c.LeaseName = "other" })
		time.Sleep(time.Second)
		c.want("an elector for another Lease runs", h.Ready, leaderelection.ErrIdentityInUse.Error())
		c.run(h, "b", c.server.Client("b").Clientset(), leaderelection.Callbacks{})
		time.Sleep(time.Second)
		c.want("an elector for the Lease runs", h.Ready, "")
	})
}

func TestHealth_ShowsWorkThatOutlivesRun(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		h, returned := health.New(), make(chan struct{})
		stop := c.run(h, "a", c.server.Client("a").Clientset(), leaderelection.Callbacks{OnStartedLeading: func(context.Context) { <-returned }},
			func(c *leaderelection.Config) { c.StopTimeout = time.Second })
		time.Sleep(time.Second)
		if err := stop(); !errors.Is(err, leaderelection.ErrWorkStillRunning) {
			t.Fatalf("Run = %v, want ErrWorkStillRunning", err)
		}
		c.want("the work runs", h.Live, leaderelection.ErrWorkStillRunning.Error())
		c.want("the work runs", h.Ready, "the elector has stopped: "+leaderelection.ErrWorkStillRunning.Error())
		stop = c.run(h, "a", c.server.Client("a").Clientset(), leaderelection.Callbacks{})
		time.Sleep(time.Minute)
		c.want("another elector runs", h.Live, leaderelection.ErrWorkStillRunning.Error())
		c.want("another elector runs", h.Ready, "")
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		c.want("the other elector has ended", h.Live, leaderelection.ErrWorkStillRunning.Error())
		close(returned)
		c.want("the work has returned", h.Live, "")
		c.want("the work has returned", h.Ready, "")
	})
}

func TestHealth_ChecksEachOfTwoClusters(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		h, other := health.New(), leaderelectiontest.NewServer()
		defer other.Close()
		client := other.Client("a")
		client.Network().Cut(leaderelectiontest.Refuse)
		defer func(stop func() error) { _ = stop() }(c.run(h, "a", client.Clientset(), leaderelection.Callbacks{}))
		c.run(h, "a", c.server.Client("a").Clientset(), leaderelection.Callbacks{})
		time.Sleep(time.Second)
		c.want("one of two clusters", h.Ready, "Lease default/my-app on "+strings.TrimPrefix(client.Config().Host, "http://")+": the API server has not answered")
	})
}

// An admission webhook can answer each write with 409, which otherwise is a lost race.
func TestReady_FailsIfNobodyCanClaim(t *testing.T) {
	for _, status := range []int{http.StatusInternalServerError, http.StatusConflict, http.StatusUnprocessableEntity} {
		inTestCluster(t, func(c *testCluster) {
			h := health.New()
			client := c.server.Client("a")
			client.Network().Fail(status, 0, leaderelectiontest.Verbs("create", "update"))
			c.run(h, "a", client.Clientset(), leaderelection.Callbacks{})
			time.Sleep(14 * time.Second)
			c.want("writes fail for 14 s", h.Ready, "")
			time.Sleep(6 * time.Second)
			c.want("writes fail for 20 s", h.Ready, "requests for the Lease have failed for ")
			stop := c.run(nil, "b", c.server.Client("b").Clientset(), leaderelection.Callbacks{})
			time.Sleep(time.Minute)
			c.want("another candidate leads", h.Ready, "")
			_ = stop()
			time.Sleep(20 * time.Second)
			c.want("nobody leads", h.Ready, "requests for the Lease have failed for ")
			client.Network().Heal()
			time.Sleep(10 * time.Second)
			c.want("writes succeed", h.Ready, "")
		})
	}
}

// Reads that fail do not exclude a leader whose renewals succeed, or a follower whose
// watch shows the Lease.
func TestReady_SucceedsWhileOnlyReadsFail(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		start := func(h *health.Health, identity string) (*leaderelection.Elector, *leaderelectiontest.Network) {
			client := c.server.Client(identity)
			elector, err := leaderelection.New(configOf(identity), client.Clientset(), leaderelection.Callbacks{}, silent, h.Option())
			if err != nil {
				t.Fatal(err)
			}
			c.runElector(elector)
			time.Sleep(time.Second)
			client.Network().Fail(http.StatusInternalServerError, 0, leaderelectiontest.Verbs("get"))
			return elector, client.Network()
		}
		ofLeader, ofFollower := health.New(), health.New()
		leader, _ := start(ofLeader, "a")
		follower, network := start(ofFollower, "b")
		term, _ := leader.Term()
		if _, err := leader.Confirm(c.Context(), term); err == nil {
			t.Error("the leader's read succeeded")
		}
		stalled := network.StallWatches() // the follower reads if the watch is silent
		time.Sleep(10 * time.Second)
		stalled.Heal()
		time.Sleep(5 * time.Minute)
		for _, e := range []*leaderelection.Elector{leader, follower} {
			if state := e.State(); time.Since(state.FailingSince) < 5*time.Minute || state.Leader != "a" {
				t.Errorf("the state is %+v, want that requests fail for five minutes", state)
			}
		}
		c.want("the leader's reads fail", ofLeader.Ready, "")
		c.want("the follower's reads fail", ofFollower.Ready, "")
	})
}

func TestHandler_AnswersWithTheReason(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		h := health.New()
		stop := c.run(h, "a", c.server.Client("a").Clientset(), leaderelection.Callbacks{})
		time.Sleep(time.Second)
		get := func() *httptest.ResponseRecorder {
			answer := httptest.NewRecorder()
			health.Handler(h.Ready).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/readyz", nil))
			return answer
		}
		if answer := get(); answer.Code != http.StatusOK || answer.Body.String() != "ok\n" {
			t.Errorf("ready: %d %q", answer.Code, answer.Body)
		}
		_ = stop()
		if _, err := leaderelection.New(configOf("a"), c.server.Client("a").Clientset(), leaderelection.Callbacks{}, silent, h.Option()); err != nil {
			t.Fatal(err)
		}
		if answer := get(); answer.Code != http.StatusServiceUnavailable || !strings.Contains(answer.Body.String(), "is not running") {
			t.Errorf("not ready: %d %q", answer.Code, answer.Body)
		}
	})
}

// Users read the answer with curl, in a terminal. The text may come from an admission
// webhook.
func TestHandler_ControlsNoTerminal(t *testing.T) {
	answer := httptest.NewRecorder()
	check := func(*http.Request) error { return errors.New("denied\u009b31m\u202e\x1b[2J\nby a webhook") }
	health.Handler(check).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	if want := `denied\u009b31m\u202e\u001b[2J` + "\nby a webhook\n"; answer.Body.String() != want {
		t.Errorf("the answer is %q, want %q", answer.Body, want)
	}
}
