package leaderelection_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/podtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// A node runs replicas in containers, and plays the kubelet.
type node struct {
	*harness
	pods *podtest.Pods
}

// withNode runs f with a node in fake time.
func withNode(t *testing.T, f func(n *node)) {
	t.Helper()
	withHarness(t, func(h *harness) {
		time.Sleep(300 * time.Millisecond) // processes do not start at a whole second
		f(&node{h, podtest.New()})
	})
}

// inPod makes a replica the process of a new container of the pod. The container starts
// now, in a new pod if the pod does not exist.
func (n *node) inPod(name string) setting {
	return func(r *replica) {
		pod := n.pods.Get(name)
		if pod == nil {
			pod = podtest.Pod("default", name, "uid-of-"+name)
		}
		next := 1
		if s := pod.Status.ContainerStatuses; len(s) > 0 {
			next += 1 + int(s[0].RestartCount)
		}
		podtest.Run(pod, "containerd://"+name+"."+string(rune('0'+next)), time.Now())
		n.pods.Update(pod)
		n.observing(pod.Name, pod.UID, nil)(r)
		r.client = name + "." + string(rune('0'+next))
	}
}

// observing makes a replica use the option WithProofOfDeath for the given pod. reach is
// called before each request for a pod.
func (n *node) observing(pod string, uid types.UID, reach func(context.Context, string) error) setting {
	return func(r *replica) {
		r.opts = append(r.opts, leaderelection.WithProofOfDeath("default", pod, uid, ""))
		r.wrap = func(base kubernetes.Interface) kubernetes.Interface { return n.pods.Clientset(base, reach) }
	}
}

// die ends the process of a replica. Nothing is reported.
func (n *node) die(r *replica) {
	r.network.Cut(hang)
	_ = r.stop()
}

// terminated makes the kubelet report that the container of the pod has terminated.
func (n *node) terminated(pod string, exitCode int32, reason string) {
	n.pods.Edit(pod, func(p *corev1.Pod) { podtest.Terminate(p, exitCode, reason, time.Now()) })
}

// recorded returns the process in the Lease.
func (n *node) recorded() (leasestate.Process, bool) {
	n.Helper()
	lease, err := n.server.Get("default", "my-app-leader")
	if err != nil {
		n.Fatal(err)
	}
	return leasestate.ProcessOf(lease)
}

// awaitRecord waits until the Lease names a process.
func (n *node) awaitRecord() {
	n.Helper()
	n.waitUntil(10*time.Second, func() bool { _, ok := n.recorded(); return ok })
}

// wantEarly requires that next leads within limit.
func (n *node) wantEarly(next *replica, limit time.Duration) {
	n.Helper()
	n.waitUntil(limit, next.IsLeader)
	n.expectLeader(next)
}

// wantLate requires that next does not lead before the Lease has expired, and then leads.
// The leader has died just now.
func (n *node) wantLate(next *replica) {
	n.Helper()
	lease, err := n.server.Get("default", "my-app-leader")
	if err != nil {
		n.Fatal(err)
	}
	expires := lease.Spec.RenewTime.Add(15 * time.Second)
	took := n.waitUntil(20*time.Second, next.IsLeader)
	if at := time.Now(); at.Before(expires) {
		n.Errorf("the follower led after %v, %v before the Lease had expired", took, expires.Sub(at))
	}
}

