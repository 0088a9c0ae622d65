package manager_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/manager"
)

// The test compares a Manager of controller-runtime with a Manager that New returned.
// The election of controller-runtime uses HTTP/2 by default. client-go detects a dead
// HTTP/2 connection only after 45 s. The Lease expires earlier.
func TestBoth_DeadConnectionsDoNotCostTheLease(t *testing.T) {
	for _, tc := range []struct {
		name   string
		create newManager
		keeps  bool
	}{{"controller-runtime", controllerRuntime, false}, {"incumbent", incumbent(manager.WithIdentity("a")), true}} {
		t.Run(tc.name, func(t *testing.T) {
			s := startTestCluster(t, false)
			s.configMaps(1)
			a := s.leader(s.replica("a", tc.create, untilCancelled))
			a.machine.LoseConnections()
			select {
			case <-a.done:
				if tc.keeps {
					t.Errorf("it lost the Lease: %v", a.err)
				}
			case <-time.After(10 * time.Second): // longer than LeaseDuration
				if !tc.keeps {
					t.Error("it kept the Lease")
				}
			}
		})
	}
}

// A connection is a net.Conn whose method Close also closes done.
type connection struct {
	net.Conn
	once sync.Once
	done chan struct{}
}

func (c *connection) Close() error {
	c.once.Do(func() { close(c.done) })
	return c.Conn.Close()
}

func TestClient_ConnectionsAreClosedWithTheManager(t *testing.T) {
	s := startTestCluster(t, false)
	var mu sync.Mutex
	var made []*connection
	a := s.replica("a", incumbent(manager.WithIdentity("a")), untilCancelled, func(o *crmanager.Options, cfg *rest.Config) {
		o.LeaderElectionConfig = rest.CopyConfig(cfg)
		o.LeaderElectionConfig.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := cfg.Dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			mu.Lock()
			defer mu.Unlock()
			made = append(made, &connection{Conn: conn, done: make(chan struct{})})
			return made[len(made)-1], nil
		}
	}).run()
	s.await("a is elected", a.Elected())
	if err := a.stop(); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock() // a dial may still run after its request has ended
	if len(made) == 0 {
		t.Error("the elector had no connection of its own")
	}
	for _, conn := range made {
		s.await("a connection is closed", conn.done)
	}
}

func TestEvents_NameTheLeaderThatStartedAndStopped(t *testing.T) {
	s := startTestCluster(t, false)
	s.configMaps(1)
	a := s.leader(s.replica("a", incumbent(manager.WithIdentity("a")), untilCancelled))
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
				t.Errorf("an event has the message %q, want %q", message, want)
			}
		case <-deadline:
			t.Fatalf("no event has the message %q", want)
		}
	}
}
