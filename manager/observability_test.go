package manager_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/metrics"
	"github.com/haproxy-template-ic/incumbent/leaderelection/status"
	"github.com/haproxy-template-ic/incumbent/manager"
)

// fetch requests the given path from the metrics server that listens on address, and
// returns the body of the response.
// fetch returns the page at the path. The metrics server of a Manager may begin to listen
// after Elected is closed, so fetch tries again while connections are refused.
func fetch(t *testing.T, address, path string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + address + path)
	for deadline := time.Now().Add(20 * time.Second); errors.Is(err, syscall.ECONNREFUSED) && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
		response, err = client.Get("http://" + address + path)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s: %v\n%s", path, response.Status, err, body)
	}
	return string(body)
}

func fetchStatus(t *testing.T, address, path string) status.Elector {
	t.Helper()
	var report status.Report
	if err := json.Unmarshal([]byte(fetch(t, address, path+"?format=json")), &report); err != nil || len(report.Electors) != 1 {
		t.Fatalf("the status is %+v: %v", report, err)
	}
	return report.Electors[0]
}

func wantMetrics(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, line := range want {
		if n := strings.Count(text, "\n"+line+"\n"); n != 1 {
			t.Errorf("the metrics have the line %q %d times, want it once", line, n)
		}
	}
}

// metricLabels returns the labels of the metrics of an Elector.
func (s *testCluster) metricLabels(lease string) string {
	server := strings.TrimPrefix(s.plane.APIServer(0).URL(), "https://")
	return fmt.Sprintf(`api_server=%q,elector="",lease_name=%q,lease_namespace=%q`, server, lease, s.namespace)
}

func TestObservability_ManagerHasMetricsAndAStatusPage(t *testing.T) {
	s := startTestCluster(t, false)
	s.configMaps(1)
	address, other := freeAddress(t), http.NotFoundHandler()
	a := s.replica("a", incumbent(manager.WithIdentity("a")), untilCancelled, func(o *crmanager.Options, _ *rest.Config) {
		o.Metrics.BindAddress = address
		o.Metrics.ExtraHandlers = map[string]http.Handler{"/other": other}
	})
	if err := manager.Ready(a.Manager)(nil); err == nil || !strings.Contains(err.Error(), "is not running") {
		t.Errorf("before Start it is ready: %v", err)
	}
	s.leader(a)
	if err := manager.Ready(a.Manager)(nil); err != nil {
		t.Errorf("while it leads Ready returned %v", err)
	}
	if err := manager.Live(a.Manager)(nil); err != nil {
		t.Errorf("while it leads Live returned %v", err)
	}
	labels := s.metricLabels("operator")
	wantMetrics(t, fetch(t, address, "/metrics"),
		"incumbent_leader_election_is_leader{"+labels+"} 1", "incumbent_leader_election_running{"+labels+"} 1",
		"incumbent_leader_election_terms_total{"+labels+",previous=\"none\"} 1")
	if e := fetchStatus(t, address, manager.StatusPath); !e.Leading || e.Identity != "a" || e.Lease != s.namespace+"/operator" {
		t.Errorf("the page has %+v", e)
	}
	if page := fetch(t, address, manager.StatusPath); !strings.Contains(page, "This process leads") {
		t.Errorf("the page is\n%s", page)
	}
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	if err := manager.Ready(a.Manager)(nil); err != nil {
		t.Errorf("after its end Ready returned %v", err)
	}
	if err := manager.Live(a.Manager)(nil); err != nil {
		t.Errorf("after its end Live returned %v", err)
	}
}

func TestObservability_ElectorInAPlainManagerHasMetricsAndAStatusPage(t *testing.T) {
	s := startTestCluster(t, false)
	address := freeAddress(t)
	c := s.plane.Client("a")
	t.Cleanup(c.Close)
	p := &process{name: "a", logs: &logs{}}
	opts := managerOptions(s.namespace, p.logs)
	opts.LeaderElection = false
	opts.Metrics.BindAddress = address
	opts.Cache = cache.Options{DefaultNamespaces: map[string]cache.Config{s.namespace: {}}}
	var err error
	if p.Manager, err = crmanager.New(c.Config(), opts); err != nil {
		t.Fatal(err)
	}
	config := electorConfig("a")
	config.LeaseNamespace = s.namespace
	elector, err := manager.NewElector(p, config, leaderelection.Callbacks{})
	if err != nil {
		t.Fatal(err)
	}
	if err := elector.Ready(nil); err == nil {
		t.Error("before Start it is ready")
	}
	start(t, p)
	await(t, elector, func(state leaderelection.State) bool { return state.Leading })
	if err := elector.Ready(nil); err != nil {
		t.Errorf("while it leads Ready returned %v", err)
	}
	if err := elector.Live(nil); err != nil {
		t.Errorf("while it leads Live returned %v", err)
	}
	labels := s.metricLabels(config.LeaseName)
	wantMetrics(t, fetch(t, address, "/metrics"), "incumbent_leader_election_is_leader{"+labels+"} 1")
	if e := fetchStatus(t, address, manager.StatusPath+"/"+s.namespace+"/"+config.LeaseName); !e.Leading || e.Identity != "a" {
		t.Errorf("the page has %+v", e)
	}
}