func TestProof_AFollowerLeadsAtOnce(t *testing.T) {
	withNode(t, func(n *node) {
		var previous string
		events, log := &eventLog{}, &lineHandler{}
		traced := func(r *replica) {
			r.opts = append(r.opts, leaderelection.WithEventRecorder(events), leaderelection.WithTrace(leaderelection.Trace{
				TermStarted: func(s leaderelection.TermStarted) { previous = s.Previous },
			}))
		}
		leader := n.start("a", n.inPod("a"))
		n.expectLeader(leader)
		follower := n.start("b", n.inPod("b"), traced, withLog(log))
		if _, ok := n.recorded(); ok {
			t.Error("the first write names a container")
		}
		time.Sleep(3*time.Second + 2*time.Second) // two reads, and the next renewal
		want := leasestate.Process{Namespace: "default", Pod: "a", UID: "uid-of-a", Container: "app", ContainerID: "containerd://a.1",
			Started: time.Date(2000, 1, 1, 0, 0, 0, 300e6, time.UTC).UnixMicro()}
		if got, ok := n.recorded(); !ok || got != want {
			t.Errorf("the Lease names %+v (%t), want %+v", got, ok, want)
		}
		time.Sleep(time.Minute)
		n.die(leader)
		time.Sleep(700 * time.Millisecond)
		n.expectLeader(nil)
		n.terminated("a", 137, "OOMKilled")
		n.wantEarly(follower, 50*time.Millisecond)
		if previous != leaderelection.PreviousTerminated {
			t.Errorf("the previous term ended as %q", previous)
		}
		events.want(t, "Lease default/my-app-leader: Normal LeaderElection: b became leader because the previous leader's container has terminated")
		if lines := strings.Join(log.all(), "\n"); !strings.Contains(lines, "Leader's container has terminated; claiming lease before it expires") || !strings.Contains(lines, "reason=OOMKilled") {
			t.Errorf("the log is\n%s", lines)
		}
		lease, _ := n.server.Get("default", "my-app-leader")
		if terms := leasestate.History(lease); len(terms) != 2 || terms[0].End != leasestate.EndTerminated {
			t.Errorf("the history is %+v", terms)
		}
		if p, _ := leasestate.ProcessOf(lease); p.ContainerID != "containerd://b.1" {
			t.Errorf("the claim names %v", p)
		}
	})
}

func TestProof_WithoutItAFollowerWaits(t *testing.T) {
	for _, tt := range []struct {
		name   string
		report func(*node)
	}{
		{"nothing is reported", func(*node) {}},
		{"exit code 255", func(n *node) { n.terminated("a", 255, "Error") }},
		{"reason ContainerStatusUnknown", func(n *node) { n.terminated("a", 137, "ContainerStatusUnknown") }},
		{"deleted by force", func(n *node) { n.pods.Delete("a") }},
		{"failed, by the collector of pods", func(n *node) {
			n.pods.Edit("a", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed })
		}},
		{"another pod of the same name", func(n *node) {
			n.pods.Edit("a", func(p *corev1.Pod) { p.UID = "another" })
			n.terminated("a", 1, "Error")
		}},
		{"a new container runs", func(n *node) {
			n.pods.Edit("a", func(p *corev1.Pod) { podtest.Run(p, "containerd://a.2", time.Now()) })
		}},
		{"a later container terminated", func(n *node) {
			n.pods.Edit("a", func(p *corev1.Pod) { podtest.Run(p, "containerd://a.2", time.Now()) })
			n.terminated("a", 1, "Error")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			withNode(t, func(n *node) {
				leader := n.start("a", n.inPod("a"))
				n.expectLeader(leader)
				follower := n.start("b", n.inPod("b"))
				n.awaitRecord()
				n.die(leader)
				tt.report(n)
				n.wantLate(follower)
			})
		})
	}
}

// The kubelet still shows the previous container as running when the leader reads its pod
// twice. The leader takes this container for its own. The record of the end of the
// previous container must not count, because it ended before the leader started.
func TestProof_TheContainerBeforeTheLeaderProvesNothing(t *testing.T) {
	withNode(t, func(n *node) {
		pod := podtest.Pod("default", "a", "uid-of-a")
		podtest.Run(pod, "containerd://a.1", time.Now())
		n.pods.Update(pod) // the status of the previous container, until the kubelet continues
		time.Sleep(5 * time.Second)
		ended := time.Now()
		time.Sleep(500 * time.Millisecond)
		leader := n.start("a", n.observing("a", "uid-of-a", nil))
		n.expectLeader(leader)
		follower := n.start("b", n.inPod("b"))
		n.awaitRecord()
		if p, _ := n.recorded(); p.ContainerID != "containerd://a.1" {
			t.Fatalf("the leader takes %s for its own; the test needs the previous container", p.ContainerID)
		}
		n.pods.Edit("a", func(p *corev1.Pod) {
			podtest.Terminate(p, 1, "Error", ended)
			podtest.Run(p, "containerd://a.2", ended.Add(400*time.Millisecond))
		})
		time.Sleep(time.Minute)
		n.expectLeader(leader)
		if follower.IsLeader() {
			t.Error("two leaders")
		}
	})
}

