package manager_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/cert"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
	"github.com/haproxy-template-ic/incumbent/manager"
)

// freeAddress returns an address with a free port. On Linux the host is a random
// loopback address, because outgoing connections can take the ports of 127.0.0.1.
func freeAddress(t *testing.T) string {
	t.Helper()
	host := "127.0.0.1"
	if runtime.GOOS == "linux" { // on other systems, 127.0.0.1 is the only loopback address
		host = fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// certificates returns a folder with a certificate and a key for a webhook server.
func certificates(t *testing.T) string {
	t.Helper()
	certificate, key, err := cert.GenerateSelfSignedCertKey("localhost", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{"tls.crt": certificate, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// get sends requests to url until a server responds. It returns the status and the body
// of the response.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	visitor := &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the certificate of the test server is self-signed
		DisableKeepAlives: true,
	}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := visitor.Do(r)
		if err == nil {
			defer response.Body.Close()
			content, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			return response.StatusCode, string(content)
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s does not respond: %v", url, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestFollower_ServesWebhooksMetricsAndHealth(t *testing.T) {
	s := startTestCluster(t, false)
	s.configMaps(1)
	s.leader(s.replica("a", incumbent(manager.WithIdentity("a")), untilCancelled))

	metrics, health, hooks := freeAddress(t), freeAddress(t), freeAddress(t)
	hookAddress := netip.MustParseAddrPort(hooks)
	server := webhook.NewServer(webhook.Options{
		Host: hookAddress.Addr().String(), Port: int(hookAddress.Port()), CertDir: certificates(t),
	})
	b := s.replica("b", incumbent(manager.WithIdentity("b")), untilCancelled, func(o *crmanager.Options, _ *rest.Config) {
		o.Metrics.BindAddress, o.HealthProbeBindAddress, o.WebhookServer = metrics, health, server
	})
	b.GetWebhookServer().Register("/hook", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hooked")
	}))
	for _, err := range []error{b.AddHealthzCheck("ping", healthz.Ping), b.AddReadyzCheck("ping", healthz.Ping)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	everywhere := newWorker(0)
	everywhere.follows = true
	s.follower(b.add(everywhere))

	for url, want := range map[string]string{
		"http://" + metrics + "/metrics": "leader_election_master_status",
		"http://" + health + "/healthz":  "ok",
		"http://" + health + "/readyz":   "ok",
		"https://" + hooks + "/hook":     "hooked",
	} {
		if status, body := get(t, url); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s responds %d, and %q is not in %.200s", url, status, want, body)
		}
	}
	s.await("the Runnable without leader election starts", everywhere.started)
	if b.elector().IsLeader() || closed(b.Elected()) || closed(b.first) {
		t.Errorf("b leads: %v, was elected: %v, reconciles: %v", b.elector().IsLeader(), closed(b.Elected()), closed(b.first))
	}
	if err := b.stop(); err != nil {
		t.Errorf("b stopped with %v", err)
	}
	b.logs.wantNoErrors(t)
}

// A warmedWorker is a worker that warms up before its Manager leads. The warm-up closes
// warm.
type warmedWorker struct {
	*worker
	warm chan struct{}
}

func (w warmedWorker) Warmup(context.Context) error { close(w.warm); return nil }

func TestFollower_WarmsUpBeforeItLeads_AndIsElectedWhenItLeads(t *testing.T) {
	s := startTestCluster(t, false)
	configMaps := s.configMaps(3)
	a := s.leader(s.replica("a", incumbent(manager.WithIdentity("a")), untilCancelled))
	w := warmedWorker{newWorker(0), make(chan struct{})}
	b := s.follower(s.replica("b", incumbent(manager.WithIdentity("b")), untilCancelled).add(w))
	s.await("b is warm", w.warm)
	// Wait until the controller of b has read the ConfigMaps.
	for b.network.Count(ofConfigMaps) == 0 {
		time.Sleep(20 * time.Millisecond)
	}
	for _, configMap := range configMaps {
		if err := b.GetClient().Get(t.Context(), client.ObjectKeyFromObject(configMap), configMap); err != nil {
			t.Errorf("b's cache has no %s: %v", configMap.Name, err)
		}
	}
	requests := b.network.Count(ofConfigMaps)
	if closed(b.Elected()) || closed(w.started) {
		t.Fatal("b was elected beside a")
	}
	if err := a.stop(); err != nil {
		t.Error(err)
	}
	s.await("b is elected", b.Elected())
	s.await("the worker of b starts", w.started)
	s.await("b reconciles", b.first)
	if n := b.network.Count(ofConfigMaps) - requests; n > 0 {
		t.Errorf("b asked for ConfigMaps %d times more when it led: its caches were cold", n)
	}
}

func ofConfigMaps(r leaderelectiontest.Request) bool {
	return r.Resource == "configmaps" && leaderelectiontest.Reads(r)
}

func TestFollower_StopStartsNothingAndDoesNotAffectTheLeader(t *testing.T) {
	s := startTestCluster(t, false)
	s.configMaps(1)
	a := s.leader(s.replica("a", incumbent(manager.WithIdentity("a")), untilCancelled))
	b := s.follower(s.replica("b", incumbent(manager.WithIdentity("b")), untilCancelled))
	if err := b.stop(); err != nil || closed(b.Elected()) || closed(b.first) {
		t.Errorf("b stopped with %v; elected: %v, it has reconciled: %v", err, closed(b.Elected()), closed(b.first))
	}
	b.logs.wantNoErrors(t)
	if holder := s.holder(); holder != "a" || !a.elector().IsLeader() {
		t.Errorf("the Lease is held by %q, a leads: %v", holder, a.elector().IsLeader())
	}
}

func TestOperator_CampaignsOnlyOnceItsCachesHaveSynced(t *testing.T) {
	s := startTestCluster(t, false)
	s.configMaps(1)
	a := s.replica("a", incumbent(manager.WithIdentity("a")), untilCancelled).prime()
	cold := a.network.Fail(http.StatusServiceUnavailable, 0, leaderelectiontest.Resource("configmaps"))
	a.run()
	for n := 0; n < 3; n = cold.Hits() {
		time.Sleep(20 * time.Millisecond)
	}
	if n := a.network.Count(func(r leaderelectiontest.Request) bool { return r.Resource == "leases" }); n > 0 {
		t.Errorf("%d requests for the Lease while the caches were cold", n)
	}
	cold.Heal()
	s.await("a reconciles", a.first)
}

func TestOperator_ThatIsStoppedWhileItsCachesCannotSyncReturnsAfterTheGracePeriod(t *testing.T) {
	s := startTestCluster(t, false)
	a := s.replica("a", incumbent(manager.WithIdentity("a")), untilCancelled, func(o *crmanager.Options, _ *rest.Config) {
		o.GracefulShutdownTimeout = ptr.To(500 * time.Millisecond)
	}).prime()
	cold := a.network.Fail(http.StatusServiceUnavailable, 0, leaderelectiontest.Resource("configmaps"))
	a.run()
	cold.Await(t)
	if err := a.stop(); err == nil {
		t.Error("Start returned nil although a Runnable still runs")
	}
	_, err := s.plane.Admin().Clientset().CoordinationV1().Leases(s.namespace).Get(t.Context(), leaseName, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("there is a Lease, or %v", err)
	}
	cold.Heal()
	s.await("its inner Manager stops", manager.InnerStopped(a.Manager))
}
