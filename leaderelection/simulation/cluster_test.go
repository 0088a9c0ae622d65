package simulation

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/podtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// step is the simulated time between two checks of the referee.
const step = 250 * time.Millisecond

// realTimeLimit is how long one schedule may take in real time.
const realTimeLimit = 3 * time.Minute

// A candidate is an Elector or a clientGoElector.
type candidate interface {
	Run(ctx context.Context) error
	IsLeader() bool
}

// checkRequests makes the replica's network call callbacks.checkRequest for
// each request.
func (rep *replica) checkRequests() {
	rep.client.Network().DelayRequests(0, leaderelectiontest.When(func(r leaderelectiontest.Request) bool {
		rep.callbacks.checkRequest(r)
		return false
	}))
}

// A candidateMaker creates the candidate of a replica.
type candidateMaker func(*replica) (candidate, error)

// A replica represents one process. It has one candidate and its own client.
type replica struct {
	candidate
	cluster   *cluster
	pod       int
	name      string // the name of the client, made of the pod number and the incarnation
	identity  string
	client    *leaderelectiontest.Client
	callbacks *callbacks
	cancel    context.CancelFunc
	done      chan struct{} // closed when Run has returned
	err       error         // the error of Run; valid only after done is closed
	crashed   bool          // true if the process has crashed; guarded by the referee's mutex
	podUID    string        // the UID of its pod; empty without kubelets
	ended     time.Time     // when the process ended; zero while it lives; guarded by the referee's mutex
}

// clientset returns a client that uses protobuf. With protobuf, a schedule
// takes half as much CPU time.
func (rep *replica) clientset() kubernetes.Interface {
	config := rep.client.Config()
	config.ContentType, config.AcceptContentTypes = runtime.ContentTypeProtobuf, runtime.ContentTypeProtobuf
	return kubernetes.NewForConfigOrDie(config)
}

// A cluster contains the in-memory API server and the replicas for one run of a
// schedule.
type cluster struct {
	*testing.T
	*schedule
	trace          *trace
	server         *leaderelectiontest.Server
	referee        *referee
	newCandidate   candidateMaker
	backup         *leaderelectiontest.Snapshot
	historyRewound bool // true after a backup was restored; resourceVersions may then repeat
	shuttingDown   bool
	pods           *podtest.Pods
	kubelets       []*kubelet // one for each pod; none if the schedule has no kubelets

	mu           sync.Mutex // guards the fields below
	rng          *rand.Rand
	replicas     []*replica
	current      [candidates]*replica // the process of each pod; nil while the pod restarts
	incarnations [candidates]int
	background   sync.WaitGroup // waits for the goroutines of restarts and step-downs
}

// run runs the schedule in fake time. It returns the referee, which contains
// the results.
func (s *schedule) run(t *testing.T, newCandidate candidateMaker) (report *referee) {
	t.Helper()
	watchdog := time.AfterFunc(realTimeLimit, func() {
		debug.SetTraceback("all")
		panic(fmt.Sprintf("schedule %d of %s: simulated time has stood still for %v of real time: see the goroutines below for a busy loop", s.seed, s.kind, realTimeLimit))
	})
	defer watchdog.Stop()
	synctest.Test(t, func(t *testing.T) {
		tr := &trace{start: time.Now()}
		c := &cluster{
			T: t, schedule: s, trace: tr, newCandidate: newCandidate, server: leaderelectiontest.NewServer(), pods: podtest.New(),
			rng: rand.New(rand.NewPCG(s.seed, 1)),
		}
		c.referee = newReferee(c)
		for pod := range candidates {
			if s.kubelets {
				c.kubelets = append(c.kubelets, newKubelet(c, pod))
			}
		}
		report = c.referee
		for pod := range candidates {
			c.start(pod, false)
		}
		for _, e := range s.events {
			c.advanceTo(e.at)
			tr.addf("schedule", "%s", e.description)
			e.do(c)
		}
		c.advanceTo(faultPhase)
		c.referee.endFaults()
		c.heal()
		c.awaitStableLeader()
		c.shutDown()
		c.server.Close()
		c.checkWrites()
	})
	return report
}

// advanceTo lets simulated time pass up to a target time, which is measured
// from the start of the run. After each step, the referee checks all replicas.
func (c *cluster) advanceTo(target time.Duration) {
	for {
		synctest.Wait()
		c.referee.check()
		left := target - time.Since(c.trace.start)
		if left <= 0 {
			return
		}
		time.Sleep(min(left, step))
	}
}

// start starts a new process of a pod. If sameIdentity is true, the process
// gets the identity of the pod's previous process.
func (c *cluster) start(pod int, sameIdentity bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shuttingDown {
		return
	}
	c.incarnations[pod]++
	rep := &replica{
		cluster: c, pod: pod, name: fmt.Sprintf("pod-%d.%d", pod, c.incarnations[pod]), done: make(chan struct{}),
	}
	rep.identity = rep.name
	if last := c.previousReplica(pod); last != nil && sameIdentity {
		rep.identity = last.identity
	}
	rep.client = c.server.Client(rep.name)
	rep.callbacks = &callbacks{replica: rep, returnsEarly: c.rng.IntN(3) == 0}
	if c.kubelets != nil {
		c.kubelets[pod].run(rep)
	}
	var err error
	if rep.candidate, err = c.newCandidate(rep); err != nil {
		c.Fatal(err)
	}
	rep.checkRequests()
	var ctx context.Context
	ctx, rep.cancel = context.WithCancel(context.Background())
	c.replicas, c.current[pod] = append(c.replicas, rep), rep
	c.trace.addf(rep.name, "starts as %s", rep.identity)
	go func() {
		defer close(rep.done)
		rep.err = rep.Run(ctx)
		if errors.Is(rep.err, leaderelection.ErrWorkStillRunning) && c.overrun > 0 {
			c.exitProcess(rep)
		}
		c.referee.returned(rep)
	}()
}

