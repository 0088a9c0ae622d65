package leaderelection_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// An eventLog is an event recorder that stores each event as a line.
type eventLog struct {
	mu    sync.Mutex
	lines []string
	block chan struct{} // if not nil, Eventf blocks until this channel is closed
}

func (d *eventLog) Eventf(object runtime.Object, kind, reason, format string, args ...any) {
	if d.block != nil {
		<-d.block
	}
	subject := "?"
	switch o := object.(type) {
	case *coordinationv1.Lease:
		subject = o.Kind + " " + o.Namespace + "/" + o.Name
		if o.UID == "" {
			subject += " without UID"
		}
	case *corev1.ObjectReference:
		subject = o.Kind + " " + o.Namespace + "/" + o.Name + " " + string(o.UID)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf("%s: %s %s: %s", subject, kind, reason, fmt.Sprintf(format, args...)))
}

func (d *eventLog) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Equal(d.lines, want) {
		t.Errorf("the events are\n%s\nwant\n%s", strings.Join(d.lines, "\n"), strings.Join(want, "\n"))
	}
}

const onLease, onPod = "Lease default/my-app-leader: ", "Pod default/a uid-1: "

func (d *eventLog) options() []leaderelection.Option {
	return []leaderelection.Option{leaderelection.WithEventRecorder(d)}
}

func TestEvents_ReportACancelledTerm(t *testing.T) {
	withHarness(t, func(h *harness) {
		var d eventLog
		a := h.newReplica("a", append(d.options(), leaderelection.WithPod("default", "a", "uid-1")))
		a.run()
		h.waitUntil(time.Second, a.IsLeader)
		_ = a.stop()
		d.want(t,
			onLease+"Normal LeaderElection: a became leader", onPod+"Normal LeaderElection: a became leader",
			onLease+"Normal LeaderElection: a stopped leading", onPod+"Normal LeaderElection: a stopped leading")
	})
}

func TestEvents_ReportAStepDown(t *testing.T) {
	withHarness(t, func(h *harness) {
		var d eventLog
		a := h.newReplica("a", d.options())
		a.run()
		h.waitUntil(time.Second, a.IsLeader)
		if err := a.StepDown(h.Context()); err != nil {
			t.Fatal(err)
		}
		d.want(t, onLease+"Normal LeaderElection: a became leader", onLease+"Normal LeaderElection: a stepped down")
	})
}

func TestEvents_ReportWhyLeadershipWasLost(t *testing.T) {
	withHarness(t, func(h *harness) {
		var d eventLog
		a := h.newReplica("a", d.options())
		a.run()
		h.waitUntil(time.Second, a.IsLeader)
		other := "other"
		h.editLease(func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = &other })
		time.Sleep(time.Second)
		d.want(t, onLease+"Normal LeaderElection: a became leader",
			onLease+"Warning LeadershipLost: a lost leadership: another holder was written into the Lease")
	})
}

func TestEvents_ReportWorkThatOverran(t *testing.T) {
	withHarness(t, func(h *harness) {
		var d eventLog
		end := make(chan struct{})
		a := h.newReplica("a", d.options(), withConfig(func(c *leaderelection.Config) { c.StopTimeout = time.Second }),
			withWork(func(context.Context) { <-end }))
		a.run()
		h.waitUntil(time.Second, a.IsLeader)
		_ = a.stop()
		close(end)
		d.want(t, onLease+"Normal LeaderElection: a became leader", onLease+"Normal LeaderElection: a stopped leading",
			onLease+"Warning LeadershipOverran: a overran: its work has not stopped within 1s, and the Lease was not released")
	})
}

// A blocked event recorder must not delay the Traces, because the packages metrics,
// health and status depend on the Traces.
func TestEvents_ABlockedRecorderDelaysNoTrace(t *testing.T) {
	withHarness(t, func(h *harness) {
		d, requests := eventLog{block: make(chan struct{})}, 0
		trace := leaderelection.Trace{Request: func(leaderelection.Request) { requests++ }}
		h.newReplica("a", append(d.options(), leaderelection.WithTrace(trace))).run()
		time.Sleep(time.Minute)
		synctest.Wait()
		if requests < 30 {
			t.Errorf("%d requests were reported in a minute, want at least 30", requests)
		}
		close(d.block)
	})
}

func TestEvents_ABlockedRecorderDelaysNoTerm(t *testing.T) {
	withHarness(t, func(h *harness) {
		d := eventLog{block: make(chan struct{})}
		a := h.newReplica("a", d.options())
		a.run()
		h.waitUntil(time.Second, a.IsLeader)
		began := h.elapsed()
		_ = a.stop()
		if took := h.elapsed() - began; took > 100*time.Millisecond {
			t.Errorf("Run took %v to return, want at most 100 ms", took)
		}
		close(d.block)
		d.want(t, onLease+"Normal LeaderElection: a became leader", onLease+"Normal LeaderElection: a stopped leading")
	})
}