func TestObservability_ManagerWithoutElectionIsAlwaysReady(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		p := m.make("a", incumbent(), func(o *crmanager.Options) { o.LeaderElection = false })
		if err := manager.Ready(p.Manager)(nil); err != nil {
			t.Error(err)
		}
		if err := manager.Live(p.Manager)(nil); err != nil {
			t.Error(err)
		}
	})
}

// The metrics of a program that has registered its own Metrics must contain the Electors
// of this package.
func TestObservability_UsesTheMetricsThatTheProgramHasRegistered(t *testing.T) {
	registry, own := prometheus.NewRegistry(), metrics.New()
	registry.MustRegister(own)
	if got := manager.Register(registry); got != own {
		t.Errorf("the Electors use other metrics (%p) than the program (%p)", got, own)
	}
	registry = prometheus.NewRegistry()
	if got := manager.Register(registry); !registry.Unregister(got) {
		t.Error("the metrics are not registered")
	}
}

// With --leader-elect=false, none of a program's elections is enabled.
func TestObservability_EachElectorHasItsOwnStatusPage(t *testing.T) {
	address := freeAddress(t)
	server := leaderelectiontest.NewServer()
	t.Cleanup(server.Close)
	p := &process{name: "a", logs: &logs{}}
	opts := managerOptions("default", p.logs)
	opts.LeaderElection, opts.Metrics.BindAddress = false, address
	var err error
	if p.Manager, err = crmanager.New(server.Client("a").Config(), opts); err != nil {
		t.Fatal(err)
	}
	for _, lease := range []string{"first", "second"} {
		config := &leaderelection.Config{AllowDisabled: true, Identity: lease, LeaseNamespace: "default", LeaseName: lease}
		if _, err := manager.NewElector(p, config, leaderelection.Callbacks{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := manager.NewElector(p, &leaderelection.Config{Identity: "third"}, leaderelection.Callbacks{}); err != nil {
		t.Fatal(err)
	}
	start(t, p)
	<-p.Elected()
	for path, identity := range map[string]string{"/default/first": "first", "/default/second": "second", "": "third"} {
		if e := fetchStatus(t, address, manager.StatusPath+path); e.Enabled || e.Identity != identity {
			t.Errorf("%s shows %+v", path, e)
		}
	}
}

// The Elector's Run returns nil after a loss of leadership. A program that does not exit
// after an error of Start must not be ready.
func TestObservability_IsNotReadyAfterAnErrorOfStart(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		p := m.leader("a", time.Second)
		ready, live := manager.Ready(p.Manager), manager.Live(p.Manager)
		if err := ready(nil); err != nil {
			t.Errorf("while it leads Ready returned %v", err)
		}
		m.Client("a").Network().Cut(leaderelectiontest.Refuse)
		<-p.done
		if !errors.Is(p.err, manager.ErrLeadershipLost) {
			t.Fatalf("Start = %v, want ErrLeadershipLost", p.err)
		}
		if err := ready(nil); err == nil || !strings.Contains(err.Error(), manager.ErrLeadershipLost.Error()) {
			t.Errorf("after Start Ready returned %v, want %v", err, manager.ErrLeadershipLost)
		}
		if err := live(nil); err != nil {
			t.Errorf("after Start Live returned %v", err)
		}
	})
}

func TestObservability_ElectorIsNotReadyAfterAnErrorOfRun(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		failure := errors.New("out of order")
		p, e := m.withElector("a", leaderelection.Callbacks{},
			leaderOnly(func(context.Context) error { return failure }, manager.FailManager()))
		<-p.done
		if err := e.Ready(nil); err == nil || !strings.Contains(err.Error(), failure.Error()) {
			t.Errorf("after Run Ready returned %v, want %v", err, failure)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- e.Run(ctx) }()
		await(t, e, leading)
		if err := e.Ready(nil); err != nil {
			t.Errorf("in the next Run Ready returned %v", err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