// previousReplica returns the pod's previous process, or nil. The caller must
// hold c.mu.
func (c *cluster) previousReplica(pod int) *replica {
	for i := len(c.replicas) - 1; i >= 0; i-- {
		if name := fmt.Sprintf("pod-%d.%d", pod, c.incarnations[pod]-1); c.replicas[i].name == name {
			return c.replicas[i]
		}
	}
	return nil
}

// running returns the replicas whose method Run has not returned.
func (c *cluster) running() []*replica {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.replicas), func(rep *replica) bool {
		select {
		case <-rep.done:
			return true
		default:
			return false
		}
	})
}

// currentReplica returns the process of a pod, or nil while the pod restarts.
func (c *cluster) currentReplica(pod int) *replica {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current[pod]
}

// removeCurrent removes the process of a pod from c.current and returns the
// process. If another caller has already removed the process, removeCurrent
// returns nil.
func (c *cluster) removeCurrent(pod int) *replica {
	c.mu.Lock()
	defer c.mu.Unlock()
	rep := c.current[pod]
	c.current[pod] = nil
	return rep
}

// inject calls put, which adds a fault to the network of a pod.
// After the duration, inject heals the fault.
func (c *cluster) inject(pod int, duration time.Duration, put func(*leaderelectiontest.Network) *leaderelectiontest.Fault) {
	rep := c.currentReplica(pod)
	if rep == nil {
		return
	}
	c.trace.addf(rep.name, "network fault starts")
	fault := put(rep.client.Network())
	time.AfterFunc(duration, fault.Heal)
}

// restart cancels the context of the pod's process, as a program does after a
// SIGTERM. Then restart starts the next process of the pod.
func (c *cluster) restart(pod int, pause time.Duration, sameIdentity bool) {
	rep := c.removeCurrent(pod)
	if rep == nil {
		return
	}
	c.trace.addf(rep.name, "is stopped")
	rep.cancel()
	c.background.Go(func() {
		<-rep.done
		c.reportEnd(rep, 0, "Completed")
		time.Sleep(pause)
		c.start(pod, sameIdentity)
	})
}

// crash ends a process at once, and cuts the network of the process. Requests that the process has already sent may still arrive.
func (c *cluster) crash(pod int, pause time.Duration, sameIdentity bool) {
	rep := c.removeCurrent(pod)
	if rep == nil {
		return
	}
	c.trace.addf(rep.name, "crashes")
	c.referee.markCrashed(rep)
	rep.client.Network().Cut(leaderelectiontest.Hang)
	rep.cancel()
	c.reportEnd(rep, 137, "Error")
	c.background.Go(func() {
		time.Sleep(pause)
		c.start(pod, sameIdentity)
	})
}

// reportEnd lets the kubelet know that a process has ended.
func (c *cluster) reportEnd(rep *replica, exitCode int32, reason string) {
	c.referee.markEnded(rep)
	if c.kubelets != nil {
		c.kubelets[rep.pod].ended(rep, exitCode, reason)
	}
}

// exitProcess ends a process whose work does not stop, and starts a new process
// of the pod.
func (c *cluster) exitProcess(rep *replica) {
	c.trace.addf(rep.name, "exits, because its work does not stop")
	c.referee.markCrashed(rep)
	rep.client.Network().Cut(leaderelectiontest.Hang)
	rep.cancel()
	c.reportEnd(rep, 1, "Error")
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.shuttingDown && c.current[rep.pod] == rep {
		c.current[rep.pod] = nil
		c.background.Go(func() { c.start(rep.pod, false) })
	}
}

// stepDown calls StepDown if the candidate has a method StepDown.
func (c *cluster) stepDown(pod int) {
	rep := c.currentReplica(pod)
	if rep == nil {
		return
	}
	c.trace.addf(rep.name, "StepDown is called")
	if s, ok := rep.candidate.(interface{ StepDown(context.Context) error }); ok {
		c.background.Go(func() { _ = s.StepDown(context.Background()) })
	}
}

// heal ends all faults, including an outage of the server.
func (c *cluster) heal() {
	c.trace.addf("schedule", "all faults end")
	c.server.Recover()
	for pod := range candidates {
		if rep := c.currentReplica(pod); rep != nil {
			rep.client.Network().Heal()
			rep.checkRequests()
		}
	}
}

// shutDown stops all replicas and waits until all goroutines of the run have
// ended.
func (c *cluster) shutDown() {
	c.mu.Lock()
	c.shuttingDown = true
	members := c.replicas
	c.mu.Unlock()
	c.trace.addf("schedule", "all replicas are stopped")
	for _, rep := range members {
		rep.cancel()
	}
	for _, rep := range members {
		<-rep.done
	}
	c.background.Wait()
	time.Sleep(max(c.stopTime, c.overrun)) // client-go's Run can return before its work has ended
	synctest.Wait()
}
