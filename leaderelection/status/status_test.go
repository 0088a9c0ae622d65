package status_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/safetext"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run starts an Elector, which runs until stop is called or the test ends. If page is not
// nil, page shows the Elector.
func run(t *testing.T, page *status.Page, server *leaderelectiontest.Server, identity string, edit ...func(*leaderelection.Config)) (elector *leaderelection.Elector, stop func()) {
	t.Helper()
	config := &leaderelection.Config{Enabled: true, Identity: identity, LeaseName: "my-app", LeaseNamespace: "default", ReleaseOnCancel: true}
	for _, f := range edit {
		f(config)
	}
	var opts []leaderelection.Option
	if page != nil {
		opts = append(opts, page.Option())
	}
	elector, err := leaderelection.New(config, server.Client(identity).Clientset(), leaderelection.Callbacks{}, slog.New(slog.DiscardHandler), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return elector, start(t, elector)
}

// start runs an Elector until stop is called or the test ends.
func start(t *testing.T, elector *leaderelection.Elector) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
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
	return stop
}

func inTestCluster(t *testing.T, f func(t *testing.T, page *status.Page, server *leaderelectiontest.Server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		t.Cleanup(server.Close)
		f(t, status.New(), server)
	})
}

// get requests the page and returns the answer.
func get(page http.Handler, target, accept string) *httptest.ResponseRecorder {
	synctest.Wait()
	request := httptest.NewRequest(http.MethodGet, target, nil)
	request.Header.Set("Accept", accept)
	answer := httptest.NewRecorder()
	page.ServeHTTP(answer, request)
	return answer
}

func getJSON(t *testing.T, page http.Handler) status.Report {
	t.Helper()
	answer := get(page, "/?format=json", "*/*")
	var report status.Report
	if err := json.Unmarshal(answer.Body.Bytes(), &report); err != nil || answer.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%v: %s %s", err, answer.Header(), answer.Body)
	}
	return report
}

func changesOf(e status.Elector) string {
	var lines []string
	for _, change := range e.Changes {
		lines = append(lines, change.What)
	}
	return strings.Join(lines, "\n")
}

