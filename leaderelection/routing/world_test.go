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

	// Trust lasts 2.25 s, the margin is 750 ms.
	leaseDuration = 3 * time.Second
	trustWindow   = 2250 * time.Millisecond
	margin        = leaseDuration - trustWindow

	// routePace is how long it takes at most until a leader has looked at the labels.
	routePace = 31 * time.Second
)

// A world is an API server with Leases and Pods, in a bubble of fake time.
type world struct {
	*testing.T
	server *leaderelectiontest.Server
	pods   *routingtest.Pods
}

// inBubble runs f in a bubble. What is left in it when f returns fails the test.
func inBubble(t *testing.T, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, server: leaderelectiontest.NewServer(), pods: routingtest.NewPods(leaderKey, "yes")}
		t.Cleanup(w.server.Close)
		f(w)
	})
}

// A process is an Elector with a Router in the Pod of its name.
type process struct {
	*leaderelection.Elector
	router    *routing.Router
	config    leaderelection.Config
	callbacks leaderelection.Callbacks
	cancel    context.CancelFunc
	done      chan struct{} // closed when Run has returned
	err       error         // then: what it returned

	mu  sync.Mutex
	log bytes.Buffer
}

func (p *process) Write(line []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(line)
}

// told returns the lines that contain all of these.
func (p *process) told(parts ...string) (found []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for line := range strings.Lines(p.log.String()) {
		if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
			found = append(found, line)
		}
	}
	return found
}

// campaign runs a process until the test or stop ends it.
func (w *world) campaign(name string, change ...func(*process)) *process {
	w.Helper()
	p := &process{config: leaderelection.Config{
		Enabled: true, Identity: name, LeaseName: leaseName, LeaseNamespace: "default", ReleaseOnCancel: true,
		LeaseDuration: leaseDuration, RenewDeadline: 2 * time.Second, RetryPeriod: 250 * time.Millisecond,
	}}
	for _, f := range change {
		f(p)
	}
	clientset, err := kubernetes.NewForConfig(w.pods.Behind(w.server.Client(name).Config()))
	if err != nil {
		w.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(p, nil))
	label := routing.Label{Key: leaderKey, Value: "yes", PodNamespace: "default", PodName: name}
	if p.router, err = routing.New(label, clientset, logger); err != nil {
		w.Fatal(err)
	}
	if p.Elector, err = leaderelection.New(&p.config, clientset, p.callbacks, logger, p.router.Option()); err != nil {
		w.Fatal(err)
	}
	w.run(p)
	return p
}

// run starts the process once more.
func (w *world) run(p *process) {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.done = cancel, make(chan struct{})
	done := p.done
	go func() {
		defer close(done)
		p.err = p.Run(ctx)
	}()
	w.Cleanup(func() { cancel(); <-done })
}

// lead runs a process until it leads.
func (w *world) lead(name string, change ...func(*process)) *process {
	w.Helper()
	p := w.campaign(name, change...)
	p.awaitTerm(w)
	return p
}

func (p *process) awaitTerm(w *world) {
	w.Helper()
	for deadline := time.Now().Add(time.Minute); !p.IsLeader(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatal("it does not lead")
		}
	}
}

// stop asks the Elector to stop, and waits until Run has returned.
func (p *process) stop() error {
	p.cancel()
	<-p.done
	return p.err
}

func (w *world) wantLabelled(when string, want ...string) {
	w.Helper()
	if got := w.pods.Labelled(); !slices.Equal(got, want) {
		w.Errorf("%s: labelled are %q, want %q", when, got, want)
	}
}

// holder is who holds the Lease, "" if nobody does.
func (w *world) holder() string {
	w.Helper()
	lease, err := w.server.Get("default", leaseName)
	if apierrors.IsNotFound(err) {
		return ""
	}
	if err != nil {
		w.Fatal(err)
	}
	return leaderelectiontest.Holder(lease)
}

// give writes another holder into the Lease.
func (w *world) give(holder string) {
	w.Helper()
	err := w.server.Edit("default", leaseName, func(lease *coordinationv1.Lease) { lease.Spec.HolderIdentity = &holder })
	if err != nil {
		w.Fatal(err)
	}
}