// At the first read, the kubelet still shows the previous container as running.
func TestProof_TheStatusIsReadTwice(t *testing.T) {
	withNode(t, func(n *node) {
		pod := podtest.Pod("default", "a", "uid-of-a")
		podtest.Run(pod, "containerd://a.1", time.Now())
		n.pods.Update(pod)
		time.Sleep(5 * time.Second)
		n.start("a", n.observing("a", "uid-of-a", nil))
		time.Sleep(500 * time.Millisecond)
		n.pods.Edit("a", func(p *corev1.Pod) {
			podtest.Terminate(p, 1, "Error", time.Now().Add(-time.Second))
			podtest.Run(p, "containerd://a.2", time.Now().Add(-600*time.Millisecond))
		})
		n.awaitRecord()
		if p, _ := n.recorded(); p.ContainerID != "containerd://a.2" {
			t.Errorf("the Lease names %s", p.ContainerID)
		}
	})
}

func TestProof_ALeaderIsNotDelayedByAnUnknownContainer(t *testing.T) {
	withNode(t, func(n *node) {
		log := &lineHandler{}
		hangs := func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
		leader := n.start("a", n.observing("a", "uid-of-a", hangs), withLog(log))
		n.expectLeader(leader)
		time.Sleep(10 * time.Minute)
		n.expectLeader(leader)
		if _, ok := n.recorded(); ok {
			t.Error("the Lease names a process")
		}
		if count := strings.Count(strings.Join(log.all(), "\n"), "Own container unknown"); count != 1 {
			t.Errorf("%d lines about the container, want one:\n%s", count, strings.Join(log.all(), "\n"))
		}
		if err := leader.stop(); err != nil {
			t.Error(err)
		}
	})
}

func forbidden(_ context.Context, verb string) error {
	return apierrors.NewForbidden(podtest.Resource, "", errors.New("no right to "+verb))
}

func TestProof_WithoutRightsTheElectionWorksAsBefore(t *testing.T) {
	withNode(t, func(n *node) {
		log := &lineHandler{}
		leader := n.start("a", n.inPod("a"))
		n.expectLeader(leader)
		n.awaitRecord()
		pod := podtest.Pod("default", "b", "uid-of-b")
		podtest.Run(pod, "containerd://b.1", time.Now())
		n.pods.Update(pod)
		follower := n.start("b", n.observing("b", "uid-of-b", forbidden), withLog(log))
		time.Sleep(10 * time.Minute)
		n.die(leader)
		n.terminated("a", 137, "Error")
		n.wantLate(follower)
		time.Sleep(time.Minute)
		lines := strings.Join(log.all(), "\n")
		if strings.Count(lines, "Own container unknown") != 1 || strings.Count(lines, "Watching the leader's pod is forbidden") != 1 {
			t.Errorf("each missing right must be logged once:\n%s", lines)
		}
	})
}

func TestProof_WithoutTheWatchAFollowerReadsTheSilentLeadersPod(t *testing.T) {
	withNode(t, func(n *node) {
		leader := n.start("a", n.inPod("a"))
		n.expectLeader(leader)
		n.awaitRecord()
		pod := podtest.Pod("default", "b", "uid-of-b")
		n.pods.Update(pod)
		var reads atomic.Int64
		follower := n.start("b", n.observing("b", "uid-of-b", func(ctx context.Context, verb string) error {
			if verb == "watch" {
				return forbidden(ctx, verb)
			}
			reads.Add(1)
			return nil
		}))
		time.Sleep(10 * time.Minute)
		if count := reads.Load(); count > 40 {
			t.Errorf("%d reads of pods within ten minutes in which the leader renewed", count)
		}
		n.die(leader)
		n.terminated("a", 137, "Error")
		n.wantEarly(follower, 8*time.Second)
	})
}

// A container that restarts in place finds a Lease that names its own identity, but
// another process.
func TestProof_ARestartedContainerLeadsAtOnce(t *testing.T) {
	for _, identity := range []string{"a", "a-2"} {
		t.Run(identity, func(t *testing.T) {
			withNode(t, func(n *node) {
				leader := n.start("a", n.inPod("a"))
				n.awaitRecord()
				n.die(leader)
				time.Sleep(time.Second)
				n.terminated("a", 1, "Error")
				time.Sleep(200 * time.Millisecond)
				next := n.start(identity, n.inPod("a"))
				n.wantEarly(next, 50*time.Millisecond)
				time.Sleep(10 * time.Second)
				if p, ok := n.recorded(); !ok || p.ContainerID != "containerd://a.2" {
					t.Errorf("the Lease names %v (%t)", p, ok)
				}
				n.expectLeader(next)
			})
		})
	}
}

