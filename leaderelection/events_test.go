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

// A diary keeps events as lines.
type diary struct {
	mu    sync.Mutex
	lines []string
	block chan struct{} // not nil: until it is closed
}

func (d *diary) Eventf(object runtime.Object, kind, reason, format string, args ...any) {
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

func (d *diary) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Equal(d.lines, want) {
		t.Errorf("the events are\n%s\nwant\n%s", strings.Join(d.lines, "\n"), strings.Join(want, "\n"))
	}
}

const onLease, onPod = "Lease default/my-app-leader: ", "Pod default/a uid-1: "

func (d *diary) options() []leaderelection.Option {
	return []leaderelection.Option{leaderelection.WithEventRecorder(d)}
}

func TestEvents_TellOfATermThatIsCancelled(t *testing.T) {
	play(t, func(s *stage) {
		var d diary
		a := s.candidate("a", append(d.options(), leaderelection.WithPod("default", "a", "uid-1")))
		a.run()
		s.until(time.Second, a.IsLeader)
		_ = a.stop()
		d.want(t,
			onLease+"Normal LeaderElection: a became leader", onPod+"Normal LeaderElection: a became leader",
			onLease+"Normal LeaderElection: a stopped leading", onPod+"Normal LeaderElection: a stopped leading")
	})
}

func TestEvents_TellOfSteppingDown(t *testing.T) {
	play(t, func(s *stage) {
		var d diary
		a := s.candidate("a", d.options())
		a.run()
		s.until(time.Second, a.IsLeader)
		if err := a.StepDown(s.Context()); err != nil {
			t.Fatal(err)
		}
		d.want(t, onLease+"Normal LeaderElection: a became leader", onLease+"Normal LeaderElection: a stepped down")
	})
}

func TestEvents_TellWhyLeadershipWasLost(t *testing.T) {
	play(t, func(s *stage) {
		var d diary
		a := s.candidate("a", d.options())
		a.run()
		s.until(time.Second, a.IsLeader)
		other := "other"
		s.edit(func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = &other })
		time.Sleep(time.Second)
		d.want(t, onLease+"Normal LeaderElection: a became leader",
			onLease+"Warning LeadershipLost: a lost leadership: another holder was written into the Lease")
	})
}

func TestEvents_TellOfWorkThatOverran(t *testing.T) {
	play(t, func(s *stage) {
		var d diary
		end := make(chan struct{})
		a := s.candidate("a", d.options(), withConfig(func(c *leaderelection.Config) { c.StopTimeout = time.Second }),
			withWork(func(context.Context) { <-end }))
		a.run()
		s.until(time.Second, a.IsLeader)
		_ = a.stop()
		close(end)
		d.want(t, onLease+"Normal LeaderElection: a became leader", onLease+"Normal LeaderElection: a stopped leading",
			onLease+"Warning LeadershipOverran: a overran: its work has not stopped within 1s, and the Lease was not released")
	})
}

// Metrics, health and status are made of traces.
func TestEvents_ARecorderThatBlocksKeepsNothingFromTraces(t *testing.T) {
	play(t, func(s *stage) {
		d, told := diary{block: make(chan struct{})}, 0
		trace := leaderelection.Trace{Request: func(leaderelection.Request) { told++ }}
		s.candidate("a", append(d.options(), leaderelection.WithTrace(trace))).run()
		time.Sleep(time.Minute)
		synctest.Wait()
		if told < 30 {
			t.Errorf("%d requests were told in a minute", told)
		}
		close(d.block)
	})
}

func TestEvents_ARecorderThatBlocksDelaysNoTerm(t *testing.T) {
	play(t, func(s *stage) {
		d := diary{block: make(chan struct{})}
		a := s.candidate("a", d.options())
		a.run()
		s.until(time.Second, a.IsLeader)
		began := s.clock()
		_ = a.stop()
		if took := s.clock() - began; took > 100*time.Millisecond {
			t.Errorf("Run took %v to return", took)
		}
		close(d.block)
		d.want(t, onLease+"Normal LeaderElection: a became leader", onLease+"Normal LeaderElection: a stopped leading")
	})
}
