package routing_test

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/routing"
	"github.com/haproxy-template-ic/incumbent/leaderelection/routing/routingtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	leaderKey = "example.com/leader"
	leaseName = "my-app-leader"

	// With this leaseDuration, the trust window is 2.25 s and the margin is 750 ms.
	leaseDuration = 3 * time.Second
	trustWindow   = 2250 * time.Millisecond
	margin        = leaseDuration - trustWindow

	// checkPeriod is longer than the maximum time between two checks of the labels.
	checkPeriod = 31 * time.Second
)

// A testCluster is an in-memory API server with Leases and Pods. Its clock is fake.
type testCluster struct {
	*testing.T
	server *leaderelectiontest.Server
	pods   *routingtest.Pods
}

// inTestCluster runs f in fake time. The test fails if a goroutine outlives f.
func inTestCluster(t *testing.T, f func(c *testCluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &testCluster{T: t, server: leaderelectiontest.NewServer(), pods: routingtest.NewPods(leaderKey, "yes")}
		t.Cleanup(c.server.Close)
		f(c)
	})
}

// A candidate is an Elector with a Router. The candidate and its Pod have the same name.
type candidate struct {
	*leaderelection.Elector
	router    *routing.Router
	config    leaderelection.Config
	callbacks leaderelection.Callbacks
	cancel    context.CancelFunc
	done      chan struct{} // closed when Run has returned
	err       error         // the error of Run; read it after done is closed

	mu  sync.Mutex
	log bytes.Buffer
}

func (p *candidate) Write(line []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(line)
}

// logged returns the candidate's log lines that contain all the given strings.
func (p *candidate) logged(parts ...string) (found []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for line := range strings.Lines(p.log.String()) {
		if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
			found = append(found, line)
		}
	}
	return found
}

// campaign starts a candidate. The candidate runs until its method stop is called or the
// test ends.
func (c *testCluster) campaign(name string, change ...func(*candidate)) *candidate {
	c.Helper()
	p := &candidate{config: leaderelection.Config{
		Enabled: true, Identity: name, LeaseName: leaseName, LeaseNamespace: "default", ReleaseOnCancel: true,
		LeaseDuration: leaseDuration, RenewDeadline: 2 * time.Second, RetryPeriod: 250 * time.Millisecond,
	}}
	for _, f := range change {
		f(p)
	}
	clientset, err := kubernetes.NewForConfig(c.pods.Config(c.server.Client(name).Config()))
	if err != nil {
		c.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(p, nil))
	label := routing.Label{Key: leaderKey, Value: "yes", PodNamespace: "default", PodName: name}
	if p.router, err = routing.New(label, clientset, logger); err != nil {
		c.Fatal(err)
	}
	if p.Elector, err = leaderelection.New(&p.config, clientset, p.callbacks, logger, p.router.Option()); err != nil {
		c.Fatal(err)
	}
	c.run(p)
	return p
}

// run calls Run of the candidate's Elector in the background.
func (c *testCluster) run(p *candidate) {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.done = cancel, make(chan struct{})
	done := p.done
	go func() {
		defer close(done)
		p.err = p.Run(ctx)
	}()
	c.Cleanup(func() { cancel(); <-done })
}

// lead starts a candidate and waits until it leads.
func (c *testCluster) lead(name string, change ...func(*candidate)) *candidate {
	c.Helper()
	p := c.campaign(name, change...)
	p.awaitTerm(c)
	return p
}

func (p *candidate) awaitTerm(c *testCluster) {
	c.Helper()
	for deadline := time.Now().Add(time.Minute); !p.IsLeader(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.Fatal("it does not lead within a minute")
		}
	}
}

// stop stops the Elector and waits until Run has returned.
func (p *candidate) stop() error {
	p.cancel()
	<-p.done
	return p.err
}

func (c *testCluster) wantLabelled(when string, want ...string) {
	c.Helper()
	if got := c.pods.Labelled(); !slices.Equal(got, want) {
		c.Errorf("%s: labelled Pods are %q, want %q", when, got, want)
	}
}

// holder returns the holder of the Lease, or "" if the Lease has no holder.
func (c *testCluster) holder() string {
	c.Helper()
	lease, err := c.server.Get("default", leaseName)
	if apierrors.IsNotFound(err) {
		return ""
	}
	if err != nil {
		c.Fatal(err)
	}
	return leaderelectiontest.Holder(lease)
}

// overtake writes another holder into the Lease.
func (c *testCluster) overtake(holder string) {
	c.Helper()
	err := c.server.Edit("default", leaseName, func(lease *coordinationv1.Lease) { lease.Spec.HolderIdentity = &holder })
	if err != nil {
		c.Fatal(err)
	}
}