// A new container runs before the end of the previous container is reported. The new
// container must wait, because the previous one may work.
func TestProof_ARestartedContainerWaitsForTheRecord(t *testing.T) {
	withNode(t, func(n *node) {
		leader := n.start("a", n.inPod("a"))
		n.awaitRecord()
		n.die(leader)
		next := n.start("a", n.inPod("a")) // the status has no record of the previous container
		n.wantLate(next)
	})
}

func TestProof_TheSuccessorGoesFirst(t *testing.T) {
	withNode(t, func(n *node) {
		leader := n.start("a", n.inPod("a"))
		n.expectLeader(leader)
		time.Sleep(time.Minute)
		followers := map[string]*replica{}
		for _, name := range []string{"b", "c", "d"} {
			followers[name] = n.start(name, n.inPod(name))
			time.Sleep(20 * time.Second)
		}
		successor := leader.State().Successor
		if successor == "" {
			t.Fatal("there is no successor")
		}
		writes := len(n.server.History())
		n.die(leader)
		time.Sleep(700 * time.Millisecond)
		n.terminated("a", 1, "Error")
		n.wantEarly(followers[successor], 50*time.Millisecond)
		time.Sleep(time.Second)
		if got := len(n.server.History()) - writes; got > 3 {
			t.Errorf("%d writes after the crash: several followers claim", got)
		}
	})
}

func TestProof_AnotherFollowerReplacesADeadSuccessor(t *testing.T) {
	withNode(t, func(n *node) {
		leader := n.start("a", n.inPod("a"))
		n.expectLeader(leader)
		b, c := n.start("b", n.inPod("b")), n.start("c", n.inPod("c"))
		time.Sleep(time.Minute)
		other := map[string]*replica{"b": c, "c": b}[leader.State().Successor]
		if other == nil {
			t.Fatalf("the successor is %q", leader.State().Successor)
		}
		n.die(map[*replica]*replica{b: c, c: b}[other])
		n.die(leader)
		n.terminated("a", 1, "Error")
		synctest.Wait()
		n.expectLeader(nil)
		n.wantEarly(other, 550*time.Millisecond)
	})
}

// A renewal of the dead process is applied after its end was reported, once before the
// claim and once after it.
func TestProof_LateWritesOfTheDeadProcessAreHarmless(t *testing.T) {
	for _, delay := range []time.Duration{time.Millisecond, 300 * time.Millisecond} {
		t.Run(delay.String(), func(t *testing.T) {
			withNode(t, func(n *node) {
				leader := n.start("a", n.inPod("a"))
				n.expectLeader(leader)
				follower := n.start("b", n.inPod("b"))
				n.awaitRecord()
				time.Sleep(20 * time.Second)
				late := leader.network.ArriveLate(500*time.Millisecond + delay)
				late.Await(n) // a renewal is under way
				time.Sleep(500 * time.Millisecond)
				_ = leader.stop()
				n.terminated("a", 1, "Error")
				n.wantEarly(follower, time.Second)
				time.Sleep(time.Minute)
				n.expectLeader(follower)
			})
		})
	}
}

// A candidate without the option keeps the annotation of an earlier leader out of its
// term, and a candidate with client-go does not write it again.
func TestProof_ARecordDoesNotOutliveItsTerm(t *testing.T) {
	withNode(t, func(n *node) {
		first := n.start("a", n.inPod("a"))
		n.awaitRecord()
		follower := n.start("b")
		_ = first.stop()
		n.waitUntil(time.Second, follower.IsLeader)
		if _, ok := n.recorded(); ok {
			t.Error("the Lease names the process of the earlier leader")
		}
		_ = follower.stop()
		third := n.start("c", n.inPod("c"))
		n.awaitRecord()
		watcher := n.start("d", n.inPod("d"))
		_ = third.stop()
		n.waitUntil(time.Second, watcher.IsLeader)
		n.editLease(func(l *coordinationv1.Lease) { // like a candidate with client-go and the same identity
			l.Spec.RenewTime.Time = l.Spec.RenewTime.Add(time.Second)
		})
		if _, ok := n.recorded(); ok {
			t.Error("the Lease names a process that did not write it")
		}
	})
}

