package manager_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/manager"
)

func TestClient_NamesTheElectorAndKnowsNoRateLimit(t *testing.T) {
	inMemory(t, func(t *testing.T, m memory) {
		var mu sync.Mutex
		agents := map[string]bool{}
		cfg := m.Client("a").Config()
		cfg.UserAgent = "my-operator/1.2"
		cfg.RateLimiter = flowcontrol.NewFakeNeverRateLimiter() // the application's is exhausted for good
		cfg.Timeout = time.Millisecond
		cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTripperFunc(func(r *http.Request) (*http.Response, error) {
				if strings.Contains(r.URL.Path, "/leases") {
					mu.Lock()
					defer mu.Unlock()
					agents[r.UserAgent()] = true
				}
				return next.RoundTrip(r)
			})
		})
		p := &process{name: "a", logs: &logs{}}
		var err error
		if p.Manager, err = manager.New(cfg, managerOptions("default", p.logs)); err != nil {
			t.Fatal(err)
		}
		start(t, p)
		<-p.Elected()
		time.Sleep(2 * leaseDuration)
		if !p.elector().IsLeader() {
			t.Error("it does not lead any more")
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
		if len(agents) != 1 || !agents["my-operator/1.2/incumbent-leader-election"] {
			t.Errorf("the elector calls itself %v", agents)
		}
		if cfg.QPS != -1 || cfg.Timeout != time.Millisecond || cfg.UserAgent != "my-operator/1.2" {
			t.Error("the caller's config was changed")
		}
	})
}

// Connections can be cut in a way that nobody is told of, as routers do that
// forget: new ones work.
type connections struct {
	mu   sync.Mutex
	open []*connection
	all  []*connection
}

type connection struct {
	net.Conn
	dead   chan struct{} // closed when nothing passes any more
	closed chan struct{}
	once   sync.Once
}

func (c *connections) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	wrapped := &connection{Conn: conn, dead: make(chan struct{}), closed: make(chan struct{})}
	c.open, c.all = append(c.open, wrapped), append(c.all, wrapped)
	return wrapped, nil
}

// close closes all connections, those that are forgotten as well.
func (c *connections) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.all {
		_ = conn.Close()
	}
}

// made is all connections so far. One may still be under way when nobody wants it
// any more.
func (c *connections) made() []*connection {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.all)
}

// forget kills all connections that are open now.
func (c *connections) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.open {
		close(conn.dead)
	}
	c.open = nil
}

func (c *connection) Write(p []byte) (int, error) {
	if closed(c.dead) {
		return len(p), nil // into the void
	}
	return c.Conn.Write(p)
}

func (c *connection) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if closed(c.dead) && !closed(c.closed) {
		<-c.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *connection) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// The same with both. HTTP/2 takes 45 s to notice that its one connection is
// dead.
func TestBoth_DeadConnectionsDoNotCostTheLease(t *testing.T) {
	for _, tc := range []struct {
		name   string
		create newManager
		keeps  bool
	}{{"controller-runtime", theirs, false}, {"incumbent", ours(manager.WithIdentity("a")), true}} {
		t.Run(tc.name, func(t *testing.T) {
			s := onSite(t, false)
			s.configMaps(1)
			conns := &connections{}
			t.Cleanup(conns.close)
			a := s.leader(s.replica("a", tc.create, untilCancelled, func(_ *crmanager.Options, cfg *rest.Config) { cfg.Dial = conns.dial }))
			conns.forget()
			select {
			case <-a.done:
				if tc.keeps {
					t.Errorf("it lost the Lease: %v", a.err)
				}
			case <-time.After(10 * time.Second): // well over LeaseDuration
				if !tc.keeps {
					t.Error("it kept the Lease")
				}
			}
		})
	}
}

func TestClient_ItsConnectionsEndWithTheManager(t *testing.T) {
	s := onSite(t, false)
	conns := &connections{}
	t.Cleanup(conns.close)
	a := s.replica("a", ours(manager.WithIdentity("a")), untilCancelled, func(o *crmanager.Options, cfg *rest.Config) {
		o.LeaderElectionConfig = rest.CopyConfig(cfg)
		o.LeaderElectionConfig.Dial = conns.dial
	}).run()
	s.await("a is elected", a.Elected())
	if err := a.stop(); err != nil {
		t.Error(err)
	}
	made := conns.made()
	if len(made) == 0 {
		t.Error("the elector had no connection of its own")
	}
	for _, conn := range made {
		s.await("a connection is closed", conn.closed)
	}
}

func TestEvents_TellWhoLedAndWhoStopped(t *testing.T) {
	s := onSite(t, false)
	s.configMaps(1)
	a := s.leader(s.replica("a", ours(manager.WithIdentity("a")), untilCancelled))
	watch, err := s.plane.Admin().Clientset().CoreV1().Events(s.namespace).Watch(t.Context(), metav1.ListOptions{
		FieldSelector: "involvedObject.kind=Lease,involvedObject.name=" + leaseName,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	if err := a.elector().StepDown(t.Context()); err != nil {
		t.Error(err)
	}
	<-a.done
	if !errors.Is(a.err, leaderelection.ErrSteppedDown) {
		t.Errorf("Start returned %v, want ErrSteppedDown", a.err)
	}
	deadline := time.After(time.Minute)
	for _, want := range []string{"a became leader", "a stepped down"} {
		select {
		case event := <-watch.ResultChan():
			if message := messageOf(event); message != want {
				t.Errorf("an event says %q, want %q", message, want)
			}
		case <-deadline:
			t.Fatalf("no event says %q", want)
		}
	}
}
