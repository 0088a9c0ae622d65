package leaderelection

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"

	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

type roundTripperFunc func(*http.Request) (*http.Response, error)

func (f roundTripperFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestClientConfig_HasNoRateLimitAndLeavesTheCallersAlone(t *testing.T) {
	restConfig := &rest.Config{
		Host: "https://example.com", BearerTokenFile: "/token", UserAgent: "my-app/1.2",
		QPS: 5, Burst: 10, RateLimiter: flowcontrol.NewFakeNeverRateLimiter(), Timeout: time.Second,
	}
	before := rest.CopyConfig(restConfig)
	own := Config{}.ClientConfig(restConfig)
	if !reflect.DeepEqual(restConfig, before) {
		t.Errorf("the caller's became %+v", restConfig)
	}
	if own.QPS != -1 || own.RateLimiter != nil || own.Timeout != 0 {
		t.Errorf("QPS %v, RateLimiter %v, Timeout %v", own.QPS, own.RateLimiter, own.Timeout)
	}
	if own.Host != before.Host || own.BearerTokenFile != before.BearerTokenFile {
		t.Errorf("it leads to %s with the token in %q", own.Host, own.BearerTokenFile)
	}
	for _, again := range []*rest.Config{own, Config{}.ClientConfig(own)} {
		if again.UserAgent != "my-app/1.2/incumbent-leader-election" {
			t.Errorf("it calls itself %q", again.UserAgent)
		}
	}
	if own := (Config{}).ClientConfig(&rest.Config{}); own.UserAgent != rest.DefaultKubernetesUserAgent()+userAgentSuffix {
		t.Errorf("without a name it calls itself %q", own.UserAgent)
	}
}

func TestClientConfig_KeepsWhatTheCallerHasSet(t *testing.T) {
	var dialled, proxied, wrapped bool
	own := Config{}.ClientConfig(&rest.Config{
		TLSClientConfig: rest.TLSClientConfig{NextProtos: []string{"h2"}},
		Dial: func(context.Context, string, string) (net.Conn, error) {
			dialled = true
			return nil, errors.New("dialled")
		},
		Proxy:         func(*http.Request) (*url.URL, error) { proxied = true; return nil, nil },
		WrapTransport: func(next http.RoundTripper) http.RoundTripper { wrapped = true; return next },
	})
	if _, err := kubernetes.NewForConfigOrDie(own).Discovery().ServerVersion(); err == nil || !dialled || !proxied || !wrapped {
		t.Errorf("%v; Dial %t, Proxy %t, WrapTransport %t", err, dialled, proxied, wrapped)
	}
	if len(own.NextProtos) != 1 || own.NextProtos[0] != "h2" {
		t.Errorf("NextProtos are %q", own.NextProtos)
	}
	transport := roundTripperFunc(nil)
	own = Config{}.ClientConfig(&rest.Config{Transport: transport})
	if own.Transport == nil || own.Dial != nil || own.NextProtos != nil {
		t.Errorf("beside a Transport: Dial set %t, NextProtos %q", own.Dial != nil, own.NextProtos)
	}
}

// Each clientset for an election must have its own connection. The server answers with
// the protocol and with the client address, which identifies the connection.
func TestClientConfig_SharesNoConnection(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto+" "+r.RemoteAddr)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	app := &rest.Config{Host: server.URL}
	app.CAData = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	ask := func(config *rest.Config) (proto, connection string) {
		t.Helper()
		client := kubernetes.NewForConfigOrDie(config).Discovery().RESTClient().(*rest.RESTClient)
		t.Cleanup(client.Client.CloseIdleConnections)
		answer, err := client.Get().AbsPath("/").DoRaw(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		proto, connection, _ = strings.Cut(string(answer), " ")
		return proto, connection
	}

	_, apps := ask(app)
	unlimited := rest.CopyConfig(app)
	unlimited.QPS = -1
	if proto, connection := ask(unlimited); proto != "HTTP/2.0" || connection != apps {
		t.Errorf("a clientset of its own spoke %s over %s, and the application over %s: this test shows nothing", proto, connection, apps)
	}
	used := map[string]bool{apps: true}
	dialled := rest.CopyConfig(app)
	dialled.Dial = (&net.Dialer{}).DialContext
	for _, own := range []*rest.Config{Config{}.ClientConfig(app), Config{}.ClientConfig(app), Config{}.ClientConfig(dialled), Config{}.ClientConfig(dialled)} {
		proto, connection := ask(own)
		if proto != "HTTP/1.1" || used[connection] {
			t.Errorf("an election spoke %s over %s, one of %v", proto, connection, used)
		}
		used[connection] = true
	}
}

func TestClientConfig_DialsInStepWithTheDurationsButNotForMinutes(t *testing.T) {
	for _, test := range []struct{ renewDeadline, timeout, keepAlive time.Duration }{
		{time.Second, time.Second, time.Second},
		{6 * time.Second, 3 * time.Second, time.Second},
		{0, 5 * time.Second, 2 * time.Second}, // zero means the default
		{10 * time.Minute, 5 * time.Second, 2 * time.Second},
	} {
		dialer := Config{RenewDeadline: test.renewDeadline}.dialer()
		want := net.KeepAliveConfig{Enable: true, Idle: test.keepAlive, Interval: test.keepAlive, Count: 2}
		if dialer.Timeout != test.timeout || dialer.KeepAliveConfig != want {
			t.Errorf("RenewDeadline %v: Timeout %v, %+v", test.renewDeadline, dialer.Timeout, dialer.KeepAliveConfig)
		}
	}
}

func TestClientConfig_NamesTheElectorAndStarvesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		var mu sync.Mutex
		agents := map[string]bool{}
		restConfig := server.Client("a").Config()
		restConfig.UserAgent = "my-app/1.2"
		restConfig.RateLimiter = flowcontrol.NewFakeNeverRateLimiter() // this rate limiter never allows a request
		restConfig.Timeout = time.Millisecond
		restConfig.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTripperFunc(func(r *http.Request) (*http.Response, error) {
				mu.Lock()
				defer mu.Unlock()
				agents[r.UserAgent()] = true
				return next.RoundTrip(r)
			})
		})
		config := &Config{Enabled: true, Identity: "a", LeaseName: "my-app-leader", LeaseNamespace: "default"}
		e, err := New(config, kubernetes.NewForConfigOrDie(config.ClientConfig(restConfig)), Callbacks{}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error)
		go func() { ran <- e.Run(ctx) }()
		time.Sleep(2 * DefaultLeaseDuration)
		if !e.IsLeader() {
			t.Error("it does not lead")
		}
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		if len(agents) != 1 || !agents["my-app/1.2/incumbent-leader-election"] {
			t.Errorf("the elector calls itself %v", agents)
		}
	})
}