// A follower whose watch of the Lease stalls still takes the first leader for the holder,
// although this leader has released the Lease and another one works. The record of the end
// of the first leader's container then makes the follower claim. The API server refuses it.
func TestProof_AnOutdatedObservationOfTheLeaseIsHarmless(t *testing.T) {
	withNode(t, func(n *node) {
		first := n.start("a", n.inPod("a"))
		n.expectLeader(first)
		outdated := n.start("c", n.inPod("c"))
		n.awaitRecord()
		second := n.start("b", n.inPod("b"))
		time.Sleep(20 * time.Second)
		var claims atomic.Int64
		outdated.network.StallWatches()
		outdated.network.Cut(hang, leaderelectiontest.Verbs("get"))
		outdated.network.DelayRequests(0, leaderelectiontest.When(func(r leaderelectiontest.Request) bool {
			if leaderelectiontest.Claims("c")(r) {
				claims.Add(1)
			}
			return false
		}))
		_ = first.stop()
		n.wantEarly(second, time.Second)
		n.terminated("a", 0, "Completed")
		time.Sleep(5 * time.Second)
		n.expectLeader(second)
		if claims.Load() == 0 {
			t.Error("the follower did not claim: the test shows nothing")
		}
		time.Sleep(time.Minute)
		n.expectLeader(second)
	})
}

// The pod of a StatefulSet is deleted by force, and the next pod has its name and its
// identity. The process of the deleted pod works on. The end of the next pod's container
// is not its end.
func TestProof_TheNextPodOfAStatefulSetProvesNothing(t *testing.T) {
	withNode(t, func(n *node) {
		leader := n.start("a", n.inPod("a"))
		n.expectLeader(leader)
		follower := n.start("b", n.inPod("b"))
		n.awaitRecord()
		n.pods.Delete("a")
		next := podtest.Pod("default", "a", "uid-of-the-next-a")
		podtest.Run(next, "containerd://a.2", time.Now())
		n.pods.Update(next)
		again := n.start("a", n.observing("a", "uid-of-the-next-a", nil), func(r *replica) { r.client = "a.2" })
		time.Sleep(4 * time.Second)
		n.terminated("a", 1, "Error")
		n.pods.Edit("a", func(p *corev1.Pod) { podtest.Run(p, "containerd://a.3", time.Now()) })
		time.Sleep(time.Minute)
		n.expectLeader(leader)
		if follower.IsLeader() || again.IsLeader() {
			t.Error("two leaders")
		}
	})
}

// Both followers have proof. Only one claim is applied.
func TestProof_TwoFollowersClaimAtOnce(t *testing.T) {
	withNode(t, func(n *node) {
		leader := n.start("a", n.inPod("a"))
		n.expectLeader(leader)
		n.awaitRecord()
		b, c := n.start("b", n.inPod("b")), n.start("c", n.inPod("c"))
		synctest.Wait() // nobody is nominated yet
		n.die(leader)
		n.terminated("a", 1, "Error")
		n.waitUntil(time.Second, func() bool { return b.IsLeader() || c.IsLeader() })
		time.Sleep(time.Minute)
		if workers := n.workingNow(); len(workers) != 1 {
			t.Errorf("%v work", workers)
		}
	})
}

func TestProof_ABrokenWatchIsReplaced(t *testing.T) {
	withNode(t, func(n *node) {
		leader := n.start("a", n.inPod("a"))
		n.expectLeader(leader)
		follower := n.start("b", n.inPod("b"))
		n.awaitRecord()
		time.Sleep(time.Minute)
		n.pods.Break()
		time.Sleep(2 * time.Second)
		n.die(leader)
		n.terminated("a", 1, "Error")
		n.wantEarly(follower, 50*time.Millisecond)
	})
}

func TestProof_InvalidPodsAreRefused(t *testing.T) {
	server := podtest.New()
	_, err := leaderelection.New(config("a"), server.Clientset(fake.NewClientset(), nil), leaderelection.Callbacks{}, nil, leaderelection.WithProofOfDeath("", "", "", ""))
	for _, want := range []string{"metadata.namespace", "metadata.name", "metadata.uid"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New returned %v, want %q", err, want)
		}
	}
}