func TestPage_ShowsTheLeaderAndTheLastChanges(t *testing.T) {
	inTestCluster(t, func(t *testing.T, page *status.Page, server *leaderelectiontest.Server) {
		other := status.New()
		elector, stop := run(t, other, server, "pod-1")
		time.Sleep(time.Second)
		run(t, page, server, "pod-2")
		time.Sleep(9 * time.Second)

		leader, follower := getJSON(t, other).Electors[0], getJSON(t, page).Electors[0]
		if !leader.Leading || leader.Term == 0 || leader.Since == nil || leader.ValidFor < 10 || leader.Leader != "pod-1" || leader.Successor != "pod-2" {
			t.Errorf("the leader's page shows %+v", leader)
		}
		if follower.Leading || follower.Term != 0 || follower.ValidFor != 0 || follower.Leader != "pod-1" || follower.Successor != "pod-2" ||
			!follower.Watching || !follower.Running || follower.LastContact > 2 {
			t.Errorf("the follower's page shows %+v", follower)
		}
		if follower.Timing.Outage != 8 || follower.Timing.Crash != 15.5 || follower.Durations.LeaseDuration != 15 {
			t.Errorf("the follower's timing is %+v of %+v", follower.Timing, follower.Durations)
		}
		if err := elector.StepDown(context.Background()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		text := changesOf(getJSON(t, page).Electors[0])
		for _, want := range []string{"new leader observed: pod-1", "the Lease is free", "became leader, term ", " after the Lease was released", "new leader observed: pod-2"} {
			if !strings.Contains(text, want) {
				t.Errorf("the changes lack %q:\n%s", want, text)
			}
		}
		text = changesOf(getJSON(t, other).Electors[0])
		for _, want := range []string{"ends: stepped down", "returned after 0s, and the Lease was released"} {
			if !strings.Contains(text, want) {
				t.Errorf("the changes lack %q:\n%s", want, text)
			}
		}
		stop()
		if left := getJSON(t, other).Electors; len(left) != 0 {
			t.Errorf("after Run has returned nil, the page shows %+v", left)
		}
	})
}

func TestPage_ShowsFailingRequests(t *testing.T) {
	inTestCluster(t, func(t *testing.T, page *status.Page, server *leaderelectiontest.Server) {
		run(t, page, server, "pod-1")
		time.Sleep(5 * time.Second)
		network := server.Client("pod-1").Network()
		network.Cut(leaderelectiontest.Refuse)
		time.Sleep(20 * time.Second)
		e := getJSON(t, page).Electors[0]
		if e.Leading || e.LastError == "" || e.LastContact < 19 || e.EndCause != "the Lease could not be renewed in time" {
			t.Errorf("without a network it shows %+v", e)
		}
		if text := get(page, "/", "text/html").Body.String(); !strings.Contains(text, "Requests fail:") {
			t.Errorf("the page does not show that requests fail:\n%s", text)
		}
		network.Heal()
		time.Sleep(20 * time.Second)
		e = getJSON(t, page).Electors[0]
		text := changesOf(e)
		for _, want := range []string{"requests fail: renew: no connection", "requests succeed again: read"} {
			if !strings.Contains(text, want) {
				t.Errorf("the changes lack %q:\n%s", want, text)
			}
		}
		if !e.Leading || e.LastError != "" {
			t.Errorf("after the network was healed it shows %+v", e)
		}
	})
}

func TestPage_KeepsTheNewestChanges(t *testing.T) {
	inTestCluster(t, func(t *testing.T, page *status.Page, server *leaderelectiontest.Server) {
		run(t, page, server, "pod-1")
		for range 20 {
			time.Sleep(20 * time.Second)
			if err := server.Delete("default", "my-app"); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(20 * time.Second)
		changes := getJSON(t, page).Electors[0].Changes
		if len(changes) != 30 {
			t.Errorf("%d changes are kept, want 30", len(changes))
		}
		for i := 1; i < len(changes); i++ {
			if changes[i].At.After(changes[i-1].At) {
				t.Errorf("%v comes before %v", changes[i], changes[i-1])
			}
		}
	})
}

func TestPage_ShowsSeveralElectorsAndNone(t *testing.T) {
	inTestCluster(t, func(t *testing.T, page *status.Page, server *leaderelectiontest.Server) {
		if text := get(page, "/", "text/html").Body.String(); !strings.Contains(text, "There is no elector in this process") {
			t.Errorf("without an elector the page shows\n%s", text)
		}
		_, stop := run(t, page, server, "pod-1")
		run(t, page, server, "pod-1", func(c *leaderelection.Config) { c.LeaseName = "another" })
		run(t, page, server, "off", func(c *leaderelection.Config) { c.Enabled, c.AllowDisabled = false, true })
		time.Sleep(time.Second)
		stop()
		run(t, page, server, "pod-1")
		time.Sleep(time.Second)
		report := getJSON(t, page)
		if len(report.Electors) != 3 || report.Electors[0].Lease != "" || report.Electors[1].Lease != "default/another" || report.Electors[2].Lease != "default/my-app" {
			t.Fatalf("the electors are %+v", report.Electors)
		}
		if off := report.Electors[0]; off.Enabled || !off.Leading || off.ValidFor != -1 || off.Timing != nil {
			t.Errorf("an election that is not enabled is shown as %+v", off)
		}
		if text := get(page, "/", "text/html").Body.String(); !strings.Contains(text, "leads without a Lease, as every other replica does") {
			t.Error("the page does not show that the election is not enabled")
		}
	})
}

func TestPage_AnswersInTheFormatThatTheClientAccepts(t *testing.T) {
	for _, tt := range []struct{ target, accept, want string }{
		{"/", "", "text/html"},
		{"/", "*/*", "text/html"},
		{"/", "text/html,application/xhtml+xml,application/json;q=0.5", "text/html"},
		{"/", "application/json", "application/json"},
		{"/?format=json", "text/html", "application/json"},
		{"/?format=html", "application/json", "text/html"},
	} {
		inTestCluster(t, func(t *testing.T, page *status.Page, _ *leaderelectiontest.Server) {
			if got := get(page, tt.target, tt.accept).Header().Get("Content-Type"); !strings.HasPrefix(got, tt.want) {
				t.Errorf("%s with Accept %q gets %s, want %s", tt.target, tt.accept, got, tt.want)
			}
		})
	}
}

func TestPage_RefusesOtherMethodsThanGetAndHead(t *testing.T) {
	for method, want := range map[string]int{
		http.MethodGet: http.StatusOK, http.MethodHead: http.StatusOK, http.MethodPost: http.StatusMethodNotAllowed, http.MethodDelete: http.StatusMethodNotAllowed,
	} {
		answer := httptest.NewRecorder()
		status.New().ServeHTTP(answer, httptest.NewRequest(method, "/", nil))
		if answer.Code != want || method == http.MethodHead && answer.Body.Len() > 0 {
			t.Errorf("%s: %d with %d bytes, want %d", method, answer.Code, answer.Body.Len(), want)
		}
	}
}

// The page shows strings that other processes wrote into the Lease. These strings must
// not be able to insert HTML into the page.
func TestPage_EscapesTextFromTheLease(t *testing.T) {
	inTestCluster(t, func(t *testing.T, page *status.Page, server *leaderelectiontest.Server) {
		const script = `<script>alert("pod")</script>`
		run(t, nil, server, script)
		time.Sleep(time.Second)
		run(t, page, server, "pod-1")
		time.Sleep(time.Second)
		answer := get(page, "/", "text/html")
		if text := answer.Body.String(); strings.Contains(text, "<script") || !strings.Contains(text, "&lt;script&gt;alert(") {
			t.Errorf("the page contains the identity unescaped:\n%s", text)
		}
		if policy := answer.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") {
			t.Errorf("Content-Security-Policy is %q, want default-src 'none'", policy)
		}
	})
}

// Users read the page with curl, in a terminal.
func TestPage_ControlsNoTerminal(t *testing.T) {
	inTestCluster(t, func(t *testing.T, page *status.Page, server *leaderelectiontest.Server) {
		const hostile = "pod\u009b31m\u202e\x1b[2J\U000e0041"
		run(t, nil, server, hostile)
		time.Sleep(time.Second)
		run(t, page, server, "pod-1")
		time.Sleep(time.Second)
		for _, accept := range []string{"text/html", "application/json"} {
			text := get(page, "/", accept).Body.String()
			if i := strings.IndexFunc(text, safetext.IsUnsafeInLines); i >= 0 {
				t.Errorf("%s has an unsafe character at byte %d: %q", accept, i, text[i:min(len(text), i+20)])
			}
		}
		var report status.Report
		if err := json.Unmarshal(get(page, "/", "application/json").Body.Bytes(), &report); err != nil || report.Electors[0].Leader != hostile {
			t.Errorf("the JSON names the leader %q: %v", report.Electors[0].Leader, err)
		}
	})
}
